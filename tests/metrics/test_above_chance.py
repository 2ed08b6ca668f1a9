"""Whether an AUROC is shown to be above chance: by finding, in the mean, and where nothing can be said."""

from __future__ import annotations

import numpy as np
import pytest

from hilum.metrics.above_chance import INTERVALS, AboveChance, above_chance
from hilum.metrics.resampling import EvaluationLabels
from hilum.metrics.summary import evaluate_findings


def of(separation: tuple[float, ...], patients: int = 60, seed: int = 0) -> AboveChance:
    """Return what is shown of findings whose positives score higher by so many standard deviations."""
    rng, findings = np.random.default_rng(seed), len(separation)
    truth = rng.random((2 * patients, findings)) < 0.4
    scores = rng.normal(size=truth.shape) + truth * np.array(separation)
    names = [f"f{number}" for number in range(findings)]
    labels = EvaluationLabels.of(truth, np.ones_like(truth), np.arange(2 * patients) // 2)
    return above_chance(labels, scores, names)


def test_what_is_told_apart_is_called_and_what_is_not_is_not() -> None:
    shown = of((2.0, 2.0, 0.0))
    assert shown.learnt
    assert list(shown.reasons()) == ["f2"]
    (line,) = shown.notes()
    assert line.startswith("f2: validation AUROC 0.")
    assert line.endswith(") is not shown to be above 0.5: it is never called")


def test_a_model_whose_mean_holds_one_half_calls_nothing_even_what_stands_out_by_chance() -> None:
    shown = of((0.0,) * 12 + (0.9,), patients=30, seed=3)
    assert shown.findings["f12"].interval is not None
    assert shown.findings["f12"].interval.low > 0.5
    assert not shown.learnt
    assert set(shown.reasons()) == set(shown.findings)
    assert shown.reasons()["f12"].startswith("mean validation AUROC 0.")
    (line,) = shown.notes()
    assert line.startswith(
        "this model is not shown to have learnt anything and calls no finding: mean validation AUROC"
    )


def test_below_one_half_is_not_above_it() -> None:
    shown = of((-2.0, 2.0, 2.0))
    assert list(shown.reasons()) == ["f0"]


def test_the_numbers_are_those_of_an_evaluation() -> None:
    rng = np.random.default_rng(5)
    truth = rng.random((80, 2)) < 0.5
    scores, patients = rng.normal(size=(80, 2)) + truth, np.arange(80) // 2
    labels = EvaluationLabels.of(truth, np.ones_like(truth), patients)
    shown = above_chance(labels, scores, ("a", "b"))
    other = evaluate_findings(labels, scores, ("a", "b"), None, INTERVALS)
    assert shown.mean == other.auroc_macro
    for finding in other.findings:
        assert shown.findings[finding.name] == finding.measures["auroc"]


@pytest.mark.parametrize(
    ("truth", "reason"),
    [
        ([0, 0, 0, 0], "validation AUROC cannot be computed: no positives in this split"),
        (
            [1, 0, 0, 0],
            "validation AUROC 1.00 has no interval: 1 patient with and 3 without the finding, "
            "2 of each are needed",
        ),
    ],
)
def test_what_cannot_be_computed_says_why(truth: list[int], reason: str) -> None:
    column = np.array(truth)[:, None]
    labels = EvaluationLabels.of(column, np.ones((4, 1)), np.arange(4))
    shown = above_chance(labels, column, ("Edema",))
    assert shown.reasons() == {"Edema": reason}
    assert shown.notes() == [
        "this model is not shown to have learnt anything and calls no finding: mean validation "
        "AUROC cannot be computed: no finding has two patients with it and two without"
    ]


def test_no_film_says_so() -> None:
    empty = np.empty((0, 1))
    nothing = above_chance(EvaluationLabels.of(empty, empty, np.empty(0)), empty, ("Edema",))
    assert not nothing.learnt
    assert nothing.to_json()["auroc"]["Edema"]["reason"] == "there are no validation films"


def test_two_decimals_do_not_read_as_one_half() -> None:
    for seed in range(40):
        for reason in of((0.4,), patients=40, seed=seed).reasons().values():
            assert "(0.50 " not in reason
