"""AUROC against labelled patients: what was measured, and a forecast of what twice as many would bring.

A measure of a learning curve errs in two ways: other patients could have been tested, and other
patients could have been labelled for training (a draw). The first part comes from the bootstrap
over the test patients, the same resamples for all sizes; the second from the scatter of the draws
at each size. Both variances are added, and the degrees of freedom with them (Welch 1947, Biometrika
34:28; Satterthwaite 1946, Biometrics Bulletin 2:110), as a size often has two or three draws.

The forecast mixes curves of two kinds, since three or four sizes tell no curve's form. Most of the
weight is on the family ``a + b n^-c`` (the inverse power law, Cortes 1993, NIPS 6:327): straight
lines are fitted for each of EXPONENTS and weighed by how well they fit (Akaike weights, Burnham and
Anderson 2002, section 2.9). The rest is on the last measured step alone: the next doubling brings
any part of what that brought for each doubling (NEXT_STEPS), as on a curve that levels off sooner
than a power law does. So the interval covers the form of the curve as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import special

from hilum.arrays import DoubleArray
from hilum.metrics.intervals import (
    MANY,
    NEVER_VARIES,
    NO_ERROR,
    Interval,
    difference_interval,
    proportion_interval,
)
from hilum.metrics.results import Estimate

EXPONENTS = (-0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
"""Of the curves: 0 is a straight line in the logarithm of patients; above it gains shrink, below
they get larger, as they do while a model has hardly begun to learn."""
NEXT_STEPS = (0.1, 0.3, 0.5, 0.7, 0.9, 1.1, 1.3, 1.5)
"""Multiples of the last step's gain for each doubling that the next may bring, all alike likely."""
ON_FAMILY = 0.85
"""Weight of the power laws; 0 where none of them fits."""
MISFIT = 0.01
"""p value below which the measured values lie on none of the power laws."""
LEAST_SIZES = 3
"""Sizes that a forecast needs: through two, every curve fits."""
NO_DRAWS = (
    "cannot tell: each fraction was trained once, so how much the choice of the labelled patients "
    "matters is not known; --seeds 3 trains on three choices"
)


