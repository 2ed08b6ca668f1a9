"""What an evaluation consists of, and its plain form for JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hilum.metrics.intervals import Interval


@dataclass(frozen=True)
class Estimate:
    """A measure and its interval over patients, or the reason why there is no value."""

    value: float | None
    """None where the measure is not available."""
    interval: Interval | None = None
    """Its ends, as metrics/intervals.py has it; None where it is not available."""
    left_out: int = 0
    """Resamples that did not define the measure because a class was missing."""
    reason: str | None = None
    """Why there is no value or no interval."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        ends = None if self.interval is None else list(self.interval)
        return {
            "value": self.value,
            "interval": ends,
            "left_out": self.left_out,
            "reason": self.reason,
        }


SHOWN_BELOW = 0.05
"""Adjusted p value below which a difference counts as shown."""


@dataclass(frozen=True)
class Difference(Estimate):
    """One model's measure minus another's on the same films, with the test of there being no difference."""

    p: float | None = None
    """Of this difference alone (two-sided); None where it is not tested."""
    p_holm: float | None = None
    """Adjusted for all comparisons of its family; None where it belongs to none."""

    @property
    def shown(self) -> bool:
        """Whether a difference is shown, all comparisons of the family taken together."""
        return self.p_holm is not None and self.p_holm < SHOWN_BELOW

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**super().to_json(), "p": self.p, "p_holm": self.p_holm, "shown": self.shown}


@dataclass(frozen=True)
class FindingResult:
    """The measures of one finding; ``measures`` has every name of MEASURES."""

    name: str
    films: int
    positives: int
    positive_patients: int
    threshold: float | None
    measures: Mapping[str, Estimate]

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "films": self.films,
            "positives": self.positives,
            "positive_patients": self.positive_patients,
            "threshold": self.threshold,
            **{name: estimate.to_json() for name, estimate in self.measures.items()},
        }


@dataclass(frozen=True)
class Evaluation:
    """A model's evaluation on one set of films.

    The macro values are means over ``findings_scored``: the findings with at least
    ``min_positives`` positive patients and an AUROC.
    """

    films: int
    patients: int
    findings: tuple[FindingResult, ...]
    findings_scored: tuple[str, ...]
    auroc_macro: Estimate
    average_precision_macro: Estimate
    min_positives: int
    resamples: int
    level: float

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "films": self.films,
            "patients": self.patients,
            "findings_scored": list(self.findings_scored),
            **_macro_json("auroc_macro", self.auroc_macro),
            **_macro_json("average_precision_macro", self.average_precision_macro),
            "auroc": {result.name: result.measures["auroc"].value for result in self.findings},
            "findings": {result.name: result.to_json() for result in self.findings},
            "min_positives": self.min_positives,
            "resamples": self.resamples,
            "level": self.level,
            "interval_over": "patients",
        }


@dataclass(frozen=True)
class Comparison:
    """First model minus second on the same films, by finding and in the mean over ``findings_scored``."""

    findings_scored: tuple[str, ...]
    auroc: Mapping[str, Difference]
    """By clustered DeLong; tested where the finding is scored."""
    auroc_macro: Difference
    average_precision_macro: Difference


def _macro_json(name: str, macro: Estimate) -> dict[str, Any]:
    ends = None if macro.interval is None else list(macro.interval)
    return {name: macro.value, f"{name}_interval": ends, f"{name}_reason": macro.reason}
