import json

import numpy as np
import pytest
import torch

from hilum.metrics.comparisons import Measured, compare, compare_models, holm, in_families
from hilum.metrics.delong import auroc_covariance
from hilum.metrics.estimates import macro_patients
from hilum.metrics.interval_options import IntervalOptions
from hilum.metrics.intervals import (
    NEVER_VARIES,
    difference_interval,
    difference_p,
    proportion_interval,
)
from hilum.metrics.ranking import auroc
from hilum.metrics.resampling import EvaluationLabels, weightings
from hilum.metrics.summary import evaluate_findings

FINDINGS = ("Edema", "Fracture", "Hernia")


def cohort(patients=60, films_each=3, seeds=2, seed=0, better=0.5):
    """Truth, mask, scores of two models [S, N, F] of which the first is better, and patients."""
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(patients), films_each)
    truth = (rng.random((patients, 3)) < (0.5, 0.4, 0.3)).astype(float)[who]
    common = rng.normal(size=truth.shape)
    models = [
        (0.7 + more) * truth + common + rng.normal(size=(seeds, *truth.shape))
        for more in (better, 0.0)
    ]
    mask = rng.random(truth.shape) < 7 / 8
    return np.where(mask, truth, np.nan), mask, models, who


def naive_means(truth, mask, models, counts):
    """AUROC [M, F], each the mean over seeds, of films that count so often."""
    return np.array(
        [
            [
                np.mean([auroc(truth[m, f], seed[m, f], counts[m]) for seed in model])
                for f, m in enumerate(mask.T)
            ]
            for model in models
        ]
    )


def test_the_macro_difference_is_a_loop_over_resamples_and_seeds():
    truth, mask, models, who = cohort()
    found = compare_models(
        EvaluationLabels.of(truth, mask, who),
        *models,
        FINDINGS,
        IntervalOptions(resamples=40, seed=7, min_positives=5),
    )
    weights = weightings(EvaluationLabels.of(truth, mask, who), 40, 7).astype(float)
    samples = [
        np.subtract(*naive_means(truth, mask, models, row[who]).mean(axis=1)) for row in weights
    ]
    measured = [
        Measured.of(EvaluationLabels.of(truth, mask, who), model, weights.astype(np.uint16))
        for model in models
    ]
    apart = measured[0].samples["auroc"] - measured[1].samples["auroc"]
    patients = macro_patients(EvaluationLabels.of(truth, mask, who), apart, range(3))
    error = np.std(samples[1:], ddof=1)
    assert found.findings_scored == FINDINGS
    assert found.auroc_macro.value == pytest.approx(samples[0], abs=1e-12)
    assert found.auroc_macro.interval == pytest.approx(
        difference_interval(samples[0], error, patients), abs=1e-12
    )
    assert found.auroc_macro.p == pytest.approx(
        difference_p(samples[0], error, patients), abs=1e-12
    )
    assert found.auroc_macro.p_holm == found.auroc_macro.p


def test_single_findings_are_by_clustered_delong():
    truth, mask, models, who = cohort()
    found = compare_models(
        EvaluationLabels.of(truth, mask, who),
        *models,
        FINDINGS,
        IntervalOptions(resamples=5, min_positives=5),
    ).auroc
    p_values = []
    for place, name in enumerate(FINDINGS):
        kept = mask[:, place]
        expected = auroc_covariance(
            truth[kept, place], [model[:, kept, place] for model in models], who[kept]
        )
        value, error = expected.difference(0, 1)
        assert found[name].value == pytest.approx(value, abs=1e-12)
        assert found[name].interval == pytest.approx(
            difference_interval(value, error, expected.patients), abs=1e-12
        )
        p_values.append(difference_p(value, error, expected.patients))
        assert found[name].p == pytest.approx(p_values[-1], abs=1e-12)
    assert [found[name].p_holm for name in FINDINGS] == pytest.approx(holm(p_values))


def test_the_standard_errors_of_bootstrap_and_delong_agree():
    truth, mask, models, who = cohort(patients=300)
    found = compare_models(
        EvaluationLabels.of(truth, mask, who), *models, FINDINGS, IntervalOptions(resamples=2000)
    )
    judged = EvaluationLabels.of(truth, mask, who)
    weights = weightings(judged, 2000, 1)
    samples = [Measured.of(judged, model, weights).samples["auroc"] for model in models]
    resampled = (samples[0] - samples[1])[1:].std(axis=0)
    for place, name in enumerate(FINDINGS):
        low, high = found.auroc[name].interval
        assert (high - low) / 2 / 1.97 == pytest.approx(resampled[place], rel=0.08)


