import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from hilum.metrics.interval_options import IntervalOptions
from hilum.metrics.resampling import EvaluationLabels
from hilum.metrics.subgroups import NOT_STATED, age_bands, groups_of, measure_subgroup


def test_bands_hold_their_first_year_and_not_their_last():
    ages = [0, 39.99, 40, 59, 60, 79.5, 80, 120]
    assert age_bands(ages) == ["0-39", "0-39", "40-59", "40-59", "60-79", "60-79", "80+", "80+"]
    assert age_bands([17, 18], (18,)) == ["0-17", "18+"]


@pytest.mark.parametrize("age", [np.nan, -1, 121, 413])
def test_an_age_that_cannot_be_is_not_stated(age):
    assert age_bands([age]) == [None]


def test_groups_are_every_film_once_and_those_without_a_value_last():
    values = ["M", None, "F", "F", None]
    found = groups_of("sex", values)
    assert [one.value for one in found] == ["F", "M", NOT_STATED]
    assert np.stack([one.rows for one in found]).sum(axis=0).tolist() == [1] * 5
    assert groups_of("sex", [None, None]) == []


def films(count=400):
    rng = np.random.default_rng(0)
    truth = (rng.random((count, 3)) < [0.4, 0.3, 0.02]).astype(float)
    scores = rng.random((count, 3)) + 0.5 * truth
    mask = rng.random((count, 3)) < 0.9
    return truth, mask, scores, np.arange(count) // 2


def test_a_group_is_measured_as_if_there_were_no_other_films():
    truth, mask, scores, patients = films()
    (women, _) = groups_of("sex", ["F", "F", "M", "M"] * 100)
    found = measure_subgroup(
        women,
        EvaluationLabels.of(truth, mask, patients),
        scores,
        ["A", "B", "C"],
        20,
        IntervalOptions(resamples=50),
    )
    aurocs = [
        roc_auc_score(truth[keep, f], scores[keep, f])
        for f in (0, 1)
        for keep in [women.rows & mask[:, f]]
    ]
    assert found.findings_scored == ("A", "B")
    assert found.auroc_macro.value == pytest.approx(np.mean(aurocs))
    assert (found.films, found.patients) == (200, 100)
    assert (
        found.auroc_macro.interval.low < found.auroc_macro.value < found.auroc_macro.interval.high
    )
    assert found.to_json()["reason"] is None


def test_too_few_patients_is_a_reason_and_no_number():
    truth, mask, scores, patients = films()
    rare = groups_of("view_position", ["LATERAL"] * 30 + ["AP"] * 370)[1]
    found = measure_subgroup(
        rare,
        EvaluationLabels.of(truth, mask, patients),
        scores,
        ["A", "B", "C"],
        20,
        IntervalOptions(resamples=50),
    )
    assert (found.auroc_macro.value, found.films, found.patients) == (None, 30, 15)
    assert found.to_json()["reason"] == "too few: no finding has 20 patients with it and 20 without"


def test_patients_without_the_finding_are_needed_too():
    truth, mask, scores, patients = films()
    truth[:, 0] = np.arange(400) >= 10
    group = groups_of("sex", ["F"] * 400)[0]
    found = measure_subgroup(
        group,
        EvaluationLabels.of(truth, mask, patients),
        scores,
        ["A", "B", "C"],
        20,
        IntervalOptions(resamples=10),
    )
    assert found.findings_scored == ("B",)
