"""AUROC with its variance and covariance in closed form, for films that come several from a patient.

DeLong 1988 (Biometrics 44:837) writes the AUROC as a mean over films with the finding of how many
films without it each outscores, and the reverse. Obuchowski 1997 (Biometrics 53:567) sums these
components within patients, so that films of one patient may resemble each other, with and without
the finding alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hilum.arrays import DoubleArray
from hilum.counts import counted
from hilum.metrics.ranking import checked


class Components(NamedTuple):
    """Structural components of one finding's AUROC by film; both have the AUROC as mean."""

    positives: DoubleArray
    """[n+] fraction of the negatives that each positive outscores, in the films' order; a tie counts
    half."""
    negatives: DoubleArray
    """[n-] fraction of the positives that outscore each negative."""


class AurocCovariance(NamedTuple):
    """AUROC of M models on one finding, and their covariance over patients."""

    auroc: DoubleArray
    """[M]"""
    covariance: DoubleArray
    """[M, M]"""
    patients: int
    """Patients of the class with fewer."""

    def difference(self, first: int, second: int) -> tuple[float, float]:
        """Return AUROC of one model minus another's and the standard error of that."""
        sign = np.zeros(len(self.auroc))
        sign[first] += 1.0
        sign[second] -= 1.0
        return float(sign @ self.auroc), math.sqrt(max(float(sign @ self.covariance @ sign), 0.0))


def components(truth: ArrayLike, scores: ArrayLike) -> Components:
    """Return the structural components of the AUROC, by ranks.

    Args:
        truth: [N], 1 present and 0 absent, both at least once.
        scores: [N], higher means more likely present.

    Raises:
        ValueError: A class is missing, or as ``ranking.auroc``.
    """
    present, values = checked(truth, scores)
    if present.all() or not present.any():
        raise ValueError("films with and without the finding are needed")
    positives, negatives = values[present], values[~present]
    return Components(_outscored(positives, negatives), 1.0 - _outscored(negatives, positives))


def auroc_covariance(
    truth: ArrayLike, models: Sequence[ArrayLike], patients: ArrayLike
) -> AurocCovariance:
    """Return the AUROC of several models on the same films of one finding, with their covariance.

    The AUROC of a model of several seeds is the mean of its seeds' AUROC, and so are its
    components.

    Args:
        truth: [N], 1 present and 0 absent.
        models: For each model its scores, [S, N] of S seeds or [N] of one.
        patients: [N], who each film shows, in any notation.

    Raises:
        ValueError: Fewer than two patients have a film with the finding, or without; or as
            ``components``.

    >>> result = auroc_covariance([0, 1, 0, 1], [[0.1, 0.3, 0.2, 0.15]], ["a", "b", "c", "d"])
    >>> result.auroc, result.covariance
    (array([0.75]), array([[0.125]]))
    """
    present = np.asarray(truth) == 1
    who = np.unique(np.asarray(patients), return_inverse=True)[1]
    with_it, without = len(np.unique(who[present])), len(np.unique(who[~present]))
    if min(with_it, without) < 2:
        raise ValueError(
            f"{counted(with_it, 'patient')} with and {without:,} without the finding: 2 of each are needed"
        )
    models_components = [
        _mean_components(truth, np.atleast_2d(np.asarray(scores))) for scores in models
    ]
    auroc = np.array([parts.positives.mean() for parts in models_components])
    positives, negatives = (
        np.stack([parts.positives for parts in models_components]),
        np.stack([parts.negatives for parts in models_components]),
    )
    above = _by_patient(positives - auroc[:, None], who[present], who.max() + 1)  # [M, P]
    below = _by_patient(negatives - auroc[:, None], who[~present], who.max() + 1)
    both = above @ below.T
    covariance = (
        above @ above.T * _unbiased(with_it)
        + below @ below.T * _unbiased(without)
        + (both + both.T) * _unbiased(who.max() + 1)
    )
    return AurocCovariance(auroc, covariance, min(with_it, without))


def _outscored(scores: DoubleArray, others: DoubleArray) -> DoubleArray:
    rising = np.sort(others)
    below, through = (np.searchsorted(rising, scores, side=side) for side in ("left", "right"))
    fraction: DoubleArray = (below + through) / (2.0 * len(others))
    return fraction


def _mean_components(truth: ArrayLike, seeds: NDArray[np.generic]) -> Components:
    parts = [components(truth, scores) for scores in seeds]
    positives, negatives = zip(*parts, strict=True)
    return Components(np.mean(positives, axis=0), np.mean(negatives, axis=0))


def _by_patient(deviations: DoubleArray, who: NDArray[np.int64], patients: int) -> DoubleArray:
    """Sum [M, n] over each patient's films and divide by n, [M, P]."""
    sums = np.stack([np.bincount(who, weights=row, minlength=patients) for row in deviations])
    return sums / len(who)


def _unbiased(patients: int) -> float:
    """I / (I - 1), with I the patients of a class, or all patients for what the classes share."""
    return patients / (patients - 1)
