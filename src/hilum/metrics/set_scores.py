"""Accuracy and AUC as MedMNIST's evaluator defines them, with intervals over patients.

Yang 2023, doi 10.1038/s41597-022-01721-8; ``medmnist.evaluator`` of its package, version 3.0.2. By
task:

multi-class   ACC: films whose most probable class is theirs; AUC: mean over the classes, one against
              the others
multi-label   ACC: mean over the labels of the films that are right at 0.5; AUC: mean over the labels
binary        ACC: films that are right at 0.5; AUC: that of the second class

A probability of 0.5 calls nothing, and of equally probable classes the first counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hilum.arrays import BoolArray, DoubleArray
from hilum.catalog import Task
from hilum.metrics.estimates import estimate, macro_patients, macro_samples, missing_class, too_few
from hilum.metrics.interval_options import IntervalOptions
from hilum.metrics.resampling import EvaluationLabels, rank_findings, resampled_sums, weightings
from hilum.metrics.results import Estimate


@dataclass(frozen=True)
class SetScores:
    """A set's own two measures on films whose labels are all stated."""

    task: Task
    films: int
    patients: int
    accuracy: Estimate
    auc: Estimate

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            **vars(self),
            "accuracy": self.accuracy.to_json(),
            "auc": self.auc.to_json(),
        }

    @classmethod
    def missing(cls, task: Task, labels: EvaluationLabels, reason: str) -> SetScores:
        """Return what is said where neither can be measured."""
        none = Estimate(None, reason=reason)
        return cls(task, len(labels.truth), labels.patient_count, none, none)


def set_scores(
    labels: EvaluationLabels,
    scores: ArrayLike,
    findings: Sequence[str],
    task: Task,
    options: IntervalOptions,
) -> SetScores:
    """Return accuracy and AUC of a model on a set of such a task.

    Args:
        labels: Truth, mask and patients of N films.
        scores: [N, F] probabilities.
        findings: [F] names in the set's order; of a binary set the last is what is called.
        task: Which definition counts.
        options: Of the intervals.

    Raises:
        ValueError: The shapes do not fit, or the task is none.
    """
    values = np.asarray(scores, dtype=np.float64)
    if task not in get_args(Task) or values.shape != labels.truth.shape:
        raise ValueError(f"task {task!r}, truth {labels.truth.shape}, scores {values.shape}")
    if not labels.mask.all():
        return SetScores.missing(task, labels, "some labels are not stated or uncertain")
    if task == "multi-class" and (labels.truth.sum(axis=1) != 1).any():
        return SetScores.missing(task, labels, "some films are not of exactly one class")
    if task == "binary":
        labels = EvaluationLabels(labels.truth[:, -1:], labels.mask[:, -1:], labels.patients)
        values, findings = values[:, -1:], findings[-1:]

    weights = weightings(labels, options.resamples, options.seed)
    accuracies = _accuracies(labels, _right(labels.truth, values, task), weights)
    lone = None if labels.patient_count > 1 else "no interval: 1 patient, 2 are needed"
    accuracy = estimate(accuracies, options.level, None, lone, labels.patient_count)

    columns = list(range(len(findings)))
    areas = rank_findings(labels, values[None], weights)["auroc"]  # [1 + R, F]
    lacking = [name for column, name in enumerate(findings) if missing_class(labels, column)]
    if lacking:
        reason = f"{', '.join(lacking)}: on all of these films or on none"
        auc = Estimate(None, reason=reason)
    else:
        auc = estimate(
            macro_samples(areas, columns),
            options.level,
            None,
            too_few(labels, columns),
            macro_patients(labels, areas, columns),
        )
    return SetScores(task, len(values), labels.patient_count, accuracy, auc)


def _right(truth: DoubleArray, scores: DoubleArray, task: Task) -> BoolArray:
    """Return which answers are right: [N, 1] by the most probable class, else [N, F] at 0.5."""
    right: BoolArray = (scores > 0.5) == (truth == 1)
    if task == "multi-class":
        right = (scores.argmax(axis=1) == truth.argmax(axis=1))[:, None]
    return right


def _accuracies(
    labels: EvaluationLabels, right: BoolArray, weights: NDArray[np.uint16]
) -> DoubleArray:
    """Return the fraction of answers that are right in each resample, [R]; all labels have the same films."""
    answers, of_patients = right.shape[1], labels.patient_count
    hits = np.bincount(labels.patients, weights=right.sum(axis=1), minlength=of_patients)
    films = np.bincount(labels.patients, minlength=of_patients)
    sums = resampled_sums(np.stack([hits, films * answers]), weights)
    fractions: DoubleArray = sums[0] / sums[1]
    return fractions
