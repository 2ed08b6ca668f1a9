import json

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, precision_score, recall_score

from hilum.metrics.intervals import bootstrap_counts, proportion_interval
from hilum.metrics.operating import (
    RULES,
    choose_threshold,
    choose_thresholds,
    operating_points,
    predictive_values,
)
from hilum.metrics.resampling import EvaluationLabels, weightings
from hilum.metrics.thresholds import best_threshold

FILMS = st.lists(st.tuples(st.integers(0, 1), st.integers(-5, 5)), min_size=2, max_size=30)
SHARES = st.sampled_from([0.1, 0.5, 0.8, 0.9, 1.0])


def shares(truth, scores, cut):
    called = scores >= cut
    return (called & truth).sum() / truth.sum(), (~called & ~truth).sum() / (~truth).sum()


def both_classes(films):
    truth, scores = np.array([t for t, _ in films], dtype=bool), np.array([s for _, s in films]) / 4
    assume(truth.any() and not truth.all())
    return truth, scores


@given(FILMS, SHARES)
def test_the_highest_threshold_that_misses_few_enough(films, share):
    truth, scores = both_classes(films)
    chosen = choose_threshold(truth, scores, f"sensitivity {share}")
    assert shares(truth, scores, chosen)[0] >= share - 1e-12
    higher = [cut for cut in np.unique(scores) if cut > scores[scores >= chosen].min()]
    assert all(shares(truth, scores, cut)[0] < share - 1e-12 for cut in higher)


@given(FILMS, SHARES)
def test_the_lowest_threshold_that_alarms_little_enough(films, share):
    truth, scores = both_classes(films)
    chosen = choose_threshold(truth, scores, f"specificity {share}")
    served = [cut for cut in np.unique(scores) if shares(truth, scores, cut)[1] >= share - 1e-12]
    if chosen is None:
        assert served == []
        return
    assert ((scores >= chosen) == (scores >= min(served))).all()


def test_nine_of_ten_is_enough_whatever_the_rounding():
    truth, scores = np.repeat([1, 0], 10), np.arange(20)[::-1] / 20
    assert shares(truth == 1, scores, choose_threshold(truth, scores, "sensitivity 0.9"))[0] == 0.9
    assert shares(truth == 1, scores, choose_threshold(truth, scores, "specificity 0.9"))[1] == 0.9


def test_each_rule_has_its_threshold():
    truth, scores = [0, 0, 1, 0, 1, 1], [0.1, 0.2, 0.3, 0.4, 0.6, 0.9]
    found = choose_thresholds(truth, scores)
    assert tuple(found) == RULES
    assert found["youden"] == best_threshold(truth, scores)
    assert found["sensitivity 0.9"] < found["specificity 0.9"]
    assert set(choose_thresholds([1, 1], [0.1, 0.2]).values()) == {None}
    assert choose_threshold([0, 0, 1], [0.5, 0.5, 0.5], "specificity 0.9") is None


@pytest.mark.parametrize(
    "rule", ["", "best", "sensitivity", "sensitivity 0", "specificity 1.1", "youden 0.5", "f1 0.3"]
)
def test_a_rule_that_is_none_is_refused(rule):
    with pytest.raises(ValueError, match="allowed are youden"):
        choose_threshold([0, 1], [0.1, 0.2], rule)


def judged_films(seed=0, films=200, patients=70):
    rng = np.random.default_rng(seed)
    truth = (rng.random((films, 2)) < 0.3).astype(float)
    scores = rng.random((films, 2)) * 0.7 + 0.3 * truth
    mask = rng.random((films, 2)) < 0.9
    truth[~mask] = -1
    return EvaluationLabels.of(truth, mask, rng.integers(0, patients, films)), scores


CUTS = ({"youden": 0.5, "sensitivity 0.9": 0.35, "specificity 0.9": None}, {"youden": 0.6})


def test_calls_are_counted_as_scikit_learn_does():
    judged, scores = judged_films()
    found = operating_points(judged, scores, CUTS, weightings(judged, 0, 0))
    assert [[point.rule for point in points] for points in found] == [
        ["youden", "sensitivity 0.9"],
        ["youden"],
    ]
    for finding, points in enumerate(found):
        kept = judged.mask[:, finding]
        truth = judged.truth[kept, finding]
        for point in points:
            called = scores[kept, finding] >= point.threshold
            counts = (
                point.true_negatives,
                point.false_positives,
                point.false_negatives,
                point.true_positives,
            )
            assert counts == tuple(confusion_matrix(truth, called).ravel())
            assert point.sensitivity.value == pytest.approx(recall_score(truth, called))
            assert point.specificity.value == pytest.approx(recall_score(1 - truth, ~called))
            assert point.precision.value == pytest.approx(precision_score(truth, called))
            assert point.ppv_at_prevalence is None


def test_intervals_are_those_of_a_loop_over_resampled_patients():
    judged, scores = judged_films(films=60, patients=20)
    point = operating_points(judged, scores, CUTS, weightings(judged, 50, 3), prevalence=0.05)[0][0]
    kept = judged.mask[:, 0]
    truth, called, patients = (
        judged.truth[kept, 0] == 1,
        scores[kept, 0] >= 0.5,
        judged.patients[kept],
    )
    resampled = {"sensitivity": [], "specificity": [], "precision": [], "ppv_at_prevalence": []}
    for counts in bootstrap_counts(20, 50, 3):
        films = np.repeat(np.arange(len(truth)), counts[patients])
        has, call = truth[films], called[films]
        right, quiet = call[has].mean(), 1 - call[~has].mean()
        resampled["sensitivity"].append(right)
        resampled["specificity"].append(quiet)
        resampled["precision"].append(has[call].mean())
        resampled["ppv_at_prevalence"].append(right * 0.05 / (right * 0.05 + (1 - quiet) * 0.95))
    people = len(np.unique(patients[truth])), len(np.unique(patients[~truth]))
    for name, values in resampled.items():
        rests_on = people[1] if name == "specificity" else people[0]
        found = getattr(point, name)
        assert found.interval == pytest.approx(
            proportion_interval(found.value, np.std(values, ddof=1), rests_on)
        )


