import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from hilum.metrics.calibration import (
    LEAST_FILMS,
    TEMPERATURES,
    Calibration,
    fit_calibration,
    fit_calibrations,
    uncalibrated,
    why_not_fitted,
)
from hilum.metrics.ranking import auroc


def sigmoid(logits):
    return 1 / (1 + np.exp(-np.asarray(logits, float)))


def believable(films, seed=0, base=-1.0):
    """Logits that are exactly right, and truths drawn from them."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(base, 1.5, films)
    return (rng.random(films) < sigmoid(logits)).astype(float), logits


def calibrated(logits, calibration):
    return logits / calibration.temperature + calibration.shift


@pytest.mark.parametrize(
    ("temperature", "shift"), [(1.0, 0.0), (3.0, 0.0), (0.4, 0.0), (1.0, -3.0), (2.5, -1.5)]
)
def test_what_was_done_to_the_logits_is_undone(temperature, shift):
    truth, logits = believable(20_000)
    found = fit_calibration(truth, (logits - shift) * temperature)
    assert found.temperature == pytest.approx(temperature, rel=0.05)
    assert found.shift == pytest.approx(shift, abs=0.1)


def test_films_drawn_too_often_are_mended_by_the_shift_alone():
    """Positives weighed tenfold: the odds are ten times too high, at every score."""
    truth, logits = believable(20_000, base=-2.0)
    found = fit_calibration(truth, logits + np.log(10))
    assert found.shift == pytest.approx(-np.log(10), abs=0.1)
    assert found.temperature == pytest.approx(1.0, abs=0.05)


def test_it_is_the_smallest_log_loss_with_its_prior():
    truth, logits = believable(300, seed=4)
    raw = 4 * logits + 2

    def loss(theta):
        sure = theta[0] * raw + theta[1]
        return (
            np.logaddexp(0, np.where(truth == 1, -sure, sure)).sum()
            + (theta[0] - 1) ** 2 / 2
            + theta[1] ** 2 / 50
        )

    best = minimize(
        loss,
        [1.0, 0.0],
        method="Nelder-Mead",
        options={"xatol": 1e-9, "fatol": 1e-12, "maxiter": 4000},
    )
    found = fit_calibration(truth, raw)
    assert (1 / found.temperature, found.shift) == pytest.approx(tuple(best.x), abs=1e-5)


def test_few_positives_that_are_ranked_perfectly_do_not_run_away():
    truth, logits = (
        np.repeat([0.0, 1.0], [200, LEAST_FILMS]),
        np.repeat([-1.0, 1.0], [200, LEAST_FILMS]),
    )
    found = fit_calibration(truth, logits)
    assert 0.1 < found.temperature < 1
    assert abs(found.shift) < 3


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e4])
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_temperature_is_above_0_and_held_whatever_the_logits(scale, sign):
    truth, logits = believable(500)
    found = fit_calibration(truth, sign * scale * logits)
    assert TEMPERATURES[0] <= found.temperature <= TEMPERATURES[1]
    after = sigmoid(calibrated(sign * scale * logits, found))
    assert np.isfinite(after).all()
    if scale <= 1:  # at 1e4, held at 100, the network stays far too sure
        assert after.mean() == pytest.approx(truth.mean(), abs=0.02)


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.floats(0.05, 20), st.floats(-8, 8))
def test_calibration_rises_and_leaves_the_ranking(seed, scale, step):
    truth, logits = believable(120, seed)
    raw = scale * logits + step
    found = fit_calibration(truth, raw)
    if found is None:
        assert why_not_fitted(truth) is not None
        return
    after = calibrated(raw, found)
    assert (np.diff(after[np.argsort(raw)]) > 0).all()
    assert auroc(truth, after) == auroc(truth, raw)


@pytest.mark.parametrize("positives", [0, LEAST_FILMS - 1, 300 - LEAST_FILMS + 1, 300])
def test_too_few_of_a_class_are_not_fitted_and_it_is_said(positives):
    truth = (np.arange(300) < positives).astype(float)
    assert fit_calibration(truth, np.linspace(-1, 1, 300)) is None
    assert f"{positives} validation films with" in why_not_fitted(truth)


def test_findings_are_fitted_over_the_cells_that_count():
    truth, logits = believable(400)
    labels = np.stack([truth, truth, truth], axis=1)
    mask = np.ones((400, 3))
    mask[200:, 1], mask[:, 2] = 0, 0
    labels[200:, 1] = -1
    found = fit_calibrations(labels, mask, np.stack([logits] * 3, axis=1))
    assert found == [
        fit_calibration(truth, logits),
        fit_calibration(truth[:200], logits[:200]),
        None,
    ]


def test_logits_that_are_no_numbers_are_refused():
    for wrong in (np.inf, np.nan):
        with pytest.raises(ValueError, match=r"not finite|nan"):
            fit_calibration([0, 1], [0.0, wrong])


def test_what_was_calibrated_can_be_had_back():
    raw = np.linspace(-6, 6, 50)
    calibration = Calibration(2.5, -1.0)
    back = uncalibrated(sigmoid(calibrated(raw, calibration)), calibration)
    assert back == pytest.approx(sigmoid(raw), abs=1e-12)
    assert uncalibrated([0.0, 0.3, 1.0], None).tolist() == [0.0, 0.3, 1.0]
    assert uncalibrated([0.0, 1.0], calibration).tolist() == [0.0, 1.0]
