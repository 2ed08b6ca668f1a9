"""``analysis.json`` as typed records: a study's numbers across runs; the keys are those of the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hilum.metrics.results import Difference, Estimate
from hilum.records import read_record


@dataclass(frozen=True)
class TestFilms:
    """The films that every model is measured on, and how."""

    films: int
    patients: int
    findings_scored: tuple[str, ...]
    level: float
    min_positives: int
    resamples: int


@dataclass(frozen=True)
class SeedScore:
    """What one training seed reaches alone."""

    seed: int
    auroc_macro: float | None


@dataclass(frozen=True)
class CompetitionMean:
    """The mean over CheXpert's competition findings."""

    findings: tuple[str, ...]
    auroc_macro: Estimate


@dataclass(frozen=True)
class StudyMean:
    """The mean AUROC where a study counts once."""

    auroc_macro: Estimate


@dataclass(frozen=True)
class ModelResult:
    """One model at one fraction of the labels, over its seeds."""

    group: str
    model: str
    fraction: float
    policy: str
    cells: tuple[str, ...]
    auroc: Mapping[str, Estimate]
    auroc_macro: Estimate
    average_precision: Mapping[str, Estimate]
    average_precision_macro: Estimate
    seeds: tuple[SeedScore, ...]
    seeds_planned: int | None = None
    findings_scored: tuple[str, ...] | None = None
    competition: CompetitionMean | None = None
    per_study: StudyMean | None = None


@dataclass(frozen=True)
class ModelComparison:
    """First model minus second on the same films."""

    group: str
    first: str
    second: str
    fraction: float
    policy: str
    auroc: Mapping[str, Difference]
    auroc_macro: Difference
    average_precision_macro: Difference | None = None
    family: str = ""


@dataclass(frozen=True)
class CurveNumbers:
    """A learning curve's numbers, of the mean or of one finding; intervals cover test patients and draws."""

    at: tuple[Estimate, ...]
    """AUROC at each fraction of the labels, from few to many."""
    steps: tuple[Estimate, ...]
    """What each share gave over the one before."""
    gaps: tuple[Estimate, ...]
    """Difference to the reference at each share; empty of the reference."""
    doubling: Estimate
    """Forecast of what twice the most labelled patients would add."""


@dataclass(frozen=True)
class LabelCurve:
    """A model's AUROC against labelled patients."""

    model: str
    policy: str
    chosen: bool
    """Whether it is the start with the best validation AUROC, beside the reference."""
    fractions: tuple[float, ...]
    patients: tuple[float, ...]
    draws: tuple[int, ...]
    findings_scored: tuple[str, ...]
    at: tuple[Estimate, ...]
    steps: tuple[Estimate, ...]
    gaps: tuple[Estimate, ...]
    doubling: Estimate
    findings: Mapping[str, CurveNumbers]


@dataclass(frozen=True)
class PretrainingSize:
    """How much a pretraining saw: its films, and films in all epochs."""

    method: str
    films: int
    seen: int


@dataclass(frozen=True)
class LengthComparison:
    """The longest pretraining, or that on most films, minus the shortest, of one method and network."""

    first: str
    second: str
    before: PretrainingSize
    after: PretrainingSize
    fractions: tuple[float, ...]
    gaps: tuple[Estimate, ...]


@dataclass(frozen=True)
class Analysis:
    """What ``analysis.json`` holds."""

    test: TestFilms
    models: tuple[ModelResult, ...]
    comparisons: tuple[ModelComparison, ...] = field(default_factory=tuple)
    label_curves: tuple[LabelCurve, ...] = field(default_factory=tuple)
    """Empty in files of before these were computed."""
    pretraining_lengths: tuple[LengthComparison, ...] = field(default_factory=tuple)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Analysis:
        """Return the record of the file's JSON.

        Raises:
            ValueError: A key is missing or holds something else.
        """
        return read_record(cls, content)
