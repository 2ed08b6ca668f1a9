"""Student's t distribution with whole degrees of freedom, by its finite sums (Abramowitz and Stegun 1964, 26.7.3-4)."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from hilum.arrays import DoubleArray


def two_sided_p(t: float, degrees: int) -> float:
    """Return the chance of a value at least as far from 0 as ``t``, exact to about 1e-14.

    Raises:
        ValueError: There is not one degree of freedom, or ``t`` is nan.

    >>> round(two_sided_p(12.7062047364, 1), 9)
    0.05
    """
    if degrees < 1 or math.isnan(t):
        raise ValueError(
            f"t is {t} with {degrees} degrees of freedom: a number and at least 1 are needed"
        )
    angle = math.atan2(abs(t), math.sqrt(degrees))
    sine, cosine = math.sin(angle), math.cos(angle)
    if degrees % 2:
        steps = np.arange(1.0, (degrees - 1) // 2)
        inside = angle + (
            sine * cosine * _series(2 * steps / (2 * steps + 1), cosine) if degrees > 1 else 0.0
        )
        return min(max(1.0 - 2.0 / math.pi * inside, 0.0), 1.0)
    steps = np.arange(1.0, degrees // 2)
    return min(max(1.0 - sine * _series((2 * steps - 1) / (2 * steps), cosine), 0.0), 1.0)


@lru_cache(maxsize=1024)
def quantile(level: float, degrees: int) -> float:
    """Return the t within which the share ``level`` of the distribution lies, as far to either side of 0.

    Raises:
        ValueError: The level is not between 0 and 1, or there is not one degree of freedom.

    >>> round(quantile(0.95, 9), 6)
    2.262157
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"level is {level}: allowed are values between 0 and 1")
    low, high = 0.0, 1.0
    while two_sided_p(high, degrees) > 1.0 - level:
        high *= 2.0
    while high - low > 1e-13 * high:
        middle = (low + high) / 2.0
        low, high = (middle, high) if two_sided_p(middle, degrees) > 1.0 - level else (low, middle)
    return high


def _series(ratios: DoubleArray, cosine: float) -> float:
    """1 + r1 c^2 + r1 r2 c^4 + ..."""
    return 1.0 + float(np.cumprod(ratios * cosine**2).sum())
