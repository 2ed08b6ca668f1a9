"""The arrays that most modules pass on, named once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
"""Positions of images among all of a catalogue or of several stores, int64 [n]."""
FloatArray = NDArray[np.float32]
"""Scores, targets, weights or features, float32."""
DoubleArray = NDArray[np.float64]
"""Statistics, float64."""
BoolArray = NDArray[np.bool_]
"""Masks, bool."""