def test_a_specificity_of_1_rests_on_the_patients_without_the_finding():
    """Not on the few with it: 200 patients, none of them called, leave little room for a false alarm."""
    truth = np.arange(203)[:, None] >= 200
    judged = EvaluationLabels.of(truth, np.ones((203, 1)), np.arange(203))
    point = operating_points(
        judged, truth.astype(float), [{"youden": 0.5}], weightings(judged, 50, 0)
    )[0][0]
    assert point.specificity.interval.low > 0.98
    assert point.sensitivity.interval.low < 0.4


@pytest.mark.parametrize(("calls", "least"), [(1, None), (3, 0.1), (40, 0.8)])
def test_calls_that_are_all_right_say_as_much_as_there_are_of_them(calls, least):
    truth = np.arange(400)[:, None] < 60
    scores = np.where(np.arange(400) < calls, 0.9, 0.1)[:, None]
    judged = EvaluationLabels.of(truth, np.ones((400, 1)), np.arange(400))
    point = operating_points(
        judged, scores, [{"youden": 0.5}], weightings(judged, 50, 0), prevalence=0.01
    )[0][0]
    assert point.precision.value == point.ppv_at_prevalence.value == 1.0
    if least is None:
        assert point.precision.interval is None
        assert point.precision.reason == "no interval: 1 patient is called, 2 are needed"
    else:
        assert least < point.precision.interval.low < least + 0.25
    worst = predictive_values(point.sensitivity.interval.low, point.specificity.interval.low, 0.01)[
        0
    ]
    assert point.ppv_at_prevalence.interval == (pytest.approx(worst), 1.0)


def test_missing_nobody_is_no_proof_of_missing_nobody():
    truth = np.arange(300)[:, None] < 20
    scores = np.where(np.arange(300) < 100, 0.9, 0.1)[:, None]
    judged = EvaluationLabels.of(truth, np.ones((300, 1)), np.arange(300))
    point = operating_points(
        judged, scores, [{"youden": 0.5}], weightings(judged, 50, 0), prevalence=0.3
    )[0][0]
    assert point.npv_at_prevalence.value == 1.0
    worst = predictive_values(point.sensitivity.interval.low, point.specificity.interval.low, 0.3)[
        1
    ]
    assert point.npv_at_prevalence.interval == (pytest.approx(worst), 1.0)
    assert worst < 0.95


def test_predictive_values_at_the_films_own_prevalence_are_the_counted_ones():
    judged, scores = judged_films()
    has = judged.truth[judged.mask[:, 1], 1] == 1
    point = operating_points(judged, scores, CUTS, weightings(judged, 0, 0), prevalence=has.mean())[
        1
    ][0]
    assert point.ppv_at_prevalence.value == pytest.approx(point.precision.value)
    quiet = point.true_negatives / (point.true_negatives + point.false_negatives)
    assert point.npv_at_prevalence.value == pytest.approx(quiet)


def test_a_rare_finding_makes_most_alarms_false():
    positive, negative = predictive_values(0.9, 0.9, 0.01)
    assert (positive, negative) == (
        pytest.approx(0.0833, abs=1e-4),
        pytest.approx(0.9989, abs=1e-4),
    )
    assert np.isnan(predictive_values(0.0, 1.0, 0.1)[0])
    assert np.isnan(predictive_values(1.0, 0.0, 0.1)[1])


@pytest.mark.parametrize("prevalence", [0, 1, -0.1, 5])
def test_a_prevalence_lies_between_0_and_1(prevalence):
    judged, scores = judged_films()
    with pytest.raises(ValueError, match="prevalence is"):
        operating_points(judged, scores, CUTS, weightings(judged, 0, 0), prevalence)


def test_what_cannot_be_said_has_a_reason():
    judged = EvaluationLabels.of([[1], [0], [0]], [[1]] * 3, [0, 1, 2])
    cuts = [{"nobody": 0.9, "everybody": 0.0}]
    nobody, everybody = operating_points(
        judged, [[0.4], [0.3], [0.2]], cuts, weightings(judged, 10, 0), 0.1
    )[0]
    assert (
        nobody.precision.reason
        == nobody.ppv_at_prevalence.reason
        == "no film is called at this threshold"
    )
    assert everybody.npv_at_prevalence.reason == "every film is called at this threshold"
    assert everybody.sensitivity.interval is None
    assert everybody.sensitivity.reason.startswith("no interval: 1 patient with and 2 without")
    negatives = EvaluationLabels.of([[0], [0]], [[1]] * 2, [0, 1])
    (one,) = operating_points(
        negatives, [[0.4], [0.3]], [{"youden": 0.35}], weightings(negatives, 10, 0)
    )[0]
    assert one.sensitivity.reason == "no positives in this split"
    assert json.loads(json.dumps(one.to_json(), allow_nan=False))["sensitivity"]["value"] is None


def test_no_threshold_at_all_gives_no_point():
    judged, scores = judged_films()
    assert operating_points(judged, scores, [{}, {"youden": None}], weightings(judged, 5, 0)) == [
        (),
        (),
    ]
