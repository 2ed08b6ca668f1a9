"""How well scores rank the present above the absent: AUROC and average precision, for one weighting or for thousands.

Scores are sorted once (``rank``); every resample of a bootstrap is then a set of weights on the
sorted films. Both measures need only know how much weight lies above each score of a film with the
finding, so that the films between two such scores are added up at once, for many resamples side by
side.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch.nn import functional

from hilum.arrays import BoolArray, DoubleArray, FloatArray

_BLOCK_CELLS = (
    1 << 15
)  # scores times resamples at a time: 256 kB an array, which stays in the cache
_BLOCK_ROWS = 32  # resamples side by side at least, or adding up films would not pay
_EXACT = 1 << 24  # whole numbers up to here are exact in float32


class Ranking(NamedTuple):
    """Films of one finding from the highest score to the lowest.

    n+ films have the finding and n- have not; the films with it have K different scores.
    """

    positives: NDArray[np.int64]
    """[n+] column of the weights that belongs to each film with the finding."""
    reached: NDArray[np.int64]
    """[K] how many of these score at least the k-th of their different scores."""
    negatives: NDArray[np.int64]
    """[n-] as ``positives``, of the films without the finding."""
    above: NDArray[np.int64]
    """[K] how many of these score more than the k-th score."""
    through: NDArray[np.int64]
    """[K] how many of these score at least as much."""


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


def average_precision(
    truth: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None
) -> float:
    """Return the precision at each film with the finding, averaged; tied scores are called together.

    Arguments, result and errors are those of ``auroc``. The chance level is the share of present
    films, not 0.5.

    >>> round(average_precision([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]), 4)
    0.8333
    """
    return float(measures(rank(truth, scores), _one_weighting(weights, truth))[1][0])


def rank(truth: ArrayLike, scores: ArrayLike, columns: ArrayLike | None = None) -> Ranking:
    """Return the films sorted by score.

    Args:
        truth: [N], 1 present and 0 absent.
        scores: [N].
        columns: [N], which column of the weights each film takes, such as its patient's; None takes
            its own place.

    Raises:
        ValueError: As ``auroc``.
    """
    present, values = checked(truth, scores)
    films = np.arange(len(values)) if columns is None else np.asarray(columns, dtype=np.int64)
    if films.shape != values.shape:
        raise ValueError(f"columns have the shape {films.shape}, the scores {values.shape}")
    order = np.argsort(-values, kind="stable")
    falling, has = (
        -values[order],
        present[order],
    )  # negated, so that they rise as a search needs them
    steps, reached = _steps(falling[has])
    return Ranking(
        positives=films[order][has],
        reached=reached,
        negatives=films[order][~has],
        above=np.searchsorted(falling[~has], steps, side="left"),
        through=np.searchsorted(falling[~has], steps, side="right"),
    )


def measures(ranking: Ranking, weights: NDArray[np.generic]) -> tuple[DoubleArray, DoubleArray]:
    """Return AUROC [R] and average precision [R] under each of R weightings, nan where a class weighs nothing.

    Args:
        ranking: From ``rank``.
        weights: [R, columns], whole or floating numbers, at least 0.
    """
    rows = max(_BLOCK_ROWS, _BLOCK_CELLS // max(1, len(ranking.reached)))
    blocks = [
        _measure_block(ranking, weights[start : start + rows])
        for start in range(0, len(weights), rows)
    ]
    areas, precisions = zip(*blocks, strict=True)
    return np.concatenate(areas), np.concatenate(precisions)


def weight_table(weights: NDArray[np.generic], films: int) -> torch.Tensor:
    """Return weights [R, columns] as floating numbers [columns, R], in float32 where sums over films are exact in it.

    Args:
        weights: At least 0.
        films: How many are added up at most.
    """
    whole = (
        np.issubdtype(weights.dtype, np.integer) and int(weights.max(initial=0)) * films < _EXACT
    )
    return torch.from_numpy(weights.T.astype(np.float32 if whole else np.float64, order="C"))


def checked(truth: ArrayLike, scores: ArrayLike) -> tuple[BoolArray, DoubleArray]:
    """Return the truth as bool [N] and the scores as float64 [N].

    Raises:
        ValueError: The truth has other values than 0 and 1, a score is nan, or the lengths differ.
    """
    present, values = np.asarray(truth), np.asarray(scores, dtype=np.float64)
    if present.ndim != 1 or present.shape != values.shape:
        raise ValueError(
            f"truth and scores must be [N] alike, got {present.shape} and {values.shape}"
        )
    if not np.isin(present, (0, 1)).all():
        raise ValueError("truth must be 0 or 1: leave out uncertain and unstated films first")
    if np.isnan(values).any():
        raise ValueError("a score is nan")
    return present.astype(np.bool_), values


def _measure_block(
    ranking: Ranking, weights: NDArray[np.generic]
) -> tuple[DoubleArray, DoubleArray]:
    table = weight_table(weights, len(ranking.positives) + len(ranking.negatives))
    at_score = _added_up(table, ranking.positives, ranking.reached)[
        :, :-1
    ]  # [r, K] weight of positives at each score
    above, all_negative = _passed(table, ranking.negatives, ranking.above)
    tied = not np.array_equal(ranking.above, ranking.through)
    through = _passed(table, ranking.negatives, ranking.through)[0] if tied else above
    hits = np.cumsum(at_score, axis=1)
    all_positive = at_score.sum(axis=1)
    beaten_by = np.einsum("rk,rk->r", at_score, (above + through) * 0.5 if tied else above)
    called = hits + through
    precision = np.divide(
        hits, called, out=called, where=called > 0
    )  # and 0 where nothing is called
    gained = np.einsum("rk,rk->r", at_score, precision)
    wins = all_positive * all_negative - beaten_by
    missing = (all_positive == 0) | (all_negative == 0)
    all_positive[missing] = all_negative[missing] = np.nan
    return wins / (all_positive * all_negative), gained / (all_positive + 0.0 * all_negative)


def _steps(falling: DoubleArray) -> tuple[DoubleArray, NDArray[np.int64]]:
    """The different ones of sorted values, and how many values there are up to and with each."""
    last = np.flatnonzero(np.append(falling[1:] != falling[:-1], True)[: len(falling)])
    return falling[last], last + 1


def _added_up(
    table: torch.Tensor, films: NDArray[np.int64], ends: NDArray[np.int64]
) -> DoubleArray:
    """Weight of the films before the first end, between it and the second, ..., after the last, [r, K + 1]."""
    starts = torch.from_numpy(np.concatenate([[0], ends]))
    sums = functional.embedding_bag(torch.from_numpy(films), table, starts, mode="sum")
    return sums.numpy().T.astype(np.float64, order="C")


def _passed(
    table: torch.Tensor, films: NDArray[np.int64], ends: NDArray[np.int64]
) -> tuple[DoubleArray, DoubleArray]:
    """Weight of the films before each end, [r, K], and of all of them, [r]."""
    sums = _added_up(table, films, ends)
    np.cumsum(sums, axis=1, out=sums)
    return sums[:, :-1], sums[:, -1].copy()


def _one_weighting(weights: ArrayLike | None, truth: ArrayLike) -> NDArray[np.generic]:
    films = np.shape(truth)
    if weights is None:
        return np.ones((1, *films), dtype=np.int64)
    values = np.asarray(weights, dtype=np.float64)
    if values.shape != films or not (values >= 0).all():
        raise ValueError("weights must be [N] like the truth and at least 0")
    return values[None]


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
    return float(above / pairs) if pairs else float("nan")


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
