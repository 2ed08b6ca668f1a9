import numpy as np
import pytest

from hilum.metrics.intervals import Interval, bootstrap_counts, interval


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


def test_interval_leaves_out_undefined_samples():
    samples = np.append(np.arange(101.0), [np.nan] * 50)
    assert interval(samples) == pytest.approx(Interval(2.5, 97.5))
    assert interval(np.full(3, np.nan)) is None
    assert interval(np.array([])) is None


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0, np.nan])
def test_a_level_outside_0_to_1_is_refused(level):
    with pytest.raises(ValueError, match="level is"):
        interval(np.arange(3.0), level)
