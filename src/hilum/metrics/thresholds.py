"""Calling a finding present at a threshold: choosing it, counting what is right and wrong, and the usual shares."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hilum.metrics.ranking import checked

CALLED_MEASURES = ("accuracy", "precision", "recall", "specificity", "f1")


class Confusion(NamedTuple):
    """Films, or their weights, by truth and call; numbers or arrays alike."""

    true_positives: NDArray[np.float64]
    false_positives: NDArray[np.float64]
    false_negatives: NDArray[np.float64]
    true_negatives: NDArray[np.float64]


def best_threshold(truth: ArrayLike, scores: ArrayLike) -> float:
    """Return the threshold of the largest recall + specificity on these films (Youden 1950).

    A score at or above it counts as present. It lies halfway between two neighbouring scores. Of thresholds that serve
    alike the highest is taken, which calls the fewest films. Choose it on validation films, never on those that it is
    judged on.

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
    falling = np.argsort(-values, kind="stable")
    found, called = np.cumsum(present[falling]), np.arange(1, len(values) + 1)
    sorted_values = values[falling]
    cuts = np.flatnonzero(np.append(sorted_values[1:] < sorted_values[:-1], True))  # the last film of each score
    found, called = found[cuts], called[cuts]
    # Recall + specificity - 1, times both class counts: in whole numbers, where equals are equal.
    merit = found * (~present).sum() - (called - found) * present.sum()
    return _between(sorted_values, int(cuts[np.argmax(merit)]))


def confusion_cells(
    present: NDArray[np.bool_], scores: NDArray[np.float64], threshold: float
) -> tuple[NDArray[np.bool_], ...]:
    """Return which films are true positives, false positives, false negatives and true negatives, each bool [N]."""
    called = scores >= threshold
    return present & called, ~present & called, present & ~called, ~present & ~called


def called_measures(cells: Confusion) -> dict[str, NDArray[np.float64]]:
    """Return accuracy, precision, recall, specificity and F1 by name, nan where one divides by nothing.

    Precision is undefined where nothing is called, recall without positives, specificity without negatives, F1 where
    there is neither a positive nor a call.
    """
    tp, fp, fn, tn = cells
    return {
        "accuracy": _share(tp + tn, tp + fp + fn + tn),
        "precision": _share(tp, tp + fp),
        "recall": _share(tp, tp + fn),
        "specificity": _share(tn, tn + fp),
        "f1": _share(2.0 * tp, 2.0 * tp + fp + fn),
    }


def _share(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    share: NDArray[np.float64] = np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
    return share


def _between(falling: NDArray[np.float64], last_called: int) -> float:
    """The middle between the last called score and the next; the last called score itself where no other follows."""
    here = float(falling[last_called])
    if last_called + 1 == len(falling):
        return here
    below = float(falling[last_called + 1])
    middle = below + (here - below) / 2.0
    return middle if below < middle <= here else here  # infinite or neighbouring scores have no middle
