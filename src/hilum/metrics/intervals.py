"""Intervals by resampling patients, because the films of one patient resemble each other.

They show how the measure of this one model would vary over other patients, not over other training
seeds.

One method serves every number of the package: the bootstrap gives the standard error, Student's
t the factor (what Hesterberg 2015, arXiv 1411.5279, recommends over percentiles, which are too
narrow in small samples), and measures between 0 and 1 are taken on the logit scale, so that an end
never leaves that range (Pepe 2003, section 5.2.4). ``benchmarks/statistics_simulation.py`` measures
how often such intervals cover the truth.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from hilum.arrays import DoubleArray

MANY = 10_000
"""Degrees of freedom from which on the normal distribution is meant."""
NO_ERROR = 1e-12
"""Standard errors up to this are rounding: the measure is the same in every resample, so its error
is unknown."""
NEVER_VARIES = "no interval: it is the same in every resample"
"""The reason that such a measure has none."""
_DRAWN_AT_ONCE = 1 << 16  # patients drawn at a time, over resamples: half a megabyte


class Interval(NamedTuple):
    """Two ends, low first."""

    low: float
    high: float


def bootstrap_counts(patients: int, resamples: int, seed: int) -> NDArray[np.uint16]:
    """Return how often each patient is in each resample, uint16 [resamples, patients].

    Every row sums to ``patients``.

    A film takes its patient's count as weight (the cluster bootstrap: Davison and Hinkley 1997,
    section 3.8).

    Raises:
        ValueError: There is no patient, or ``resamples`` is negative.
    """
    if patients < 1 or resamples < 0:
        raise ValueError(
            f"{patients} patients and {resamples} resamples: at least 1 and 0 are needed"
        )
    rng = np.random.default_rng(seed)
    counts = np.empty((resamples, patients), dtype=np.uint16)
    rows = max(1, _DRAWN_AT_ONCE // patients)
    for start in range(0, resamples, rows):
        block = counts[start : start + rows]
        draws = rng.integers(patients, size=block.shape) + patients * np.arange(len(block))[:, None]
        block[:] = np.bincount(draws.ravel(), minlength=block.size).reshape(block.shape)
    return counts


def standard_error(samples: DoubleArray) -> float | None:
    """Return the standard deviation of the samples [R] that are numbers, None where there are not two."""
    numbers = samples[~np.isnan(samples)]
    return float(numbers.std(ddof=1)) if len(numbers) > 1 else None


def proportion_interval(
    value: float, error: float, patients: int | None = None, level: float = 0.95
) -> Interval | None:
    """Return the interval of a measure from 0 to 1, None where its error is unknown.

    That is so of a value between 0 and 1 that no resample changes: the score is the same for all
    films.

    Args:
        value: The measure, from 0 to 1.
        error: Its standard error, at least 0.
        patients: How many patients it rests on: those of the class with fewer, and
            ``estimates.macro_patients`` for a mean over findings; one less are the degrees of
            freedom. None for very many.
        level: Confidence level: the fraction of such intervals that cover the truth.

    Where the value is 0 or 1 no resample differs from it. The other end is then that of a
    proportion of none, or all, of the patients (Clopper and Pearson 1934).

    >>> low, high = proportion_interval(0.9, 0.02, patients=50)
    >>> round(low, 3), round(high, 3)
    (0.852, 0.934)
    """
    _check(level, patients)
    if value in (0.0, 1.0):
        width = 1.0 - ((1.0 - level) / 2.0) ** (1.0 / (MANY if patients is None else patients))
        return Interval(0.0, width) if value == 0.0 else Interval(1.0 - width, 1.0)
    if error <= NO_ERROR:
        return None
    centre = math.log(value / (1.0 - value))
    reach = _t_quantile(level, patients) * error / (value * (1.0 - value))
    return Interval(_expit(centre - reach), _expit(centre + reach))


def difference_interval(
    value: float, error: float, patients: int | None = None, level: float = 0.95
) -> Interval | None:
    """Return the interval of a difference of two measures from 0 to 1; it lies within -1 and 1.

    It excludes 0 just where ``difference_p`` is below 1 - level. Arguments as ``proportion_interval``,
    the value from -1 to 1. None where a difference other than 0 has no error.
    """
    _check(level, patients)
    if error <= NO_ERROR:
        return None if abs(value) > NO_ERROR else Interval(value, value)
    reach = _t_quantile(level, patients) * error
    return Interval(max(value - reach, -1.0), min(value + reach, 1.0))


def difference_p(value: float, error: float, patients: int | None = None) -> float | None:
    """Return the two-sided p value of a difference by a t test.

    Arguments as ``proportion_interval``. Models that never differ have 1; None where a difference other
    than 0 has no error.
    """
    _check(0.95, patients)
    if error <= NO_ERROR:
        return None if abs(value) > NO_ERROR else 1.0
    return float(2.0 * special.stdtr(_degrees(patients), -abs(value / error)))


def _t_quantile(level: float, patients: int | None) -> float:
    """Return the t within which the fraction ``level`` of Student's distribution lies, on both sides of 0."""
    return float(special.stdtrit(_degrees(patients), (1.0 + level) / 2.0))


def _degrees(patients: int | None) -> int:
    return MANY if patients is None else min(patients - 1, MANY)


def _expit(logit: float) -> float:
    """1 / (1 + exp(-x)), which overflows for neither sign."""
    return 0.5 + 0.5 * math.tanh(logit / 2.0)


def _check(level: float, patients: int | None) -> None:
    if not 0.0 < level < 1.0:
        raise ValueError(f"level is {level}: allowed are values between 0 and 1")
    if patients is not None and patients < 2:
        raise ValueError(f"{patients} patients: an interval needs 2")
