"""The evaluation of a model: every measure of every finding with its interval, or the reason why there is none.

Intervals come from a bootstrap over patients. A resample in which a finding has no positive or no
negative is left out for that finding, and counted; the macro value of a resample is the mean over
the scored findings that it defines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from hilum.arrays import DoubleArray
from hilum.metrics.estimates import (
    estimate,
    macro,
    missing_class,
    patients_by_class,
    patients_called,
    scored_columns,
    too_few,
    too_few_called,
)
from hilum.metrics.interval_options import DEFAULTS, IntervalOptions
from hilum.metrics.resampling import MEASURES, EvaluationLabels, measure_findings, weightings
from hilum.metrics.results import Estimate, Evaluation, FindingResult
from hilum.metrics.thresholds import CALLED_MEASURES

__all__ = [
    "NO_THRESHOLD",
    "Estimate",
    "Evaluation",
    "FindingResult",
    "estimate",
    "evaluate_findings",
]

NO_THRESHOLD = "no threshold was chosen on validation films"


def evaluate_findings(
    labels: EvaluationLabels,
    scores: ArrayLike,
    findings: Sequence[str],
    thresholds: Sequence[float | None] | None = None,
    options: IntervalOptions = DEFAULTS,
) -> Evaluation:
    """Return every measure of every finding with its interval, as the module says.

    Args:
        labels: Truth, mask and patients of N films.
        scores: [N, F], higher means more likely present.
        findings: [F] names.
        thresholds: [F], None or nan for a finding without one; None for no thresholds at all.
        options: Of the intervals and means.

    Raises:
        ValueError: The shapes do not fit, there is no film, a scored cell has a truth other than 0
            and 1 or no score.
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.shape != labels.truth.shape or values.shape[1] != len(findings):
        raise ValueError(
            f"{len(findings)} findings, truth {labels.truth.shape} and scores {values.shape} do not fit"
        )
    if not len(values) or not len(findings):
        raise ValueError("there is no film or no finding to evaluate")
    given = [None] * len(findings) if thresholds is None else thresholds
    if len(given) != len(findings):
        raise ValueError(f"{len(given)} thresholds for {len(findings)} findings")
    cuts = [None if cut is None or np.isnan(cut) else float(cut) for cut in given]

    weights = weightings(labels, options.resamples, options.seed)
    samples = measure_findings(labels, values, cuts, weights)
    results = tuple(
        _finding_result(labels, column, name, cuts[column], values, samples, options.level)
        for column, name in enumerate(findings)
    )
    scored = scored_columns(labels, samples["auroc"][0], options.min_positives)
    return Evaluation(
        films=len(values),
        patients=labels.patient_count,
        findings=results,
        findings_scored=tuple(findings[column] for column in scored),
        auroc_macro=macro(labels, samples["auroc"], scored, options),
        average_precision_macro=macro(labels, samples["average_precision"], scored, options),
        min_positives=options.min_positives,
        resamples=options.resamples,
        level=options.level,
    )


def _finding_result(
    labels: EvaluationLabels,
    column: int,
    name: str,
    threshold: float | None,
    scores: DoubleArray,
    samples: Mapping[str, DoubleArray],
    level: float,
) -> FindingResult:
    present, absent = patients_by_class(labels, column)
    fewest = min(present, absent)
    called = 0
    if threshold is not None:
        called = patients_called(labels, column, scores[:, column], threshold)

    missing, lone = missing_class(labels, column), too_few(labels, [column])
    no_value: dict[str, str | None] = dict.fromkeys(MEASURES, missing)
    if threshold is None:
        no_value |= dict.fromkeys(CALLED_MEASURES, NO_THRESHOLD)
    elif missing is None:  # both classes are there, yet precision also needs a call
        no_value["precision"] = "no film is called at this threshold"
    no_interval = {"precision": lone or too_few_called(called)}
    # The patients that a measure rests on, for its degrees of freedom.
    patients = {"recall": present, "specificity": absent, "precision": min(fewest, called)}
    return FindingResult(
        name=name,
        films=int(labels.mask[:, column].sum()),
        positives=int((labels.truth[:, column] == 1)[labels.mask[:, column]].sum()),
        positive_patients=present,
        threshold=threshold,
        measures={
            measure: estimate(
                samples[measure][:, column],
                level,
                no_value[measure],
                no_interval.get(measure, lone),
                patients.get(measure, fewest),
            )
            for measure in MEASURES
        },
    )