def test_a_model_does_not_differ_from_itself_and_a_better_one_does():
    truth, mask, (better, worse), who = cohort(patients=200, better=1.0)
    same = compare_models(
        EvaluationLabels.of(truth, mask, who),
        worse,
        worse,
        FINDINGS,
        IntervalOptions(resamples=50, min_positives=5),
    )
    assert same.auroc_macro.value == 0.0
    assert same.auroc_macro.interval == (0.0, 0.0)
    assert not same.auroc_macro.shown
    assert not any(one.shown for one in same.auroc.values())
    found = compare_models(
        EvaluationLabels.of(truth, mask, who),
        better,
        worse,
        FINDINGS,
        IntervalOptions(resamples=200, min_positives=5),
    )
    assert found.auroc_macro.interval.low > 0
    assert found.average_precision_macro.interval.low > 0
    assert found.auroc_macro.shown
    assert found.auroc["Edema"].shown
    turned = compare_models(
        EvaluationLabels.of(truth, mask, who),
        worse,
        better,
        FINDINGS,
        IntervalOptions(resamples=200, min_positives=5),
    )
    assert turned.auroc_macro.value == -found.auroc_macro.value
    assert turned.auroc_macro.p == found.auroc_macro.p


def test_one_seed_is_the_difference_of_two_evaluations():
    truth, mask, models, who = cohort(seeds=1)
    apart = [
        evaluate_findings(
            EvaluationLabels.of(truth, mask, who),
            m[0],
            FINDINGS,
            options=IntervalOptions(resamples=5, min_positives=5),
        )
        for m in models
    ]
    found = compare_models(
        EvaluationLabels.of(truth, mask, who),
        models[0][0],
        models[1][0],
        FINDINGS,
        IntervalOptions(resamples=5, min_positives=5),
    )
    assert found.auroc_macro.value == pytest.approx(
        apart[0].auroc_macro.value - apart[1].auroc_macro.value
    )
    assert found == compare_models(
        EvaluationLabels.of(truth, mask, who),
        *models,
        FINDINGS,
        IntervalOptions(resamples=5, min_positives=5),
    )


def test_findings_that_one_does_not_call_are_left_out():
    truth, mask, (first, second), who = cohort()
    first[1, :, 0] = np.nan  # one seed of the first never learnt Edema
    second[:, :, 1] = np.nan
    found = compare_models(
        EvaluationLabels.of(truth, mask, who),
        first,
        second,
        FINDINGS,
        IntervalOptions(resamples=10, min_positives=5),
    )
    assert found.findings_scored == ("Hernia",)
    assert found.auroc["Edema"].reason == found.auroc["Fracture"].reason == "not called by both"
    assert found.auroc_macro.value == pytest.approx(found.auroc["Hernia"].value)
    assert found.auroc["Hernia"].p_holm == found.auroc["Hernia"].p


def test_findings_of_few_positives_are_not_tested():
    truth, mask, models, who = cohort()
    truth[:, 2] = who < 4
    mask[:, 2] = True
    found = compare_models(
        EvaluationLabels.of(truth, mask, who),
        *models,
        FINDINGS,
        IntervalOptions(resamples=10, min_positives=5),
    )
    assert found.findings_scored == FINDINGS[:2]
    assert found.auroc["Hernia"].interval is not None
    assert found.auroc["Hernia"].p is found.auroc["Hernia"].p_holm is None
    nothing = compare_models(
        EvaluationLabels.of(truth, mask, who),
        *models,
        FINDINGS,
        IntervalOptions(resamples=10, min_positives=1000),
    )
    assert nothing.auroc_macro.value is None
    assert nothing.auroc_macro.reason.endswith("lower --min-positives")
    assert not nothing.auroc_macro.shown


def test_one_positive_patient_has_no_interval():
    truth, mask, models, who = cohort()
    truth[:, 2] = who == 4
    mask[:, 2] = True
    found = compare_models(
        EvaluationLabels.of(truth, mask, who),
        *models,
        FINDINGS,
        IntervalOptions(resamples=10, min_positives=1),
    )
    assert found.auroc["Hernia"].interval is None
    assert found.auroc_macro.interval is None
    assert found.auroc_macro.reason.startswith("no interval: 1 patient with")


@pytest.mark.parametrize(
    ("p_values", "adjusted"),
    [
        ([], []),
        ([0.2], [0.2]),
        ([0.01, 0.02, 0.03, 0.04], [0.04, 0.06, 0.06, 0.06]),
        ([0.5, 0.001, 0.5], [1.0, 0.003, 1.0]),
        ([0.02, 0.02], [0.04, 0.04]),
    ],
)
def test_holm_by_hand(p_values, adjusted):
    assert holm(p_values) == pytest.approx(adjusted)


def test_holm_shows_something_about_as_often_as_it_says_where_there_is_nothing():
    rng = np.random.default_rng(0)
    shown = sum(min(holm(rng.random(5))) < 0.05 for _ in range(4000))
    assert 0.04 < shown / 4000 < 0.06


