"""Scoring by study instead of by film: a study's films are read together, as CheXpert's protocol scores them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hilum.arrays import BoolArray, DoubleArray

AGGREGATION = "maximum over a study's films"


class Studies(NamedTuple):
    """What is judged where a study counts once; M studies in the order of their codes or names."""

    truth: DoubleArray
    """[M, F], 1 where a scored film of the study has the finding, else 0."""
    mask: BoolArray
    """[M, F], where a film of the study is scored."""
    scores: DoubleArray
    """[..., M, F], the maximum over all films of the study."""
    patients: NDArray[np.generic]
    """[M], who the study shows, in the notation given."""


def per_study(
    truth: ArrayLike, mask: ArrayLike, scores: ArrayLike, studies: ArrayLike, patients: ArrayLike
) -> Studies:
    """Return studies in place of films.

    CheXpert's reports speak of studies, so that all films of one have its labels; where a source
    labels films, a study has what one of its films has. Its score is the maximum over its films, as
    Irvin 2019 (arXiv 1901.07031) takes it.

    Args:
        truth: [N, F], 1 present and 0 absent; anything where the mask is 0.
        mask: [N, F], above 0 where the cell is scored.
        scores: [..., N, F], of one model or several.
        studies: [N], which study each film belongs to, in any notation.
        patients: [N], who each film shows.

    Raises:
        ValueError: The shapes do not fit, or a study shows two patients.

    >>> truth, mask, scores = [[1], [1], [0]], [[1], [1], [1]], [[0.2], [0.4], [0.9]]
    >>> per_study(truth, mask, scores, [7, 7, 8], [1, 1, 2]).scores.round(3).T
    array([[0.4, 0.9]])
    """
    labels, scored = np.asarray(truth, dtype=np.float64), np.asarray(mask) > 0
    values, people = np.asarray(scores, dtype=np.float64), np.asarray(patients)
    names, first, codes = np.unique(np.asarray(studies), return_index=True, return_inverse=True)
    _check(labels, scored, values, codes, people)
    if not (people == people[first][codes]).all():
        raise ValueError("a study shows two patients")
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(len(names)))
    present = np.where(scored, labels == 1, False)
    return Studies(
        truth=np.logical_or.reduceat(present[order], starts).astype(np.float64),
        mask=np.logical_or.reduceat(scored[order], starts),
        scores=np.maximum.reduceat(values[..., order, :], starts, axis=-2),
        patients=people[first],
    )


def _check(
    truth: DoubleArray,
    mask: BoolArray,
    scores: DoubleArray,
    studies: NDArray[np.int64],
    patients: NDArray[np.generic],
) -> None:
    films = truth.shape[:1]
    if (
        truth.ndim != 2
        or mask.shape != truth.shape
        or scores.shape[-2:] != truth.shape
        or not len(truth)
    ):
        raise ValueError(
            f"truth and mask must be [N, F], scores [..., N, F]: {truth.shape}, {mask.shape}, {scores.shape}"
        )
    if studies.shape != films or patients.shape != films:
        raise ValueError(
            f"studies and patients must be [N], got {studies.shape} and {patients.shape} for {films[0]} films"
        )
