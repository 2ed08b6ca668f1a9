"""What a model says of one film, as both results show it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hilum.arrays import FloatArray


@dataclass(frozen=True)
class Reading:
    """A model's answer to one film."""

    probabilities: dict[str, float]
    thresholds: dict[str, float | None]
    """None: the finding is not called."""
    called: tuple[str, ...]
    film: NDArray[np.uint8]
    """The film as the model took it, grey [P, P]."""
    heat: FloatArray | None
    """Where the model looked for ``shown``, [P, P] from 0 to 1."""
    shown: str
    """The called finding furthest above its threshold; empty where none is called."""
    model: str
    """SHA-256 of the model."""


def furthest(probabilities: dict[str, float], thresholds: dict[str, float | None]) -> str:
    """Return the finding furthest above its threshold in log odds; empty where none reaches it."""

    def odds(value: float) -> float:
        kept = min(max(value, 1e-6), 1 - 1e-6)
        return float(np.log(kept / (1 - kept)))

    above = {
        name: odds(value) - odds(threshold)
        for name, value in probabilities.items()
        if (threshold := thresholds.get(name)) is not None and value >= threshold
    }
    return max(above, key=above.__getitem__, default="")
