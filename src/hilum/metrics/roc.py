"""The ROC curve of one finding, thinned to the points that a drawing can show."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from hilum.metrics.ranking import checked

MOST_POINTS = 200


def roc_points(
    truth: ArrayLike, scores: ArrayLike, most: int = MOST_POINTS
) -> list[tuple[float, float]]:
    """Return (false positive rate, sensitivity) from (0, 0) to (1, 1) as the threshold falls.

    Tied scores are one step. Empty where a class is missing.

    Args:
        truth: [N], 1 present and 0 absent.
        scores: [N].
        most: Points at most, besides both ends.

    >>> roc_points([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1])
    [(0.0, 0.0), (0.0, 0.5), (0.5, 0.5), (0.5, 1.0), (1.0, 1.0)]
    """
    present, values = checked(truth, scores)
    if not present.any() or present.all():
        return []
    order = np.argsort(-values, kind="stable")
    present, values = present[order], values[order]
    last_of_tie = np.append(np.nonzero(np.diff(values))[0], len(values) - 1)
    hits = np.cumsum(present)[last_of_tie] / present.sum()
    false = np.cumsum(~present)[last_of_tie] / (~present).sum()
    kept = np.unique(np.linspace(0, len(hits) - 1, min(len(hits), most)).round().astype(int))
    return [(0.0, 0.0), *zip(false[kept].tolist(), hits[kept].tolist(), strict=True)]
