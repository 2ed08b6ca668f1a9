"""MedMNIST's two measures against scikit-learn's functions, as its evaluator calls them, and plain loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, roc_auc_score

from hilum.catalog import Task
from hilum.metrics.interval_options import IntervalOptions
from hilum.metrics.resampling import EvaluationLabels, weightings
from hilum.metrics.set_scores import SetScores, set_scores

FEW = IntervalOptions(resamples=40, seed=1)


def drawn(task: Task, films: int = 90, labels: int = 4, seed: int = 0) -> tuple[Any, Any, Any]:
    """Truth [N, F] of such a task, probabilities that follow it a little, and patients of two films."""
    rng = np.random.default_rng(seed)
    if task == "multi-class":
        truth = np.eye(labels)[rng.integers(0, labels, films)]
    else:
        truth = (rng.random((films, labels)) < 0.4).astype(float)
    scores = np.clip(0.4 * truth + 0.6 * rng.random(truth.shape), 0, 1).round(2)  # with ties
    return truth, scores, np.arange(films) // 2


def measured(task: Task, truth: Any, scores: Any, patients: Any, **mask: Any) -> SetScores:
    labels = EvaluationLabels.of(truth, mask.get("mask", np.ones_like(truth)), patients)
    names = [f"finding {column}" for column in range(truth.shape[1])]
    return set_scores(labels, scores, names, task, FEW)


def as_published(task: Task, truth: Any, scores: Any) -> tuple[float, float]:
    """Accuracy and AUC as medmnist.evaluator 3.0.2 computes them from its own form of the labels."""
    if task == "multi-class":
        numbers = truth.argmax(axis=1)
        areas = [roc_auc_score(numbers == i, scores[:, i]) for i in range(scores.shape[1])]
        return accuracy_score(numbers, scores.argmax(axis=-1)), float(np.mean(areas))
    if task == "binary":
        called, shown = scores[:, -1] > 0.5, truth[:, -1]
        return accuracy_score(shown, called), roc_auc_score(shown, scores[:, -1])
    columns = range(truth.shape[1])
    called = scores > 0.5
    return (
        float(np.mean([accuracy_score(truth[:, i], called[:, i]) for i in columns])),
        float(np.mean([roc_auc_score(truth[:, i], scores[:, i]) for i in columns])),
    )


@pytest.mark.parametrize("labels", [1, 2, 5])
@pytest.mark.parametrize("task", ["multi-class", "multi-label", "binary"])
def test_both_measures_are_those_of_the_published_evaluator(task: Task, labels: int) -> None:
    if task == "multi-class" and labels == 1:
        labels = 3
    truth, scores, patients = drawn(task, labels=labels)
    found = measured(task, truth, scores, patients)
    accuracy, auc = as_published(task, truth, scores)
    assert found.accuracy.value == pytest.approx(accuracy, abs=1e-12)
    assert found.auc.value == pytest.approx(auc, abs=1e-12)
    assert (found.films, found.patients, found.task) == (90, 45, task)
    for one in (found.accuracy, found.auc):
        assert one.interval is not None
        assert one.value is not None
        assert one.interval.low < one.value < one.interval.high


@pytest.mark.parametrize("task", ["multi-class", "multi-label", "binary"])
def test_resamples_copy_whole_patients(task: Task) -> None:
    truth, scores, patients = drawn(task)
    labels = EvaluationLabels.of(truth, np.ones_like(truth), patients)
    accuracies = []
    for weights in weightings(labels, FEW.resamples, FEW.seed)[1:]:
        rows = np.repeat(np.arange(len(truth)), weights[patients])
        accuracies.append(as_published(task, truth[rows], scores[rows])[0])
    interval = measured(task, truth, scores, patients).accuracy.interval
    assert interval is not None
    low, high = (np.log(end / (1 - end)) for end in interval)
    value = as_published(task, truth, scores)[0]
    # Twice the t quantile of 44 degrees times the standard error on the logit scale.
    error = np.std(accuracies, ddof=1) / (value * (1 - value))
    assert high - low == pytest.approx(2 * 2.01537 * error, rel=1e-4)


def test_half_calls_nothing_and_the_first_of_equal_classes_counts() -> None:
    half = measured("binary", np.array([[0.0], [1.0]]), np.array([[0.5], [0.5]]), [0, 1])
    assert half.accuracy.value == 0.5
    equal = measured("multi-class", np.eye(3), np.full((3, 3), 0.2), [0, 1, 2])
    assert equal.accuracy.value == pytest.approx(1 / 3)


def test_of_a_binary_set_with_both_classes_named_the_second_counts() -> None:
    truth, scores, patients = drawn("multi-class", labels=2)
    both = measured("binary", truth, scores, patients)
    alone = measured("binary", truth[:, 1:], scores[:, 1:], patients)
    assert (both.accuracy, both.auc) == (alone.accuracy, alone.auc)


def test_what_cannot_be_measured_says_why() -> None:
    truth, scores, patients = drawn("multi-class")
    truth[:, 3], truth[:, 0] = 0, truth[:, 0] + truth[:, 3]
    lacking = measured("multi-class", truth, scores, patients)
    assert lacking.auc.reason == "finding 3: on all of these films or on none"
    assert lacking.accuracy.value is not None
    mask = np.ones_like(truth)
    mask[5, 2] = 0
    unstated = measured("multi-class", truth, scores, patients, mask=mask)
    assert (unstated.accuracy.value, unstated.auc.value) == (None, None)
    assert unstated.accuracy.reason == "some labels are not stated or uncertain"
    truth[0] = 1
    several = measured("multi-class", truth, scores, patients)
    assert several.accuracy.reason == "some films are not of exactly one class"
    lone = measured("multi-label", np.array([[1.0], [0.0]]), np.array([[0.9], [0.1]]), [0, 0])
    assert lone.accuracy.interval is None
    assert lone.accuracy.reason == "no interval: 1 patient, 2 are needed"


def test_a_perfect_score_has_the_interval_of_so_many_patients() -> None:
    truth = np.eye(4)[np.arange(40) % 4]
    perfect = measured("multi-class", truth, truth, np.arange(40))
    assert perfect.accuracy.value == 1.0
    assert perfect.accuracy.interval == pytest.approx((0.025 ** (1 / 40), 1.0))


def test_a_task_that_is_none_and_shapes_that_do_not_fit_are_our_fault() -> None:
    truth, scores, patients = drawn("binary")
    with pytest.raises(ValueError, match="task 'ordinal'"):
        measured("ordinal", truth, scores, patients)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="scores"):
        measured("binary", truth, scores[:, :2], patients)
