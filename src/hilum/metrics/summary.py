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
    scored_places,
    too_few,
    too_few_called,
)
from hilum.metrics.resampling import MEASURES, Judged, measure_findings, weightings
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
    truth: ArrayLike,
    mask: ArrayLike,
    scores: ArrayLike,
    patients: ArrayLike,
    findings: Sequence[str],
    thresholds: Sequence[float | None] | None = None,
    resamples: int = 2000,
    seed: int = 0,
    min_positives: int = 20,
    level: float = 0.95,
) -> Evaluation:
    """Return every measure of every finding with its interval, as the module says.

    Args:
        truth: [N, F], 1 present and 0 absent; anything where the mask is 0.
        mask: [N, F], above 0 where the cell is scored.
        scores: [N, F], higher means more likely present.
        patients: [N], who each film shows, in any notation.
        findings: [F] names.
        thresholds: [F], None or nan for a finding without one; None for no thresholds at all.
        resamples: Resamples of the patients; 0 leaves out the intervals.
        seed: Of the resampling. The same seed and patients give the same resamples for another
            model.
        min_positives: Positive patients that a finding needs to enter the macro values.
        level: Of the intervals.

    Raises:
        ValueError: The shapes do not fit, there is no film, a scored cell has a truth other than 0
            and 1 or no score.
    """
    judged, values = Judged.of(truth, mask, patients), np.asarray(scores, dtype=np.float64)
    _check(judged, values, findings)
    cuts = _cuts(thresholds, len(findings))
    samples = measure_findings(judged, values, cuts, weightings(judged, resamples, seed))
    results = [
        _finding_result(judged, i, name, cuts[i], values, samples, level)
        for i, name in enumerate(findings)
    ]
    return _evaluation(judged, results, samples, min_positives, resamples, level)


def _evaluation(
    judged: Judged,
    results: Sequence[FindingResult],
    samples: Mapping[str, DoubleArray],
    min_positives: int,
    resamples: int,
    level: float,
) -> Evaluation:
    scored = scored_places(judged, samples["auroc"][0], min_positives)
    return Evaluation(
        films=len(judged.truth),
        patients=judged.patient_count,
        findings=tuple(results),
        findings_scored=tuple(results[place].name for place in scored),
        auroc_macro=macro(judged, samples["auroc"], scored, level, min_positives),
        average_precision_macro=macro(
            judged, samples["average_precision"], scored, level, min_positives
        ),
        min_positives=min_positives,
        resamples=resamples,
        level=level,
    )


def _check(judged: Judged, scores: DoubleArray, findings: Sequence[str]) -> None:
    if scores.shape != judged.truth.shape or scores.shape[1] != len(findings):
        raise ValueError(
            f"{len(findings)} findings, truth {judged.truth.shape} and scores {scores.shape} do not fit"
        )
    if not len(scores) or not len(findings):
        raise ValueError("there is no film or no finding to evaluate")


def _cuts(thresholds: Sequence[float | None] | None, findings: int) -> list[float | None]:
    """One threshold a finding, None where there is none or it is nan."""
    if thresholds is None:
        return [None] * findings
    if len(thresholds) != findings:
        raise ValueError(f"{len(thresholds)} thresholds for {findings} findings")
    return [None if cut is None or np.isnan(cut) else float(cut) for cut in thresholds]


def _finding_result(
    judged: Judged,
    place: int,
    name: str,
    threshold: float | None,
    scores: DoubleArray,
    samples: Mapping[str, DoubleArray],
    level: float,
) -> FindingResult:
    present, absent = patients_by_class(judged, place)
    missing, lone = missing_class(judged, place), too_few(judged, [place])
    called = 0 if threshold is None else patients_called(judged, place, scores[:, place], threshold)
    fewest = min(present, absent)
    rests_on = {
        "recall": present,
        "specificity": absent,
        "precision": min(fewest, called),
    }  # patients
    why_not = {"precision": lone or too_few_called(called)}
    reasons: dict[str, str | None] = dict.fromkeys(MEASURES, missing)
    for measure in CALLED_MEASURES:
        reasons[measure] = (
            _why_undefined(judged, place, measure) if threshold is not None else NO_THRESHOLD
        )
    return FindingResult(
        name=name,
        films=int(judged.mask[:, place].sum()),
        positives=int((judged.truth[:, place] == 1)[judged.mask[:, place]].sum()),
        positive_patients=present,
        threshold=threshold,
        measures={
            measure: estimate(
                samples[measure][:, place],
                level,
                reasons[measure],
                why_not.get(measure, lone),
                rests_on.get(measure, fewest),
            )
            for measure in MEASURES
        },
    )


def _why_undefined(judged: Judged, place: int, measure: str) -> str | None:
    """Precision and F1 need a call, which a class may be there without."""
    missing = missing_class(judged, place)
    return (
        "no film is called at this threshold"
        if missing is None and measure == "precision"
        else missing
    )
