import math

import numpy as np
import pytest
from scipy import stats

from hilum.metrics.intervals import (
    Interval,
    bootstrap_counts,
    difference_interval,
    difference_p,
    proportion_interval,
    standard_error,
)


def test_each_resample_draws_as_many_patients_as_there_are():
    counts = bootstrap_counts(37, 500, seed=0)
    assert counts.shape == (500, 37)
    assert (counts.sum(axis=1) == 37).all()


def test_the_counts_are_those_of_drawing_with_replacement():
    counts = bootstrap_counts(50, 4000, seed=1).astype(float)
    assert np.abs(counts.mean(axis=0) - 1).max() < 0.08
    assert counts.var() == pytest.approx(1 - 1 / 50, rel=0.03)
    assert (counts == 0).mean() == pytest.approx((1 - 1 / 50) ** 50, abs=0.01)
    assert np.corrcoef(counts[:, 0], counts[:, 1])[0, 1] == pytest.approx(-1 / 49, abs=0.06)


def test_the_seed_decides_and_more_resamples_only_add():
    assert (bootstrap_counts(20, 30, seed=5) == bootstrap_counts(20, 60, seed=5)[:30]).all()
    assert (bootstrap_counts(20, 30, seed=5) != bootstrap_counts(20, 30, seed=6)).any()


@pytest.mark.parametrize(("patients", "resamples"), [(0, 5), (5, -1)])
def test_nothing_to_draw_is_refused(patients, resamples):
    with pytest.raises(ValueError, match="at least 1 and 0"):
        bootstrap_counts(patients, resamples, 0)


def test_the_standard_error_leaves_out_undefined_samples():
    samples = np.append(np.arange(101.0), [np.nan] * 50)
    assert standard_error(samples) == pytest.approx(np.arange(101.0).std(ddof=1))
    assert standard_error(np.array([1.0, np.nan])) is None
    assert standard_error(np.array([])) is None


@pytest.mark.parametrize(
    ("value", "error", "patients"), [(0.6, 0.05, 12), (0.95, 0.02, 51), (0.02, 0.02, 2000)]
)
def test_a_share_is_taken_on_the_logit_scale_with_students_factor(value, error, patients):
    factor = stats.t.ppf(0.95, patients - 1)
    centre, spread = np.log(value / (1 - value)), error / (value * (1 - value))
    expected = [1 / (1 + np.exp(-(centre + sign * factor * spread))) for sign in (-1, 1)]
    assert proportion_interval(value, error, patients, level=0.9) == pytest.approx(
        tuple(expected), abs=1e-12
    )


def test_ends_of_a_share_stay_within_0_and_1():
    for value in (1e-9, 0.5, 1 - 1e-9):
        low, high = proportion_interval(value, 0.3, patients=2)
        assert 0.0 <= low <= value <= high <= 1.0


@pytest.mark.parametrize("patients", [2, 8, 60])
def test_all_right_or_none_is_judged_as_that_many_patients(patients):
    exact = stats.binomtest(patients, patients).proportion_ci(0.95, "exact")
    assert proportion_interval(1.0, 0.0, patients) == pytest.approx((exact.low, 1.0), abs=1e-12)
    assert proportion_interval(0.0, 0.0, patients) == pytest.approx(
        (0.0, 1.0 - exact.low), abs=1e-12
    )


@pytest.mark.parametrize("error", [0.0, 1e-17])
def test_of_what_never_varies_between_the_ends_nothing_is_known(error):
    assert proportion_interval(0.5, error, 30) is None
    assert (difference_interval(0.1, error, 30), difference_p(0.1, error, 30)) == (None, None)


def test_models_that_never_differ_do_not_differ():
    assert difference_interval(0.0, 0.0, 30) == Interval(0.0, 0.0)
    assert difference_p(0.0, 0.0, 30) == 1.0


@pytest.mark.parametrize("patients", [2, 30, 500, None])
def test_the_interval_of_a_difference_excludes_0_just_where_its_test_says_so(patients):
    rng = np.random.default_rng(0)
    for value, error in zip(rng.normal(size=200) / 5, rng.random(200) / 10, strict=True):
        low, high = difference_interval(value, error, patients)
        assert (low > 0 or high < 0) == (difference_p(value, error, patients) < 0.05)


def test_very_many_patients_are_the_normal_distribution():
    assert difference_interval(0.0, 0.01) == pytest.approx((-0.0196, 0.0196), abs=1e-5)
    assert difference_interval(0.0, 0.01, 10**7) == difference_interval(0.0, 0.01)


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0, np.nan])
def test_a_level_outside_0_to_1_is_refused(level):
    with pytest.raises(ValueError, match="level is"):
        proportion_interval(0.5, 0.1, 9, level)


def test_one_patient_has_no_interval():
    with pytest.raises(ValueError, match="needs 2"):
        proportion_interval(0.5, 0.1, 1)


def students_p(t: float, degrees: int) -> float:
    """The finite sums of Abramowitz and Stegun 1964, 26.7.3-4, for whole degrees of freedom."""
    angle = math.atan2(abs(t), math.sqrt(degrees))
    sine, cosine = math.sin(angle), math.cos(angle)
    if degrees % 2:
        steps = np.arange(1.0, (degrees - 1) // 2)
        series = 1 + np.cumprod(2 * steps / (2 * steps + 1) * cosine**2).sum()
        return 1 - 2 / math.pi * (angle + (sine * cosine * series if degrees > 1 else 0.0))
    steps = np.arange(1.0, degrees // 2)
    return 1 - sine * (1 + np.cumprod((2 * steps - 1) / (2 * steps) * cosine**2).sum())


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 19, 54, 99, 1000, 10_000])
def test_p_values_and_factors_equal_the_closed_forms_of_students_distribution(degrees):
    for t in (0.0, 0.1, 0.7, 1.96, 2.5, 6.0, 40.0):
        expected = pytest.approx(students_p(t, degrees), abs=1e-12)
        assert difference_p(t * 0.01, 0.01, degrees + 1) == expected
        assert difference_p(-t * 0.01, 0.01, degrees + 1) == expected
    for level in (0.5, 0.9, 0.95, 0.99):
        low, high = difference_interval(0.0, 0.001, degrees + 1, level)
        assert low == -high
        assert students_p(high / 0.001, degrees) == pytest.approx(1 - level, abs=1e-12)


def test_the_interval_of_a_difference_ends_at_1():
    assert difference_interval(0.2, 0.5, patients=2) == (-1.0, 1.0)
