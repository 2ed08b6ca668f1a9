"""The proportion of right calls with an interval that allows for several films of a patient."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hilum.arrays import BoolArray
from hilum.metrics.intervals import Interval
from hilum.metrics.precision_thresholds import effective_number, lower_bound
from hilum.metrics.results import Estimate


def share_right(
    right: BoolArray, patients: NDArray[np.int64], level: float = 0.95, nothing: str = "no film"
) -> Estimate:
    """Return the proportion of right calls with its two-sided interval over effective films.

    Args:
        right: [n] whether each call is right.
        patients: [n] code of each film's patient.
        level: Of the interval, above 0 and below 1.
        nothing: The reason where there is no call.

    Source: Clopper and Pearson (1934) for the effective number of films (Korn and Graubard 1998),
        as ``precision_thresholds``.

    >>> right, patients = np.array([True] * 9 + [False]), np.arange(10)
    >>> estimate = share_right(right, patients)
    >>> estimate.value, [round(end, 3) for end in estimate.interval]
    (0.9, [0.555, 0.997])
    """
    if len(right) != len(patients):
        raise ValueError(f"{len(right)} calls and {len(patients)} patients do not fit")
    if len(right) == 0:
        return Estimate(None, reason=nothing)
    codes = np.unique(patients, return_inverse=True)[1]
    films = np.bincount(codes).astype(np.float64)
    number = effective_number(np.bincount(codes, weights=right).astype(np.float64), films)
    share, one_sided = float(right.mean()), (1 + level) / 2
    ends = Interval(
        lower_bound(share, number, one_sided), 1 - lower_bound(1 - share, number, one_sided)
    )
    return Estimate(share, ends)
