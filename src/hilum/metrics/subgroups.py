"""Subgroups by sex, age and view position: the mean AUROC of each.

Each group's mean is over the findings that it has enough patients of, which may be others in
another group: compare only groups that score the same findings, and only as far as the intervals
allow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hilum.arrays import BoolArray
from hilum.counts import counted
from hilum.metrics.estimates import patients_by_class
from hilum.metrics.interval_options import DEFAULTS, IntervalOptions
from hilum.metrics.resampling import EvaluationLabels
from hilum.metrics.results import Estimate
from hilum.metrics.summary import evaluate_findings

AGE_BANDS = (40, 60, 80)
"""Years at which a new band of ages begins."""
OLDEST = 120
"""Years above which an age is an error."""
NOT_STATED = "not stated"
LEAST_PATIENTS = 20


class Group(NamedTuple):
    """Films that have something in common."""

    group: str
    """What they are grouped by, such as ``sex``."""
    value: str
    """What they have in common, such as ``F``."""
    rows: BoolArray
    """[N], which films."""


@dataclass(frozen=True)
class Subgroup:
    """A group's films, and the mean AUROC over the findings that it has enough patients of."""

    group: str
    value: str
    films: int
    patients: int
    auroc_macro: Estimate
    findings_scored: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "group": self.group,
            "value": self.value,
            "films": self.films,
            "patients": self.patients,
            "auroc_macro": self.auroc_macro.to_json(),
            "findings_scored": list(self.findings_scored),
            "reason": self.auroc_macro.reason,
        }


def age_bands(ages: ArrayLike, begins: Sequence[int] = AGE_BANDS) -> list[str | None]:
    """Return the band of each age, None where it is not stated or cannot be.

    >>> age_bands([39.9, 40, 93, np.nan, 411])
    ['0-39', '40-59', '80+', None, None]
    """
    edges = [0, *begins]
    names = [f"{low}-{high - 1}" for low, high in pairwise(edges)] + [f"{edges[-1]}+"]
    years = np.asarray(ages, dtype=np.float64)
    return [
        names[int(np.searchsorted(edges, age, "right")) - 1] if 0 <= age <= OLDEST else None
        for age in years
    ]


def groups_of(group: str, values: Sequence[str | None]) -> list[Group]:
    """Return a group for each value, in alphabetical order, and last the films without one."""
    named = np.array([NOT_STATED if value is None else str(value) for value in values])
    stated = sorted(set(named.tolist()) - {NOT_STATED})
    last = [NOT_STATED] if stated and (named == NOT_STATED).any() else []
    return [Group(group, value, named == value) for value in [*stated, *last]]


def measure_subgroup(
    group: Group,
    labels: EvaluationLabels,
    scores: NDArray[np.generic],
    findings: Sequence[str],
    least_patients: int = LEAST_PATIENTS,
    options: IntervalOptions = DEFAULTS,
) -> Subgroup:
    """Return a model's mean AUROC within one group of films.

    Args:
        group: Which of the films, at least one.
        labels: Of all films.
        scores: [N, F].
        findings: [F] names.
        least_patients: Patients with a finding, and patients without, that the group needs to score
            it; ``options.min_positives`` is not used.
        options: Of the intervals.
    """
    rows = group.rows
    within = EvaluationLabels.of(labels.truth[rows], labels.mask[rows], labels.patients[rows])
    films, patients = len(within.truth), within.patient_count
    scored = [
        column
        for column in range(len(findings))
        if min(patients_by_class(within, column)) >= least_patients
    ]
    if not scored:
        reason = f"too few: no finding has {counted(least_patients, 'patient')} with it and {least_patients:,} without"
        mean = Estimate(None, reason=reason)
        return Subgroup(group.group, group.value, films, patients, mean, ())
    names = tuple(findings[column] for column in scored)
    of_scored = EvaluationLabels(within.truth[:, scored], within.mask[:, scored], within.patients)
    evaluation = evaluate_findings(
        of_scored, scores[rows][:, scored], names, options=replace(options, min_positives=1)
    )
    return Subgroup(group.group, group.value, films, patients, evaluation.auroc_macro, names)
