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
class Analysis:
    """What ``analysis.json`` holds."""

    test: TestFilms
    models: tuple[ModelResult, ...]
    comparisons: tuple[ModelComparison, ...] = field(default_factory=tuple)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Analysis:
        """Return the record of the file's JSON.

        Raises:
            ValueError: A key is missing or holds something else.
        """
        return read_record(cls, content)
