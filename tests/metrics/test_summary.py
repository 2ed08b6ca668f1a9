import json

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from hilum.metrics.interval_options import IntervalOptions
from hilum.metrics.intervals import NEVER_VARIES, bootstrap_counts, proportion_interval
from hilum.metrics.resampling import MEASURES, EvaluationLabels
from hilum.metrics.summary import NO_THRESHOLD, evaluate_findings

FINDINGS = ("Edema", "Fracture", "Hernia")


def cohort(patients=40, films_each=3, seed=0):
    """Truth by patient, scores that know a little of it, one cell in eight masked."""
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(patients), films_each)
    truth = (rng.random((patients, len(FINDINGS))) < (0.5, 0.3, 0.2)).astype(float)[who]
    scores = (truth + rng.normal(size=truth.shape)).round(1)
    mask = rng.random(truth.shape) < 7 / 8
    return np.where(mask, truth, np.nan), mask, scores, who


def naive_samples(measure, truth, mask, scores, who, resamples, seed):
    """Copy the films of every drawn patient, then measure with scikit-learn."""
    samples = []
    for counts in bootstrap_counts(who.max() + 1, resamples, seed):
        rows = np.concatenate(
            [np.repeat(np.flatnonzero(who == patient), n) for patient, n in enumerate(counts)]
        )
        rows = rows[mask[rows]]
        classes = set(truth[rows])
        samples.append(measure(truth[rows], scores[rows]) if classes == {0.0, 1.0} else np.nan)
    return np.array(samples)


def test_intervals_equal_a_naive_loop_with_scikit_learn():
    truth, mask, scores, who = cohort()
    evaluation = evaluate_findings(
        EvaluationLabels.of(truth, mask, who),
        scores,
        FINDINGS,
        [0.5] * 3,
        IntervalOptions(resamples=60, seed=3, min_positives=5),
    )
    measured = {
        "auroc": roc_auc_score,
        "average_precision": average_precision_score,
        "f1": lambda t, s: f1_score(t, s >= 0.5, zero_division=np.nan),
    }
    macro, fewest = [], []
    for place, result in enumerate(evaluation.findings):
        columns = truth[:, place], mask[:, place], scores[:, place]
        for name, measure in measured.items():
            samples = naive_samples(measure, *columns, who, 60, 3)
            estimate = result.measures[name]
            assert estimate.value == pytest.approx(
                measure(columns[0][columns[1]], columns[2][columns[1]]), abs=1e-12
            )
            present, absent = (
                len(set(who[mask[:, place] & (truth[:, place] == kind)])) for kind in (1, 0)
            )
            expected = proportion_interval(
                estimate.value, samples.std(ddof=1), min(present, absent)
            )
            fewest.append(min(present, absent))
            assert estimate.interval == pytest.approx(expected, abs=1e-12)
            assert estimate.left_out == np.isnan(samples).sum() == 0
            if name == "auroc":
                macro.append(samples)
    assert evaluation.auroc_macro.value == pytest.approx(
        np.mean([r.measures["auroc"].value for r in evaluation.findings])
    )
    error = np.mean(macro, axis=0).std(ddof=1)
    shares = np.var(macro, axis=1) / np.var(macro, axis=1).sum()
    degrees = (
        1
        / sum(share / (count - 1) ** 0.5 for share, count in zip(shares, fewest[::3], strict=True))
        ** 2
    )
    assert min(fewest) - 1 < degrees < max(fewest) - 1
    expected = proportion_interval(evaluation.auroc_macro.value, error, int(degrees) + 1)
    assert evaluation.auroc_macro.interval == pytest.approx(expected, abs=1e-12)


def test_resamples_without_a_class_are_left_out_and_counted():
    rng = np.random.default_rng(0)
    who = np.arange(30)
    truth = np.zeros((30, 1))
    truth[:2] = 1
    scores = rng.normal(size=(30, 1)) + truth
    ones = np.ones_like(truth)
    estimate = (
        evaluate_findings(
            EvaluationLabels.of(truth, ones, who),
            scores,
            ["Hernia"],
            options=IntervalOptions(resamples=400),
        )
        .findings[0]
        .measures["auroc"]
    )
    samples = naive_samples(roc_auc_score, truth[:, 0], ones[:, 0] > 0, scores[:, 0], who, 400, 0)
    assert estimate.left_out == np.isnan(samples).sum() > 20
    assert estimate.interval == pytest.approx(
        proportion_interval(estimate.value, np.nanstd(samples, ddof=1), 2), abs=1e-12
    )


