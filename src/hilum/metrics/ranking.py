"""How well scores rank the present above the absent: AUROC and average precision, for one weighting or for thousands.

Scores are sorted once (``rank``); every resample of a bootstrap is then a set of weights on the sorted films.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

_BLOCK_CELLS = 1 << 20  # cells of weights gathered at a time: a few megabytes, so that they stay in the cache


class Ranking(NamedTuple):
    """Films of one finding in the order of their scores.

    n+ films have the finding and n- have not. Positives stand from the highest score to the lowest.
    """

    positives: NDArray[np.int64]
    """[n+] column of the weights that belongs to each film with the finding."""
    negatives: NDArray[np.int64]
    """[n-] the same for the films without it, from the lowest score to the highest."""
    below: NDArray[np.int64]
    """[n+] how many negatives score less than each positive."""
    through: NDArray[np.int64]
    """[n+] how many negatives score less or the same."""
    last_tied: NDArray[np.int64]
    """[n+] place of the last positive with the same score."""


def auroc(truth: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Return the chance that a film with the finding scores above one without it; a tie counts half.

    Args:
        truth: [N], 1 present and 0 absent.
        scores: [N], higher means more likely present; any finite or infinite scale.
        weights: [N], at least 0; None weighs all films alike.

    Returns:
        0 to 1, or nan where one of the two classes is missing or weighs nothing.

    Raises:
        ValueError: The truth has other values than 0 and 1, a score is nan, or the lengths differ.

    Source: Mann and Whitney 1947; the area under the curve of Hanley and McNeil 1982.

    >>> auroc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    """
    return float(measures(rank(truth, scores), _one_weighting(weights, truth))[0][0])


def average_precision(truth: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Return the precision at each film with the finding, averaged; tied scores are called together.

    Arguments, result and errors are those of ``auroc``. The chance level is the share of present films, not 0.5.

    >>> round(average_precision([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]), 4)
    0.8333
    """
    return float(measures(rank(truth, scores), _one_weighting(weights, truth))[1][0])


def rank(truth: ArrayLike, scores: ArrayLike, columns: ArrayLike | None = None) -> Ranking:
    """Return the films sorted by score.

    Args:
        truth: [N], 1 present and 0 absent.
        scores: [N].
        columns: [N], which column of the weights each film takes, such as its patient's; None takes its own place.

    Raises:
        ValueError: As ``auroc``.
    """
    present, values = checked(truth, scores)
    films = np.arange(len(values)) if columns is None else np.asarray(columns, dtype=np.int64)
    if films.shape != values.shape:
        raise ValueError(f"columns have the shape {films.shape}, the scores {values.shape}")
    order = np.argsort(values, kind="stable")
    rising, has = values[order], present[order]
    falling = rising[has][::-1]
    return Ranking(
        positives=films[order][has][::-1],
        negatives=films[order][~has],
        below=np.searchsorted(rising[~has], falling, side="left"),
        through=np.searchsorted(rising[~has], falling, side="right"),
        last_tied=np.searchsorted(-falling, -falling, side="right") - 1,
    )


def measures(ranking: Ranking, weights: NDArray[np.generic]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return AUROC [R] and average precision [R] under each of R weightings, nan where a class weighs nothing.

    Args:
        ranking: From ``rank``.
        weights: [R, columns], whole or floating numbers, at least 0.
    """
    films = max(1, len(ranking.positives) + len(ranking.negatives))
    rows = max(1, _BLOCK_CELLS // films)
    blocks = [_measure_block(ranking, weights[start : start + rows]) for start in range(0, len(weights), rows)]
    areas, precisions = zip(*blocks, strict=True)
    return np.concatenate(areas), np.concatenate(precisions)


def checked(truth: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return the truth as bool [N] and the scores as float64 [N].

    Raises:
        ValueError: The truth has other values than 0 and 1, a score is nan, or the lengths differ.
    """
    present, values = np.asarray(truth), np.asarray(scores, dtype=np.float64)
    if present.ndim != 1 or present.shape != values.shape:
        raise ValueError(f"truth and scores must be [N] alike, got {present.shape} and {values.shape}")
    if not np.isin(present, (0, 1)).all():
        raise ValueError("truth must be 0 or 1: leave out uncertain and unstated films first")
    if np.isnan(values).any():
        raise ValueError("a score is nan")
    return present.astype(np.bool_), values


def _measure_block(ranking: Ranking, weights: NDArray[np.generic]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    kind = np.int64 if np.issubdtype(weights.dtype, np.integer) else np.float64
    # Weight of the k lowest negatives for k = 0 .. n-; all that both measures need to know of the negatives.
    lowest = np.zeros((len(weights), len(ranking.negatives) + 1), dtype=kind)
    np.cumsum(weights[:, ranking.negatives], axis=1, dtype=kind, out=lowest[:, 1:])
    positive = weights[:, ranking.positives].astype(np.float64)  # [r, n+]
    found = np.cumsum(positive, axis=1)[:, ranking.last_tied]  # weight of the positives called at each one's score
    below = lowest[:, ranking.below]
    all_positive, all_negative = positive.sum(axis=1), lowest[:, -1].astype(np.float64)
    wins = np.einsum("rn,rn->r", positive, (below + lowest[:, ranking.through]) * 0.5)
    called = found + (all_negative[:, None] - below)
    precision = np.divide(found, called, out=np.zeros_like(found), where=called > 0)
    gained = np.einsum("rn,rn->r", positive, precision)
    missing = (all_positive == 0) | (all_negative == 0)
    all_positive[missing] = all_negative[missing] = np.nan
    return wins / (all_positive * all_negative), gained / (all_positive + 0.0 * all_negative)


def _one_weighting(weights: ArrayLike | None, truth: ArrayLike) -> NDArray[np.generic]:
    films = np.shape(truth)
    if weights is None:
        return np.ones((1, *films), dtype=np.int64)
    values = np.asarray(weights, dtype=np.float64)
    if values.shape != films or not (values >= 0).all():
        raise ValueError("weights must be [N] like the truth and at least 0")
    return values[None]
