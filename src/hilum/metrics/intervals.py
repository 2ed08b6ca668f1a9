"""Intervals by resampling patients, because the films of one patient resemble each other.

They say how the measure of this one model would vary over other patients. They say nothing of other training seeds.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Interval(NamedTuple):
    """Two ends, low first."""

    low: float
    high: float


def bootstrap_counts(patients: int, resamples: int, seed: int) -> NDArray[np.uint16]:
    """Return how often each patient stands in each resample, uint16 [resamples, patients]; every row sums to patients.

    A film takes its patient's count as weight (the cluster bootstrap: Davison and Hinkley 1997, section 3.8).

    Raises:
        ValueError: There is no patient, or ``resamples`` is negative.
    """
    if patients < 1 or resamples < 0:
        raise ValueError(f"{patients} patients and {resamples} resamples: at least 1 and 0 are needed")
    rng = np.random.default_rng(seed)
    counts = np.empty((resamples, patients), dtype=np.uint16)
    for row in counts:
        row[:] = np.bincount(rng.integers(patients, size=patients), minlength=patients)
    return counts


def interval(samples: NDArray[np.float64], level: float = 0.95) -> Interval | None:
    """Return the percentile interval of the samples that are numbers, or None where there are none.

    Args:
        samples: [R], nan where a resample does not define the measure; these are left out.
        level: Share of the samples inside, between 0 and 1.

    >>> interval(np.arange(101.0), level=0.5)
    Interval(low=25.0, high=75.0)
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"level is {level}: allowed are values between 0 and 1")
    numbers = samples[~np.isnan(samples)]
    if not len(numbers):
        return None
    outside = (1.0 - level) / 2.0
    low, high = np.quantile(numbers, [outside, 1.0 - outside])
    return Interval(float(low), float(high))