def test_clustered_intervals_are_wider_than_intervals_over_films():
    truth, mask, scores, who = cohort(patients=60, films_each=8)
    scores = np.repeat(scores[::8], 8, axis=0)  # a patient's films look alike
    mask = np.ones_like(mask)
    truth = np.repeat(cohort(60, 8)[0][::8], 8, axis=0)
    truth = np.nan_to_num(truth)
    width = {}
    for name, codes in (("patients", who), ("films", np.arange(len(who)))):
        result = evaluate_findings(
            EvaluationLabels.of(truth, mask, codes),
            scores,
            FINDINGS,
            options=IntervalOptions(resamples=300),
        ).findings[0]
        low, high = result.measures["auroc"].interval
        width[name] = high - low
    assert width["patients"] > 2 * width["films"]


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    covered = 0
    for trial in range(120):
        rng = np.random.default_rng(trial)
        truth = np.repeat(rng.random(150) < 0.4, 2)[:, None].astype(float)
        shared = np.repeat(rng.normal(size=150), 2)[:, None]  # two films of one patient err alike
        scores = 0.8**0.5 * shared + 0.2**0.5 * rng.normal(size=truth.shape) + truth
        estimate = (
            evaluate_findings(
                EvaluationLabels.of(truth, np.ones_like(truth), np.repeat(np.arange(150), 2)),
                scores,
                ["Edema"],
                options=IntervalOptions(resamples=200, seed=trial),
            )
            .findings[0]
            .measures["auroc"]
        )
        covered += estimate.interval.low <= 0.76025 <= estimate.interval.high  # Phi(1 / sqrt 2)
    assert 105 <= covered <= 119  # of 120: expected 114, standard deviation 2.4


@pytest.mark.parametrize(
    ("column", "masked", "reason"),
    [
        (0.0, False, "no positives in this split"),
        (1.0, False, "no negatives in this split"),
        (np.nan, True, "no scored label in this split"),
    ],
)
def test_a_missing_class_is_not_available_with_the_reason(column, masked, reason):
    truth, mask, scores, who = cohort()
    truth[:, 1], mask[:, 1] = column, not masked
    evaluation = evaluate_findings(
        EvaluationLabels.of(truth, mask, who),
        scores,
        FINDINGS,
        [0.0] * 3,
        IntervalOptions(resamples=20, min_positives=2),
    )
    missing = evaluation.findings[1].measures
    assert missing["auroc"].value is None
    assert missing["auroc"].reason == missing["average_precision"].reason == reason
    assert missing["auroc"].interval is None
    assert evaluation.findings_scored == ("Edema", "Hernia")
    assert evaluation.auroc_macro.value is not None
    defined = {name for name, estimate in missing.items() if estimate.value is not None}
    assert ("recall" in defined) == (column == 1.0)
    assert ("specificity" in defined) == (column == 0.0)


def test_one_positive_patient_has_a_value_but_no_interval():
    truth, mask, scores, who = cohort()
    truth[:, 2] = (who == 7).astype(float)
    mask[:, 2] = True
    estimate = (
        evaluate_findings(
            EvaluationLabels.of(truth, mask, who),
            scores,
            FINDINGS,
            options=IntervalOptions(resamples=20),
        )
        .findings[2]
        .measures["auroc"]
    )
    assert estimate.value is not None
    assert estimate.interval is None
    assert (
        estimate.reason
        == "no interval: 1 patient with and 39 without the finding, 2 of each are needed"
    )


def test_the_macro_value_needs_enough_positive_patients():
    truth, mask, scores, who = cohort()
    result = evaluate_findings(
        EvaluationLabels.of(truth, mask, who),
        scores,
        FINDINGS,
        options=IntervalOptions(resamples=10, min_positives=1000),
    )
    assert result.findings_scored == ()
    assert result.auroc_macro.value is None
    needed = "1,000 positive patients and a negative one"
    assert result.auroc_macro.reason == f"no finding has {needed}: lower --min-positives"
    counts = [finding.positive_patients for finding in result.findings]
    some = evaluate_findings(
        EvaluationLabels.of(truth, mask, who),
        scores,
        FINDINGS,
        options=IntervalOptions(resamples=10, min_positives=sorted(counts)[1]),
    )
    assert len(some.findings_scored) == 2


