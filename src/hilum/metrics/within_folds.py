"""AUROC of scores that several models gave, each to the films of one fold."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hilum.arrays import BoolArray, FloatArray
from hilum.metrics.ranking import auroc


def auroc_within_folds(truth: FloatArray, scores: FloatArray, folds: NDArray[np.int64]) -> float:
    """Return the chance that a film with the finding scores above one without it of the same fold.

    Each fold's scores are another model's, so films of two folds are not compared: a model that
    gives all its films a little more than another does would count as wrong.

    Args:
        truth: [n], 1 present and 0 absent.
        scores: [n].
        folds: [n], number of the fold.

    Returns:
        0 to 1, or nan where no fold has both classes.

    >>> auroc_within_folds(np.array([1, 0, 1, 0]), np.array([0.9, 0.8, 0.2, 0.1]), np.array([0, 0, 1, 1]))
    1.0
    """
    pairs, above = 0.0, 0.0
    for fold in np.unique(folds):
        own = folds == fold
        present = float((truth[own] > 0.5).sum())
        both = present * (own.sum() - present)
        if both:
            pairs += both
            above += both * auroc(truth[own], scores[own])
    return above / pairs if pairs else float("nan")


def mean_auroc_within_folds(
    truth: FloatArray, counts: BoolArray, scores: FloatArray, folds: NDArray[np.int64]
) -> float | None:
    """Return the mean of ``auroc_within_folds`` over the findings that have one, None where none has.

    Args:
        truth: [n, F].
        counts: [n, F], which cells are scored.
        scores: [n, F].
        folds: [n].
    """
    values = [
        auroc_within_folds(truth[cells, f], scores[cells, f], folds[cells])
        for f, cells in enumerate(counts.T)
    ]
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else None
