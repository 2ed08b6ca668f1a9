"""What few patients with a finding allow: the interval to expect, before anything is measured."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from hilum.counts import counted
from hilum.metrics.interval_options import DEFAULTS
from hilum.metrics.intervals import difference_interval

LIKELY_AUROC = 0.8
"""The AUROC that the rule of thumb assumes: a lower one has a slightly wider interval."""
WIDEST = 0.5
"""Half widths from which on an interval around 0.5 would exclude no AUROC at all."""


class PatientCounts(NamedTuple):
    """Patients of a split who have a film with the finding, and those who have a film without it."""

    present: int
    absent: int


def expected_half_width(counts: PatientCounts, auroc: float = LIKELY_AUROC) -> float | None:
    """Return about half the width of the 95 % interval that an AUROC of so many patients will have.

    None with fewer than two patients of either class, which have no interval. A patient counts as
    one film, and the factor is Student's, as in ``intervals``.

    Source: Hanley and McNeil 1982 (Radiology 143:29), equation 2 with their Q1 and Q2.

    >>> round(expected_half_width(PatientCounts(50, 200)), 3)
    0.079
    """
    present, absent = counts
    if min(counts) < 2:
        return None
    q1, q2 = auroc / (2 - auroc), 2 * auroc**2 / (1 + auroc)
    variance = (
        auroc * (1 - auroc) + (present - 1) * (q1 - auroc**2) + (absent - 1) * (q2 - auroc**2)
    ) / (present * absent)
    interval = difference_interval(0.0, math.sqrt(variance), min(counts), DEFAULTS.level)
    return None if interval is None else interval.high


def few_patients_line(
    split: str, counts: Mapping[str, PatientCounts], min_positives: int = DEFAULTS.min_positives
) -> str | None:
    r"""Return a warning of the findings that too few patients of a split have, None without any.

    Args:
        split: Its name.
        counts: By finding.
        min_positives: Positive patients that a finding needs to enter the mean AUROC.

    >>> few = {"Edema": PatientCounts(9, 60), "Mass": PatientCounts(2, 67)}
    >>> print(few_patients_line("val", few).replace("; ", ";\n").replace(". ", ".\n"))
    val has fewer than 20 patients with 2 of 2 findings, which enter no mean AUROC.
    Expected 95% intervals (Hanley and McNeil 1982): ±0.21 for Edema (9 patients);
    no useful one for Mass (2 patients)
    """
    few = sorted(
        (name for name, count in counts.items() if count.present < min_positives),
        key=lambda name: -counts[name].present,
    )
    if not few:
        return None
    halves = {name: expected_half_width(counts[name]) for name in few}
    useful = [
        f"±{half:.2f} for {_patients(name, counts)}"
        for name, half in halves.items()
        if _useful(half)
    ]
    useless = [_patients(name, counts) for name, half in halves.items() if not _useful(half)]
    expected = [", ".join(useful)] * bool(useful)
    expected += [f"no useful one for {', '.join(useless)}"] * bool(useless)
    return (
        f"{split} has fewer than {counted(min_positives, 'patient')} with {len(few)} of "
        f"{counted(len(counts), 'finding')}, which enter "
        f"no mean AUROC. Expected {DEFAULTS.level:.0%} intervals (Hanley and McNeil 1982): {'; '.join(expected)}"
    )


def _useful(half_width: float | None) -> bool:
    return half_width is not None and half_width < WIDEST


def _patients(finding: str, counts: Mapping[str, PatientCounts]) -> str:
    present = counts[finding].present
    return f"{finding} ({present} patient{'' if present == 1 else 's'})"
