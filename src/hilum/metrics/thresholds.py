"""Calling a finding present at a threshold: choosing it, the confusion matrix and its measures."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hilum.arrays import BoolArray, DoubleArray
from hilum.metrics.ranking import checked

CALLED_MEASURES = ("accuracy", "precision", "recall", "specificity", "f1")


class Confusion(NamedTuple):
    """Films, or their weights, by truth and call; numbers or arrays alike."""

    true_positives: DoubleArray
    false_positives: DoubleArray
    false_negatives: DoubleArray
    true_negatives: DoubleArray


class Cuts(NamedTuple):
    """Ways to call films, by the lowest score called: falling, [K]."""

    lowest_called: DoubleArray
    hits: NDArray[np.int64]
    """[K] called films that have the finding."""
    false_positives: NDArray[np.int64]
    """[K] called films that lack it."""

    def threshold(self, index: int) -> float:
        """Return the middle between a cut's lowest called score and the next lower one, if any."""
        lowest = float(self.lowest_called[index])
        if index + 1 == len(self.lowest_called):
            return lowest
        below = float(self.lowest_called[index + 1])
        middle = below + (lowest - below) / 2.0
        return (
            middle if below < middle <= lowest else lowest
        )  # infinite or neighbouring scores have no middle


def best_threshold(truth: ArrayLike, scores: ArrayLike) -> float:
    """Return the threshold of the largest recall + specificity on these films (Youden 1950).

    A score at or above it counts as present. It is halfway between two neighbouring scores. Of
    equally good thresholds the highest is taken, which calls the fewest films. Choose it on
    validation films, never on those that it is evaluated on.

    Args:
        truth: [N], 1 present and 0 absent.
        scores: [N].

    Returns:
        The threshold, or nan where one of the two classes is missing.

    Raises:
        ValueError: As ``ranking.auroc``.

    >>> best_threshold([0, 0, 1, 1], [0.1, 0.2, 0.6, 0.9])
    0.4
    """
    present, values = checked(truth, scores)
    if present.all() or not present.any():
        return float("nan")
    cuts = possible_cuts(present, values)
    # Recall + specificity - 1, times both class counts: in whole numbers, where equals are equal.
    merit = cuts.hits * (~present).sum() - cuts.false_positives * present.sum()
    return cuts.threshold(int(np.argmax(merit)))


def possible_cuts(present: BoolArray, scores: DoubleArray) -> Cuts:
    """Return the ways to divide these films [N] into called and not called, the fewest calls first."""
    falling = np.argsort(-scores, kind="stable")
    hits: NDArray[np.int64] = np.cumsum(present[falling], dtype=np.int64)
    called, sorted_scores = np.arange(1, len(scores) + 1, dtype=np.int64), scores[falling]
    last = np.flatnonzero(
        np.append(sorted_scores[1:] < sorted_scores[:-1], True)
    )  # the last film of each score
    return Cuts(sorted_scores[last], hits[last], (called - hits)[last])


def confusion_cells(
    present: BoolArray, scores: DoubleArray, threshold: float
) -> tuple[BoolArray, ...]:
    """Return which films are true positives, false positives, false negatives and true negatives, each bool [N]."""
    called = scores >= threshold
    return present & called, ~present & called, present & ~called, ~present & ~called


def called_measures(cells: Confusion) -> dict[str, DoubleArray]:
    """Return accuracy, precision, recall, specificity and F1 by name, nan where one divides by nothing.

    Precision is undefined where nothing is called, recall without positives, specificity without
    negatives, F1 where there is neither a positive nor a call.
    """
    tp, fp, fn, tn = cells
    return {
        "accuracy": _ratio(tp + tn, tp + fp + fn + tn),
        "precision": _ratio(tp, tp + fp),
        "recall": _ratio(tp, tp + fn),
        "specificity": _ratio(tn, tn + fp),
        "f1": _ratio(2.0 * tp, 2.0 * tp + fp + fn),
    }


def _ratio(part: DoubleArray, whole: DoubleArray) -> DoubleArray:
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    ratio: DoubleArray = np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
    return ratio
