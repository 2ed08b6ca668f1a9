"""Learning curves: parts of the error by hand, a forecast that covers known curves, and when it cannot be told."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from hilum.metrics.intervals import proportion_interval
from hilum.metrics.learning_curve import LearningCurve

STUDIES, RESAMPLES = 200, 60
Curve = Callable[[np.ndarray], np.ndarray]
KNOWN: dict[str, Curve] = {
    "power 0.3": lambda n: 0.85 - 0.35 * (n / 20) ** -0.3,
    "power 1": lambda n: 0.8 - 0.25 * (n / 20) ** -1.0,
    "straight": lambda n: 0.6 + 0.03 * np.log2(n / 20),
    "flat": lambda n: 0.7 + 0.0 * n,
    "levels off": lambda n: 0.5 + 0.4 / (1 + (n / 150) ** -1.4),
    "still rising": lambda n: 0.5 + 0.4 / (1 + (n / 1000) ** -1.0),
}


def studied(
    rng: np.random.Generator, curve: Curve, patients: Sequence[int], draws: int
) -> LearningCurve:
    """Return a study of a known curve: errors of 0.012 over test patients, alike at all shares, 0.015 over draws."""
    sizes = np.asarray(patients, dtype=np.float64)
    errors = 0.012**2 * (0.8 + 0.2 * np.eye(len(sizes)))
    scatter = 0.015 * (sizes / sizes[0]) ** -0.25
    centre = curve(sizes) + rng.multivariate_normal(np.zeros(len(sizes)), errors)
    values = centre[:, None] + scatter[:, None] * rng.normal(size=(len(sizes), draws))
    noise = rng.multivariate_normal(np.zeros(len(sizes)), errors, RESAMPLES)
    return LearningCurve(
        list(patients), values.tolist(), values.mean(axis=1)[:, None] + noise.T, 150
    )


@pytest.mark.parametrize(
    ("name", "patients", "draws"),
    [
        ("power 0.3", (42, 209, 418), 2),
        ("power 1", (89, 446, 893, 1786), 3),
        ("straight", (42, 209, 418), 5),
        ("flat", (42, 209, 418), 3),
        ("levels off", (40, 80, 200, 400), 2),
        ("still rising", (42, 209, 418), 3),
    ],
)
def test_the_forecast_covers_what_twice_as_many_labels_give(
    name: str, patients: tuple[int, ...], draws: int
) -> None:
    rng, curve = np.random.default_rng(0), KNOWN[name]
    most = np.array([2.0, 1.0]) * patients[-1]
    truth = float(curve(most)[0] - curve(most)[1])
    gains = [studied(rng, curve, patients, draws).doubling().interval for _ in range(STUDIES)]
    ends = [gain for gain in gains if gain is not None]
    assert len(ends) == STUDIES
    covered = np.mean([gain.low <= truth <= gain.high for gain in ends])
    assert covered >= 0.9
    # an interval that covers all is no forecast
    assert np.median([gain.high - gain.low for gain in ends]) < 0.15


def test_gains_of_a_flat_curve_are_not_shown_and_those_of_a_steep_one_are() -> None:
    rng = np.random.default_rng(1)
    for name, shown in (("flat", False), ("straight", True)):
        curves = [studied(rng, KNOWN[name], (42, 209, 418), 5).doubling() for _ in range(40)]
        lows = [gain.interval.low > 0 for gain in curves if gain.interval]
        assert (sum(lows) > 32) is shown
        assert (sum(lows) < 4) is not shown


def test_intervals_of_measured_points_cover_the_truth() -> None:
    rng, patients = np.random.default_rng(2), (42, 209, 418)
    truth = KNOWN["power 0.3"](np.array(patients, dtype=float))
    point, step = [], []
    for _ in range(STUDIES):
        curve = studied(rng, KNOWN["power 0.3"], patients, 3)
        at, gain = curve.at(0).interval, curve.step(2).interval
        assert at is not None
        assert gain is not None
        point.append(at.low <= truth[0] <= at.high)
        step.append(gain.low <= truth[2] - truth[1] <= gain.high)
    assert np.mean(point) >= 0.9
    assert np.mean(step) >= 0.9


def test_the_error_is_that_of_patients_and_draws_added_up() -> None:
    rng = np.random.default_rng(3)
    resampled = 0.7 + 0.01 * rng.normal(size=(1, 500))
    values = [0.70, 0.74, 0.72]
    error, number = LearningCurve([50], [values], resampled, 101).error(np.ones(1))
    patients, draws = resampled.var(ddof=1), np.var(values, ddof=1) / 3
    assert error == pytest.approx((patients + draws) ** 0.5, abs=1e-12)
    welch = (patients + draws) ** 2 / (patients**2 / 100 + draws**2 / 2)
    assert number == int(welch) + 1


def test_one_draw_leaves_the_patients_error_alone() -> None:
    rng = np.random.default_rng(4)
    resampled = 0.7 + 0.01 * rng.normal(size=(1, 500))
    curve = LearningCurve([50], [[0.71]], resampled, 80)
    expected = proportion_interval(0.71, resampled.std(ddof=1), 80)
    assert curve.at(0).interval == pytest.approx(expected, abs=1e-12)


def test_a_gap_is_paired_by_draw_and_patient() -> None:
    rng = np.random.default_rng(5)
    shared, draws = 0.02 * rng.normal(size=(1, 500)), 0.05 * rng.normal(size=4)
    low = LearningCurve([50], [(0.7 + draws).tolist()], 0.7 + shared, 80)
    noise = 0.001 * rng.normal(size=(1, 500))
    high = LearningCurve([50], [(0.71 + draws).tolist()], 0.71 + shared + noise, 80)
    gap = high.minus(low).gap(0)
    assert gap.value == pytest.approx(0.01)
    assert gap.interval is not None
    assert gap.interval.low > 0.005


@pytest.mark.parametrize(
    ("patients", "draws", "reason"),
    [
        ((42, 418), 3, "2 fractions of the labels were tried"),
        ((418,), 3, "1 fraction of the labels was tried"),
        ((418, 418, 418), 3, "1 fraction of the labels was tried"),
        ((42, 209, 418), 1, "--seeds 3"),
    ],
)
def test_too_few_shares_or_draws_tell_nothing(
    patients: tuple[int, ...], draws: int, reason: str
) -> None:
    gain = studied(np.random.default_rng(6), KNOWN["straight"], patients, draws).doubling()
    assert gain.value is None
    assert gain.interval is None
    assert reason in (gain.reason or "")


def test_a_curve_that_no_power_law_fits_is_forecast_by_its_last_step_alone() -> None:
    rng = np.random.default_rng(7)
    patients, level = (40, 80, 160, 320), np.array([0.6, 0.75, 0.6, 0.75])
    resampled = level[:, None] + 1e-4 * rng.normal(size=(4, 300))
    values = [[at - 1e-4, at, at + 1e-4] for at in level]
    gain = LearningCurve(patients, values, resampled, 200).doubling()
    assert gain.interval is not None
    assert gain.interval.low < 0.03
    assert gain.interval.high > 0.2