def test_a_family_counts_all_its_comparisons():
    truth, mask, models, who = cohort()
    judged = EvaluationLabels.of(truth, mask, who)
    weights = weightings(judged, 100, 0)
    measured = [
        Measured.of(judged, scores, weights) for scores in (*models, models[1] + 0.3 * models[0])
    ]
    alone = [
        compare(judged, measured[place], measured[1], FINDINGS, IntervalOptions(min_positives=5))
        for place in (0, 2)
    ]
    together = in_families(alone)
    assert [one.auroc_macro.p_holm for one in together] == pytest.approx(
        holm([one.auroc_macro.p for one in alone])
    )
    singles = [finding.p for one in alone for finding in one.auroc.values()]
    assert [f.p_holm for one in together for f in one.auroc.values()] == pytest.approx(
        holm(singles)
    )
    assert alone[0].auroc_macro.p_holm is None
    assert not alone[0].auroc_macro.shown


def test_json_says_whether_a_difference_is_shown():
    truth, mask, models, who = cohort()
    plain = compare_models(
        EvaluationLabels.of(truth, mask, who),
        *models,
        FINDINGS,
        IntervalOptions(resamples=20, min_positives=5),
    ).auroc_macro.to_json()
    assert set(plain) == {"value", "interval", "left_out", "reason", "p", "p_holm", "shown"}
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"first": np.zeros((180, 2))}, "do not fit"),
        ({"second": np.zeros((0, 180, 3))}, "do not fit"),
        ({"findings": ("Edema",)}, "do not fit"),
    ],
)
def test_what_does_not_fit_is_refused(changed, message):
    truth, mask, (first, second), who = cohort()
    arguments = {
        "truth": truth,
        "mask": mask,
        "first": first,
        "second": second,
        "patients": who,
        "findings": FINDINGS,
    }
    given = {**arguments, **changed}

    def measure():
        labels = EvaluationLabels.of(*(given.pop(name) for name in ("truth", "mask", "patients")))
        compare_models(labels, **given, options=IntervalOptions(resamples=2))

    with pytest.raises(ValueError, match=message):
        measure()


def test_a_score_that_is_missing_for_one_film_is_refused():
    truth, mask, (first, second), who = cohort()
    mask[0], truth[0], first[0, 0, 0] = True, 1.0, np.nan
    with pytest.raises(ValueError, match="a score is nan"):
        compare_models(
            EvaluationLabels.of(truth, mask, who),
            first,
            second,
            FINDINGS,
            IntervalOptions(resamples=2),
        )


def test_recall_and_specificity_rest_on_their_own_patients():
    truth, mask, models, who = cohort()
    truth[:, 2] = who < 8
    mask[:, 2] = True
    cuts = [None, None, float(models[0][0, :, 2].min() - 1)]
    found = (
        evaluate_findings(
            EvaluationLabels.of(truth, mask, who),
            models[0][0],
            FINDINGS,
            cuts,
            IntervalOptions(resamples=20),
        )
        .findings[2]
        .measures
    )
    assert found["recall"].interval == proportion_interval(1.0, 0.0, 8)
    assert found["specificity"].interval == proportion_interval(0.0, 0.0, 52)


def test_torch_has_as_many_threads_as_before():
    truth, mask, models, who = cohort()
    before = torch.get_num_threads()
    torch.set_num_threads(3)  # findings are then measured in threads
    try:
        found = compare_models(
            EvaluationLabels.of(truth, mask, who),
            *models,
            FINDINGS,
            IntervalOptions(resamples=20, min_positives=5),
        )
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert found == compare_models(
        EvaluationLabels.of(truth, mask, who),
        *models,
        FINDINGS,
        IntervalOptions(resamples=20, min_positives=5),
    )


def test_a_mean_rests_on_patients_by_the_findings_variances():
    who = np.arange(100)
    truth = np.stack([who < 5, who < 40, who < 40], axis=1).astype(float)
    judged = EvaluationLabels.of(truth, np.ones_like(truth), who)
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(500, 3))
    assert macro_patients(judged, samples, [1, 2]) == 40
    assert macro_patients(judged, samples, [0]) == 5
    equal = (samples - samples[1:].mean(axis=0)) / samples[1:].std(axis=0)
    by_hand = (2 / 3 / 39**0.5 + 1 / 3 / 4**0.5) ** -2
    assert macro_patients(judged, equal, [0, 1, 2]) == int(by_hand) + 1 == 14
    assert (
        macro_patients(judged, equal * [1e-6, 1, 1], [0, 1, 2]) == 40
    )  # a finding that moves nothing takes nothing
    assert macro_patients(judged, equal * [1e6, 1, 1], [0, 1, 2]) == 5
    assert macro_patients(judged, np.zeros((9, 3)), [0, 1, 2]) == 5


def test_a_difference_without_error_is_not_tested():
    truth, mask, _, who = cohort()
    perfect, constant = np.nan_to_num(truth)[None], np.full((1, *truth.shape), 0.3)
    found = compare_models(
        EvaluationLabels.of(truth, mask, who),
        perfect,
        constant,
        FINDINGS,
        IntervalOptions(resamples=20, min_positives=2),
    )
    for one in (found.auroc_macro, *found.auroc.values()):
        assert (one.value, one.interval, one.p, one.p_holm, one.shown) == (
            0.5,
            None,
            None,
            None,
            False,
        )
        assert one.reason == NEVER_VARIES
