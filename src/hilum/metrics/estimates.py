"""From resamples to estimates: a value with its interval, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hilum.arrays import DoubleArray
from hilum.counts import counted
from hilum.metrics.interval_options import IntervalOptions
from hilum.metrics.intervals import (
    NEVER_VARIES,
    difference_interval,
    difference_p,
    proportion_interval,
    standard_error,
)
from hilum.metrics.resampling import EvaluationLabels
from hilum.metrics.results import Difference, Estimate


def estimate(
    samples: DoubleArray,
    level: float,
    no_value: str | None = None,
    no_interval: str | None = None,
    patients: int | None = None,
) -> Estimate:
    """Return the estimate of a measure from 0 to 1 by its samples [1 + R], of which the first is the value itself.

    Args:
        samples: The value, then the measure in each resample, nan where undefined.
        level: Of the interval.
        no_value: The reason if the value is nan.
        no_interval: A reason for no interval; None for none.
        patients: How many patients the measure rests on, as ``intervals.proportion_interval`` takes it.
    """
    value, resampled = samples[0], samples[1:]
    if np.isnan(value):
        return Estimate(None, reason=no_value or "undefined on these films")
    if no_interval is not None:
        return Estimate(float(value), reason=no_interval)
    error, left_out = standard_error(resampled), int(np.isnan(resampled).sum())
    if error is None:
        return Estimate(float(value), None, left_out)
    ends = proportion_interval(min(max(float(value), 0.0), 1.0), error, patients, level)
    return Estimate(float(value), ends, left_out, NEVER_VARIES if ends is None else None)


def difference(
    samples: DoubleArray,
    level: float,
    no_value: str | None = None,
    no_interval: str | None = None,
    patients: int | None = None,
) -> Difference:
    """Return the difference of two measures with its interval and test; arguments as ``estimate``."""
    value, resampled = float(samples[0]), samples[1:]
    error = standard_error(resampled)
    if np.isnan(value):
        return Difference(None, reason=no_value or "undefined on these films")
    if no_interval is not None or error is None:
        return Difference(value, reason=no_interval)
    ends, p = (
        difference_interval(value, error, patients, level),
        difference_p(value, error, patients),
    )
    return Difference(
        value, ends, int(np.isnan(resampled).sum()), None if ends else NEVER_VARIES, p=p
    )


def macro_samples(samples: DoubleArray, columns: Sequence[int]) -> DoubleArray:
    """Return the mean over the findings that each resample defines, [1 + R]; nan without any.

    Args:
        samples: [1 + R, F].
        columns: Which of the F findings are scored.
    """
    chosen = samples[:, list(columns)]
    known = ~np.isnan(chosen)
    sums = np.where(known, chosen, 0.0).sum(axis=1)
    means = np.full(len(chosen), np.nan)
    np.divide(sums, known.sum(axis=1), out=means, where=known.any(axis=1))
    return means


def patients_by_class(labels: EvaluationLabels, column: int) -> tuple[int, int]:
    """Return how many patients have a film with the finding, and how many a film without it."""
    scored = labels.mask[:, column]
    truth, patients = labels.truth[scored, column], labels.patients[scored]
    shown = np.zeros((2, patients.max(initial=-1) + 1), np.bool_)  # [class, P]
    shown[0, patients[truth == 1]] = True
    shown[1, patients[truth == 0]] = True
    return int(np.count_nonzero(shown[0])), int(np.count_nonzero(shown[1]))


def patients_called(
    labels: EvaluationLabels, column: int, scores: DoubleArray, threshold: float
) -> int:
    """Return how many patients have a scored film of a finding whose score [N] is at the threshold or above."""
    return len(np.unique(labels.patients[labels.mask[:, column] & (scores >= threshold)]))


def too_few_called(patients: int) -> str | None:
    """Return why a precision has no interval, None where enough patients are called."""
    return (
        None
        if patients >= 2
        else f"no interval: {counted(patients, 'patient is', 'patients are')} called, 2 are needed"
    )


def macro_patients(labels: EvaluationLabels, samples: DoubleArray, columns: Sequence[int]) -> int:
    """Return how many patients a mean over findings rests on, for its degrees of freedom.

    Each finding counts by its variance over the resamples: one of few patients that hardly moves
    the mean costs few degrees. The formula is Satterthwaite's (1946, Biometrics Bulletin 2:110) for
    variances that err all together, which is the worst case; findings of equally many patients give
    that number.

    Args:
        labels: Truth, mask and patients of N films.
        samples: [1 + R, F], the findings' measures, nan where undefined.
        columns: Which findings the mean is over, each with two patients or more of both classes.
    """
    errors = [standard_error(samples[1:, column]) for column in columns]
    variances = np.array([0.0 if error is None else error**2 for error in errors])
    degrees = np.array(
        [max(min(patients_by_class(labels, column)) - 1, 1) for column in columns], dtype=np.float64
    )
    if not variances.sum():
        return int(degrees.min()) + 1
    share = variances / variances.sum()
    return int((share @ degrees**-0.5) ** -2 + 1e-9) + 1


def missing_class(labels: EvaluationLabels, column: int) -> str | None:
    """Return why the AUROC of a finding is undefined, None where it is not."""
    present, absent = patients_by_class(labels, column)
    if not present and not absent:
        return "no scored label in this split"
    if not present:
        return "no positives in this split"
    return None if absent else "no negatives in this split"


def too_few(labels: EvaluationLabels, columns: Sequence[int]) -> str | None:
    """Return why there is no interval: one patient resampled is always the same patient."""
    for present, absent in (patients_by_class(labels, column) for column in columns):
        if min(present, absent) < 2:
            return (
                f"no interval: {counted(present, 'patient')} with and {absent:,} without the "
                f"finding, 2 of each are needed"
            )
    return None


def scored_columns(labels: EvaluationLabels, aurocs: DoubleArray, min_positives: int) -> list[int]:
    """Return the findings with enough positive patients and an AUROC.

    Args:
        labels: Truth, mask and patients of N films.
        aurocs: [F], nan where undefined.
        min_positives: Positive patients that a finding needs.
    """
    return [
        column
        for column, auroc in enumerate(aurocs)
        if patients_by_class(labels, column)[0] >= min_positives and not np.isnan(auroc)
    ]


def macro(
    labels: EvaluationLabels,
    samples: DoubleArray,
    columns: Sequence[int],
    options: IntervalOptions,
) -> Estimate:
    """Return the mean over the scored findings with its interval; ``samples`` are [1 + R, F]."""
    if not columns:
        return Estimate(None, reason=nothing_scored(options.min_positives))
    means, patients = macro_samples(samples, columns), macro_patients(labels, samples, columns)
    lone = too_few(labels, columns)
    return estimate(means, options.level, no_interval=lone, patients=patients)


def nothing_scored(min_positives: int) -> str:
    """Return why there is no macro value."""
    return f"no finding has {counted(min_positives, 'positive patient')} and a negative one: lower --min-positives"