@dataclass(frozen=True)
class LearningCurve:
    """A model's measure, from 0 to 1, at K numbers of labelled patients.

    patients    [K] rising
    values      K sequences, the measure of each choice of the labelled patients
    resampled   [K, R] their mean in each resample of the test patients; nan where undefined
    tested      how many test patients the measure rests on, see ``estimates.macro_patients``
    """

    patients: Sequence[float]
    values: Sequence[Sequence[float]]
    resampled: DoubleArray
    tested: int

    @cached_property
    def means(self) -> DoubleArray:
        """The mean over the draws, [K]."""
        return np.array([np.mean(of_size) for of_size in self.values])

    @cached_property
    def over_patients(self) -> DoubleArray:
        """The covariance that testing other patients gives, [K, K]."""
        known = self.resampled[:, ~np.isnan(self.resampled).any(axis=0)]
        return np.atleast_2d(np.cov(known))

    @cached_property
    def over_draws(self) -> DoubleArray:
        """The variance that labelling other patients gives the means, [K]; nan where no size has two draws.

        A size with one draw takes the largest variance of the others.
        """
        known = [float(np.var(each, ddof=1)) for each in self.values if len(each) > 1]
        each = [
            float(np.var(each, ddof=1)) if len(each) > 1 else max(known, default=np.nan)
            for each in self.values
        ]
        return np.array(each) / [len(of_size) for of_size in self.values]

    @property
    def has_draws(self) -> bool:
        """Whether some size was trained on several draws, so that their scatter is known."""
        return not np.isnan(self.over_draws).any()

    @cached_property
    def draw_degrees(self) -> DoubleArray:
        """Degrees of freedom of ``over_draws``, [K]."""
        counts = np.array([len(of_size) - 1 for of_size in self.values])
        return np.where(counts > 0, counts, max(counts.max(), 1)).astype(np.float64)

    def error(self, weights: DoubleArray) -> tuple[float, int]:
        """Return the standard error of a weighted sum of the means, and its degrees of freedom plus one.

        Without draws it covers the test patients alone.
        """
        of_draws = weights**2 * np.nan_to_num(self.over_draws)
        of_patients = float(weights @ self.over_patients @ weights)
        parts = np.array([of_patients, *of_draws])
        degrees = np.array([max(self.tested - 1, 1), *self.draw_degrees])
        total = float(parts.sum())
        if total <= NO_ERROR**2:
            return 0.0, self.tested
        return total**0.5, max(int(total**2 / float(parts**2 @ (1 / degrees))), 1) + 1

    def at(self, size: int, level: float = 0.95) -> Estimate:
        """Return the measure at one of the sizes."""
        value = float(self.means[size])
        error, number = self.error(np.eye(len(self.means))[size])
        ends = proportion_interval(value, error, number, level)
        return Estimate(value, ends, reason=None if ends else NEVER_VARIES)

    def step(self, size: int, level: float = 0.95) -> Estimate:
        """Return what one of the sizes gave over the size before."""
        weights = np.eye(len(self.means))[size] - np.eye(len(self.means))[size - 1]
        value = float(weights @ self.means)
        ends = difference_interval(value, *self.error(weights), level)
        return Estimate(value, ends, reason=None if ends else NEVER_VARIES)

    def minus(self, other: LearningCurve) -> LearningCurve:
        """Return the curve of the differences to another model, draw by draw, at the same sizes.

        Its values are from -1 to 1: read it by ``gap``.

        Raises:
            ValueError: Sizes or draws differ.
        """
        pairs = list(zip(self.values, other.values, strict=True))
        values = [np.subtract(*pair).tolist() for pair in pairs]
        resampled = self.resampled - other.resampled
        return LearningCurve(self.patients, values, resampled, min(self.tested, other.tested))

    def gap(self, size: int, level: float = 0.95) -> Estimate:
        """Return the difference at one of the sizes, of a curve from ``minus``."""
        value, weights = float(self.means[size]), np.eye(len(self.means))[size]
        ends = difference_interval(value, *self.error(weights), level)
        return Estimate(value, ends, reason=None if ends else NEVER_VARIES)

    def doubling(self, level: float = 0.95) -> Estimate:
        """Forecast what twice the most labelled patients would add; the reason where that cannot be told."""
        sizes = len(set(self.patients))
        if sizes < LEAST_SIZES:
            return Estimate(
                None,
                reason=f"cannot tell: {sizes} {'fraction' if sizes == 1 else 'fractions'} of the labels "
                f"{'was' if sizes == 1 else 'were'} tried, and a curve needs {LEAST_SIZES}",
            )
        if not self.has_draws:
            return Estimate(None, reason=NO_DRAWS)
        sizes = len(self.means)
        family, weights, fits_well = self._power_laws()
        last = np.zeros(sizes)
        last[-2:] = (-1.0, 1.0)
        last /= np.log2(self.patients[-1] / self.patients[-2])
        fits = [self._forecast(weights_of_means) for weights_of_means in family]
        fits += [self._forecast(part * last) for part in NEXT_STEPS]
        share = ON_FAMILY if fits_well else 0.0
        level_off = np.full(len(NEXT_STEPS), (1.0 - share) / len(NEXT_STEPS))
        return _mixture(fits, np.concatenate([share * weights, level_off]), level)

    def _forecast(self, weights: DoubleArray) -> tuple[float, float, int]:
        """Return a weighted sum of the means with its standard error and degrees of freedom plus one."""
        return (float(weights @ self.means), *self.error(weights))

    def _power_laws(self) -> tuple[DoubleArray, DoubleArray, bool]:
        """Return each exponent's weights of the means, [E, K], its Akaike weight, and whether any fits."""
        sizes = len(self.means)
        scale = np.asarray(self.patients, dtype=np.float64) / self.patients[-1]
        x = np.stack([_doublings(scale, exponent) for exponent in EXPONENTS])  # [E, K]
        ahead = np.array([_doublings(np.array([2.0]), exponent)[0] for exponent in EXPONENTS])
        centred = x - x.mean(axis=1, keepdims=True)
        slopes = centred / (centred**2).sum(axis=1, keepdims=True)  # of least squares
        # How far the means are from the nearest line, in units of their errors: generalised least squares.
        precision = np.linalg.pinv(self.over_patients + np.diag(self.over_draws), hermitian=True)
        ones, means = np.ones(sizes), self.means
        a, b, d = ones @ precision @ ones, x @ precision @ ones, ((x @ precision) * x).sum(axis=1)
        of_ones, of_x = ones @ precision @ means, x @ precision @ means
        fitted = (d * of_ones**2 - 2 * b * of_ones * of_x + a * of_x**2) / (a * d - b**2)
        apart = np.maximum(means @ precision @ means - fitted, 0.0)
        draws = int(sum(max(len(of_size) - 1, 0) for of_size in self.values))
        p = special.fdtrc(sizes - 2, draws, apart.min() / (sizes - 2))
        # Student's form of the likelihood, as the draws' variances are known from few of them
        log_weights = -0.5 * (draws + sizes - 2) * np.log1p(apart / draws)
        weights = np.exp(log_weights - log_weights.max())
        return slopes * ahead[:, None], weights / weights.sum(), bool(p >= MISFIT)


def _doublings(scale: DoubleArray, exponent: float) -> DoubleArray:
    """Return the curve's horizontal axis: 0 at a scale of 1 with slope 1 for each doubling there (Box and Cox 1964)."""
    if exponent == 0.0:
        return np.log2(scale)
    return np.asarray((1.0 - scale**-exponent) / (exponent * np.log(2.0)))


def _mixture(
    fits: Sequence[tuple[float, float, int]], weights: DoubleArray, level: float
) -> Estimate:
    """Return mean and interval of mixed Student distributions (centre, error, degrees + 1)."""
    centres, errors, numbers = (np.array(part) for part in zip(*fits, strict=True))
    value = float(weights @ centres)
    if (errors <= NO_ERROR).any():
        return Estimate(value, reason=NEVER_VARIES)
    degrees = np.minimum(numbers - 1, MANY)
    targets = np.array([(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    low, high = np.full(2, -1.0), np.full(2, 1.0)
    for _ in range(24):  # halving, to 1e-7
        middle = 0.5 * (low + high)
        below = special.stdtr(degrees, (middle[:, None] - centres) / errors) @ weights
        low, high = np.where(below < targets, middle, low), np.where(below < targets, high, middle)
    return Estimate(value, Interval(*(0.5 * (low + high)).tolist()))