def test_counts_are_of_scored_cells():
    truth = np.array([[1.0], [1.0], [0.0], [np.nan], [1.0], [-1.0]])
    mask = np.array([[1], [1], [1], [0], [1], [0]])
    result = evaluate_findings(
        EvaluationLabels.of(truth, mask, list("aabbcd")),
        np.arange(6.0)[:, None],
        ["Edema"],
        options=IntervalOptions(resamples=5),
    )
    assert (result.films, result.patients) == (6, 4)
    finding = result.findings[0]
    assert (finding.films, finding.positives, finding.positive_patients) == (4, 3, 2)


def test_thresholds_that_are_missing_are_said_so():
    truth, mask, scores, who = cohort()
    result = evaluate_findings(
        EvaluationLabels.of(truth, mask, who),
        scores,
        FINDINGS,
        [0.5, None, float("nan")],
        IntervalOptions(resamples=10),
    )
    assert result.findings[0].measures["f1"].value is not None
    for finding in result.findings[1:]:
        assert finding.threshold is None
        assert finding.measures["accuracy"].reason == NO_THRESHOLD
        assert finding.measures["auroc"].value is not None


def test_precision_without_a_call():
    truth, mask, scores, who = cohort()
    result = evaluate_findings(
        EvaluationLabels.of(truth, mask, who),
        scores,
        FINDINGS,
        [99.0] * 3,
        IntervalOptions(resamples=10),
    )
    assert result.findings[0].measures["precision"].reason == "no film is called at this threshold"
    assert result.findings[0].measures["recall"].value == 0.0


def test_json_has_the_keys_that_others_rely_on_and_no_nan():
    truth, mask, scores, who = cohort()
    truth[:, 1] = 0.0
    plain = evaluate_findings(
        EvaluationLabels.of(truth, mask, who),
        scores,
        FINDINGS,
        [0.5] * 3,
        IntervalOptions(resamples=20, min_positives=3),
    ).to_json()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert {
        "auroc_macro",
        "auroc_macro_interval",
        "auroc",
        "films",
        "patients",
        "findings_scored",
    } <= set(plain)
    assert plain["auroc"]["Fracture"] is None
    assert len(plain["auroc_macro_interval"]) == 2
    assert set(MEASURES) <= set(plain["findings"]["Edema"])


def test_the_same_seed_gives_the_same_numbers_whatever_the_patients_are_called():
    truth, mask, scores, who = cohort()
    first = evaluate_findings(
        EvaluationLabels.of(truth, mask, who),
        scores,
        FINDINGS,
        options=IntervalOptions(resamples=20),
    )
    named = evaluate_findings(
        EvaluationLabels.of(truth, mask, [f"p{code:03d}" for code in who]),
        scores,
        FINDINGS,
        options=IntervalOptions(resamples=20),
    )
    assert first == named
    assert first != evaluate_findings(
        EvaluationLabels.of(truth, mask, who),
        scores,
        FINDINGS,
        options=IntervalOptions(resamples=20, seed=1),
    )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"scores": np.zeros((120, 2))}, "do not fit"),
        ({"patients": np.arange(5)}, "patients \\[N\\]"),
        ({"mask": np.ones((120, 2))}, "must be \\[N, F\\]"),
        ({"thresholds": [0.5]}, "1 thresholds for 3 findings"),
        ({"scores": np.full((120, 3), np.nan)}, "a score is nan"),
        ({"mask": np.ones((120, 3))}, "truth must be 0 or 1"),
    ],
)
def test_what_does_not_fit_is_refused(changed, message):
    truth, mask, scores, who = cohort()
    arguments = {
        "truth": truth,
        "mask": mask,
        "scores": scores,
        "patients": who,
        "findings": FINDINGS,
        "options": IntervalOptions(resamples=5),
    }
    given = {**arguments, **changed}

    def measure():
        labels = EvaluationLabels.of(*(given.pop(name) for name in ("truth", "mask", "patients")))
        evaluate_findings(labels, **given)

    with pytest.raises(ValueError, match=message):
        measure()


def test_no_film_is_refused():
    empty = np.zeros((0, 1))
    with pytest.raises(ValueError, match="no film"):
        evaluate_findings(EvaluationLabels.of(empty, empty, []), empty, ["Edema"])


def test_a_score_that_is_the_same_for_all_films_has_no_interval():
    truth, mask, scores, who = cohort()
    found = evaluate_findings(
        EvaluationLabels.of(truth, mask, who),
        np.full_like(scores, 0.3),
        FINDINGS,
        options=IntervalOptions(resamples=40, min_positives=2),
    )
    for one in (found.auroc_macro, *(finding.measures["auroc"] for finding in found.findings)):
        assert (one.value, one.interval, one.reason) == (0.5, None, NEVER_VARIES)
