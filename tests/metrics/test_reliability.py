import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from hilum.metrics.calibration import fit_calibration
from hilum.metrics.reliability import (
    LEAST_IN_BIN,
    NOT_FITTED,
    Bin,
    Reliability,
    brier_score,
    error_by_chance,
    expected_calibration_error,
    finding_reliability,
    reliability,
)


def sigmoid(logits):
    return 1 / (1 + np.exp(-np.asarray(logits, float)))


def believable(films, seed=0, base=-1.0):
    """Logits that are exactly right, and truths drawn from them."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(base, 1.5, films)
    return (rng.random(films) < sigmoid(logits)).astype(float), logits


def calibrated(logits, calibration):
    return logits / calibration.temperature + calibration.shift


@pytest.mark.parametrize("films", [20, 37, 40, 333, 2000])
def test_bins_are_those_of_scikit_learn(films):
    truth, logits = believable(films, seed=films)
    found = reliability(truth, sigmoid(logits))
    count = max(1, min(15, films // LEAST_IN_BIN))
    observed, predicted = calibration_curve(
        truth, sigmoid(logits), n_bins=count, strategy="quantile"
    )
    assert len(found) == count
    assert [one.observed for one in found] == pytest.approx(observed.tolist())
    assert [one.predicted for one in found] == pytest.approx(predicted.tolist())
    assert sum(one.films for one in found) == films


def test_films_of_one_probability_stand_in_one_bin():
    assert reliability([0, 1] * 100, [0.25] * 200) == (Bin(0.25, 0.5, 200),)
    assert reliability([], []) == ()
    assert np.isnan(expected_calibration_error(()))
    assert np.isnan(error_by_chance(()))


def test_error_in_closed_form():
    bins = (Bin(0.1, 0.2, 30), Bin(0.8, 0.5, 10))
    assert expected_calibration_error(bins) == pytest.approx((30 * 0.1 + 10 * 0.3) / 40)


def test_perfect_probabilities_show_the_error_of_chance():
    errors, expected = [], []
    for seed in range(60):
        truth, logits = believable(600, seed)
        bins = reliability(truth, sigmoid(logits))
        errors.append(expected_calibration_error(bins))
        expected.append(error_by_chance(bins))
    assert np.mean(errors) == pytest.approx(np.mean(expected), rel=0.06)
    assert np.mean(errors) > 0.03  # 600 films: far from 0, though nothing is wrong


@pytest.mark.parametrize(("films", "chance"), [(1, 0.3), (20, 0.02), (20, 0.5), (133, 0.91)])
def test_the_mean_deviation_of_a_binomial(films, chance):
    from scipy.stats import binom

    counts = np.arange(films + 1)
    naive = (binom.pmf(counts, films, chance) * np.abs(counts / films - chance)).sum()
    assert error_by_chance((Bin(chance, 0.0, films),)) == pytest.approx(naive)


def test_a_sure_bin_has_no_error_of_chance():
    assert error_by_chance((Bin(0.0, 0.0, 20), Bin(1.0, 1.0, 20))) == 0


def test_calibration_lowers_the_error_on_other_films():
    truth, logits = believable(4000, seed=1)
    other, there = believable(4000, seed=2)
    found = fit_calibration(truth, 3 * logits + 2)
    before, after = (sigmoid(of) for of in (3 * there + 2, calibrated(3 * there + 2, found)))
    assert expected_calibration_error(reliability(other, before)) > 0.1
    assert expected_calibration_error(reliability(other, after)) < 0.03
    assert brier_score(other, after) < brier_score(other, before)


def test_brier_is_that_of_scikit_learn():
    truth, logits = believable(500)
    assert brier_score(truth, sigmoid(logits)) == pytest.approx(
        brier_score_loss(truth, sigmoid(logits))
    )
    assert np.isnan(brier_score([], []))


@pytest.mark.parametrize("wrong", [-0.1, 1.5])
def test_logits_are_not_taken_for_probabilities(wrong):
    for measure in (reliability, brier_score):
        with pytest.raises(ValueError, match="outside 0 to 1"):
            measure([0, 1], [0.5, wrong])
    with pytest.raises(ValueError, match="0 bins"):
        reliability([0, 1], [0.5, 0.6], bins=0)


def test_a_finding_is_judged_before_and_after_its_calibration():
    truth, logits = believable(2000)
    raw = 3 * logits + 2
    found = fit_calibration(truth, raw)
    one = finding_reliability(truth, sigmoid(calibrated(raw, found)), found)
    assert one.ece < 0.1 < one.ece_raw
    assert one.brier < one.brier_raw == pytest.approx(brier_score(truth, sigmoid(raw)))
    assert one.ece_raw == pytest.approx(
        expected_calibration_error(reliability(truth, sigmoid(raw)))
    )
    said = one.to_json()
    assert (said["temperature"], said["shift"], said["reason"]) == (*found, None)
    assert sum(each["films"] for each in said["reliability"]) == 2000


def test_without_a_calibration_both_are_the_same_and_it_is_said():
    truth, logits = believable(100)
    one = finding_reliability(truth, sigmoid(logits), None)
    assert (one.ece, one.brier, one.reason) == (one.ece_raw, one.brier_raw, NOT_FITTED)


def test_means_are_over_the_scored_findings():
    truth, logits = believable(400)
    findings = {
        "Edema": finding_reliability(truth, sigmoid(logits), None),
        "Mass": finding_reliability(truth, sigmoid(logits + 1), None),
        "Hernia": finding_reliability(truth, sigmoid(logits + 9), None),
        "Fracture": finding_reliability([], [], None),
    }
    both = Reliability(findings, ("Edema", "Mass")).to_json()
    assert both["ece_mean"] == pytest.approx((findings["Edema"].ece + findings["Mass"].ece) / 2)
    assert both["findings"]["Fracture"]["ece"] is None
    assert both["findings"]["Fracture"]["reason"] == "no scored label in this split"
    assert Reliability(findings, ()).to_json()["ece_mean"] is None


def test_a_calibration_that_made_the_error_larger_is_named():
    truth, logits = believable(2000)
    found = fit_calibration(truth, 3 * logits + 2)
    better = finding_reliability(truth, sigmoid(calibrated(3 * logits + 2, found)), found)
    worse = finding_reliability(truth, sigmoid(calibrated(logits, found)), found)
    assert Reliability({"Edema": better}, ()).worsened() is None
    assert (
        Reliability({"Edema": finding_reliability(truth, sigmoid(logits), None)}, ()).worsened()
        is None
    )
    assert Reliability({}, ()).worsened() is None
    line = Reliability({"Edema": worse, "Mass": worse}, ()).worsened()
    assert line == (
        "calibration made the probabilities worse on these films: mean calibration error (ECE) "
        f"{worse.ece_raw:.3f} before, {worse.ece:.3f} after, worse for 2 of 2 calibrated findings (Edema, Mass)"
    )
