"""The evaluation of a model: every measure of every finding with its interval, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hilum.metrics.intervals import interval
from hilum.metrics.resampling import MEASURES, Judged, measure_findings, weightings
from hilum.metrics.results import Comparison, Estimate, Evaluation, FindingResult
from hilum.metrics.thresholds import CALLED_MEASURES

__all__ = [
    "NO_THRESHOLD",
    "Comparison",
    "Estimate",
    "Evaluation",
    "FindingResult",
    "compare_models",
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
    """Return every measure of every finding with its interval.

    Intervals come from a bootstrap over patients. A resample in which a finding has no positive or no negative is left
    out for that finding, and counted; the macro value of a resample is the mean over the scored findings that it
    defines.

    Args:
        truth: [N, F], 1 present and 0 absent; anything where the mask is 0.
        mask: [N, F], above 0 where the cell is scored.
        scores: [N, F], higher means more likely present.
        patients: [N], who each film shows, in any notation.
        findings: [F] names.
        thresholds: [F], None or nan for a finding without one; None for no thresholds at all.
        resamples: Resamples of the patients; 0 leaves out the intervals.
        seed: Of the resampling. The same seed and patients give the same resamples for another model.
        min_positives: Positive patients that a finding needs to enter the macro values.
        level: Of the intervals.

    Raises:
        ValueError: The shapes do not fit, there is no film, a scored cell has a truth other than 0 and 1 or no score.
    """
    judged, values = Judged.of(truth, mask, patients), np.asarray(scores, dtype=np.float64)
    _check(judged, values, findings)
    cuts = _cuts(thresholds, len(findings))
    samples = measure_findings(judged, values, cuts, weightings(judged, resamples, seed))
    scored = _scored(judged, samples["auroc"], min_positives)
    return Evaluation(
        films=len(values),
        patients=judged.patient_count,
        findings=tuple(_finding_result(judged, i, name, cuts[i], samples, level) for i, name in enumerate(findings)),
        findings_scored=tuple(findings[place] for place in scored),
        auroc_macro=_macro(samples["auroc"], scored, level, min_positives),
        average_precision_macro=_macro(samples["average_precision"], scored, level, min_positives),
        min_positives=min_positives,
        resamples=resamples,
        level=level,
    )


def compare_models(
    truth: ArrayLike,
    mask: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    patients: ArrayLike,
    findings: Sequence[str],
    resamples: int = 2000,
    seed: int = 0,
    min_positives: int = 20,
    level: float = 0.95,
) -> Comparison:
    """Return first minus second, both [N, F] scores of the same films, paired within each resample.

    Other arguments and errors as ``evaluate_findings``.
    """
    judged = Judged.of(truth, mask, patients)
    weights, no_cuts = weightings(judged, resamples, seed), [None] * len(findings)
    both = []
    for scores in (first, second):
        values = np.asarray(scores, dtype=np.float64)
        _check(judged, values, findings)
        both.append(measure_findings(judged, values, no_cuts, weights))
    scored = _scored(judged, both[0]["auroc"], min_positives)
    areas, precisions = (both[0][name] - both[1][name] for name in ("auroc", "average_precision"))
    return Comparison(
        findings_scored=tuple(findings[place] for place in scored),
        auroc={
            name: estimate(areas[:, place], level, _missing_class(judged, place), _too_few(judged, place))
            for place, name in enumerate(findings)
        },
        auroc_macro=_macro(areas, scored, level, min_positives),
        average_precision_macro=_macro(precisions, scored, level, min_positives),
    )


def estimate(
    samples: NDArray[np.float64], level: float, no_value: str | None = None, no_interval: str | None = None
) -> Estimate:
    """Return the estimate of samples [1 + R], of which the first is the value itself.

    Args:
        samples: The value, then the measure in each resample, nan where undefined.
        level: Of the interval.
        no_value: The reason to state if the value is nan.
        no_interval: A reason not to state an interval; None states it.
    """
    value, resampled = samples[0], samples[1:]
    if np.isnan(value):
        return Estimate(None, reason=no_value or "undefined on these films")
    if no_interval is not None:
        return Estimate(float(value), reason=no_interval)
    return Estimate(float(value), interval(resampled, level), left_out=int(np.isnan(resampled).sum()))


def _check(judged: Judged, scores: NDArray[np.float64], findings: Sequence[str]) -> None:
    if scores.shape != judged.truth.shape or scores.shape[1] != len(findings):
        raise ValueError(f"{len(findings)} findings, truth {judged.truth.shape} and scores {scores.shape} do not fit")
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
    samples: Mapping[str, NDArray[np.float64]],
    level: float,
) -> FindingResult:
    present, _ = _patients_by_class(judged, place)
    missing, too_few = _missing_class(judged, place), _too_few(judged, place)
    reasons: dict[str, str | None] = dict.fromkeys(MEASURES, missing)
    for measure in CALLED_MEASURES:
        reasons[measure] = _why_undefined(judged, place, measure) if threshold is not None else NO_THRESHOLD
    return FindingResult(
        name=name,
        films=int(judged.mask[:, place].sum()),
        positives=int((judged.truth[:, place] == 1)[judged.mask[:, place]].sum()),
        positive_patients=len(present),
        threshold=threshold,
        measures={
            measure: estimate(samples[measure][:, place], level, reasons[measure], too_few) for measure in MEASURES
        },
    )


def _patients_by_class(judged: Judged, place: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Patients with a film that has the finding, and patients with a film that has it not."""
    scored = judged.mask[:, place]
    truth, patients = judged.truth[scored, place], judged.patients[scored]
    return np.unique(patients[truth == 1]), np.unique(patients[truth == 0])


def _missing_class(judged: Judged, place: int) -> str | None:
    present, absent = _patients_by_class(judged, place)
    if not len(present) and not len(absent):
        return "no scored label in this split"
    if not len(present):
        return "no positives in this split"
    return None if len(absent) else "no negatives in this split"


def _why_undefined(judged: Judged, place: int, measure: str) -> str | None:
    """Precision and F1 need a call, which a class may be there without."""
    missing = _missing_class(judged, place)
    return "no film is called at this threshold" if missing is None and measure == "precision" else missing


def _too_few(judged: Judged, place: int) -> str | None:
    """One patient resampled is always the same patient: an interval would have no width."""
    present, absent = _patients_by_class(judged, place)
    if min(len(present), len(absent)) >= 2:
        return None
    return f"no interval: {len(present)} patients with and {len(absent)} without the finding, 2 of each are needed"


def _scored(judged: Judged, aurocs: NDArray[np.float64], min_positives: int) -> list[int]:
    return [
        place
        for place in range(aurocs.shape[1])
        if len(_patients_by_class(judged, place)[0]) >= min_positives and not np.isnan(aurocs[0, place])
    ]


def _macro(samples: NDArray[np.float64], scored: list[int], level: float, min_positives: int) -> Estimate:
    """The mean over findings within each resample, of those that the resample defines."""
    if not scored:
        needed = f"{min_positives} positive patients and a negative one"
        return Estimate(None, reason=f"no finding has {needed}: lower --min_positives")
    chosen = samples[:, scored]
    known = ~np.isnan(chosen)
    sums = np.where(known, chosen, 0.0).sum(axis=1)
    means = np.divide(sums, known.sum(axis=1), out=np.full(len(chosen), np.nan), where=known.any(axis=1))
    return estimate(means, level)
