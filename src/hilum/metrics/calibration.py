"""Calibration: two numbers a finding, so that of films with probability 0.3 three in ten are positive.

A network's probabilities are off in two ways. It is too sure or not sure enough, which a
temperature mends (Guo 2017, arXiv 1706.04599). And where training drew or weighed films with a
finding more often than they occur, all its probabilities are too high by the same step on the
logit's scale, which no temperature can mend: so there is a shift too, as in Platt 1999
("Probabilistic outputs for support vector machines"), of which this is the form ``logit /
temperature + shift``. Being rising, it leaves every ranking, AUROC and average precision as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from hilum.arrays import BoolArray, DoubleArray
from hilum.metrics.ranking import checked

LEAST_FILMS = 10
"""Films with and films without a finding, each, that two numbers are fitted to."""
TEMPERATURES = (0.01, 100.0)
"""Limits of a temperature. It is above 0, so that a network which ranks upside down is damped but
not inverted."""
_SPREADS = (1.0, 5.0)
"""Standard deviations of the prior on 1 / temperature, about 1, and on the shift, about 0."""
_ITERATIONS, _TOLERANCE = 100, 1e-10


class Calibration(NamedTuple):
    """Calibrates a finding's raw logit: ``logit / temperature + shift``."""

    temperature: float
    """Above 0; above 1 makes the network less sure."""
    shift: float
    """Added on the logit's scale; below 0 where training saw the finding too often."""


def why_not_fitted(truth: ArrayLike) -> str | None:
    """Return why temperature and shift cannot be fitted to these films [N], None where they can."""
    present = np.asarray(truth)
    positives, negatives = int((present == 1).sum()), int((present == 0).sum())
    if min(positives, negatives) >= LEAST_FILMS:
        return None
    return f"{positives} validation films with and {negatives} without the finding, {LEAST_FILMS} of each are needed"


def fit_calibration(truth: ArrayLike, logits: ArrayLike) -> Calibration | None:
    """Return the temperature and shift of the smallest log loss on these films, None where they are too few.

    Fit it on validation films, never on those that it is evaluated on. A prior with the weight of
    about one film keeps it near (1, 0): a few films that are ranked without an error would
    otherwise make the network infinitely sure.

    Args:
        truth: [N], 1 present and 0 absent.
        logits: [N], raw and finite.

    Raises:
        ValueError: As ``ranking.auroc``, or a logit is not finite.

    Source: Newton's method as for any logistic regression; the model is Platt's, see above.
    """
    present, raw = checked(truth, logits)
    if not np.isfinite(raw).all():
        raise ValueError("a logit is not finite")
    if why_not_fitted(present) is not None:
        return None
    slope, shift = _newton(
        np.stack([raw, np.ones_like(raw)], axis=1), np.zeros_like(raw), present, (1.0, 0.0)
    )
    temperature = _clipped_temperature(slope)
    if (
        temperature in TEMPERATURES
    ):  # the slope was clipped: fit the shift to the clipped temperature
        (shift,) = _newton(np.ones((len(raw), 1)), raw / temperature, present, (0.0,))
    return Calibration(temperature, float(shift))


def fit_calibrations(
    truth: ArrayLike, mask: ArrayLike, logits: ArrayLike
) -> list[Calibration | None]:
    """Return ``fit_calibration`` of each finding, over the cells that count; all three are [N, F]."""
    labels, counts, raw = np.asarray(truth), np.asarray(mask) > 0, np.asarray(logits)
    return [
        fit_calibration(labels[counts[:, f], f], raw[counts[:, f], f]) for f in range(raw.shape[1])
    ]


def uncalibrated(probabilities: ArrayLike, calibration: Calibration | None) -> DoubleArray:
    """Return the probabilities as the network gave them before it was calibrated."""
    values = np.asarray(probabilities, dtype=np.float64)
    if calibration is None:
        return values
    with np.errstate(divide="ignore", over="ignore"):  # a probability rounded to 0 or 1 stays so
        logits = np.log(values) - np.log1p(-values)
        raw: DoubleArray = 1.0 / (
            1.0 + np.exp(-(logits - calibration.shift) * calibration.temperature)
        )
    return raw


def _newton(
    inputs: DoubleArray, offset: DoubleArray, present: BoolArray, centre: Sequence[float]
) -> DoubleArray:
    """Fit ``inputs @ theta + offset`` [N] to the truth, with the prior about ``centre`` [k]."""
    precision = 1.0 / np.square(_SPREADS[-len(centre) :])
    theta = middle = np.array(centre)

    def loss(at: DoubleArray) -> float:
        logits = inputs @ at + offset
        return float(
            np.logaddexp(0.0, np.where(present, -logits, logits)).sum()
            + precision @ (at - middle) ** 2 / 2
        )

    for _ in range(_ITERATIONS):
        chance = _sigmoid(inputs @ theta + offset)
        gradient = inputs.T @ (chance - present) + precision * (theta - middle)
        curvature = (inputs * (chance * (1 - chance))[:, None]).T @ inputs + np.diag(precision)
        step, current = np.linalg.solve(curvature, gradient), loss(theta)
        if gradient @ step < _TOLERANCE:
            break
        length = 1.0
        while (
            loss(theta - length * step) > current and length > _TOLERANCE
        ):  # far from the end a full step may overshoot
            length /= 2
        theta = theta - length * step
    return theta


def _clipped_temperature(slope: float) -> float:
    """The temperature of a slope, within TEMPERATURES; the highest for a slope of 0 or below."""
    low, high = TEMPERATURES
    return float(min(max(1.0 / slope, low), high)) if slope > 0 else high


def _sigmoid(logits: DoubleArray) -> DoubleArray:
    half: DoubleArray = 0.5 * (1.0 + np.tanh(0.5 * logits))  # does not overflow
    return half
