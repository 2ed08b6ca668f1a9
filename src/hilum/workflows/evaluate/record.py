"""Evaluations and comparisons in a run's ``metrics.json`` as typed records; the keys are those of the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hilum.metrics.intervals import Interval
from hilum.metrics.results import Difference, Estimate
from hilum.records import read_record

NONE = Estimate(None)


@dataclass(frozen=True)
class FindingRecord:
    """One finding's measures; those that an older version did not take are not available."""

    films: int
    positives: int
    positive_patients: int
    threshold: float | None
    auroc: Estimate
    average_precision: Estimate
    precision: Estimate = NONE
    recall: Estimate = NONE
    specificity: Estimate = NONE
    f1: Estimate = NONE
    accuracy: Estimate = NONE


@dataclass(frozen=True)
class ReliabilityBin:
    """Films of similar probability: its mean, and the fraction that has the finding."""

    predicted: float
    observed: float


@dataclass(frozen=True)
class FindingCalibration:
    """One finding's calibration errors, after calibration and before (``raw``)."""

    ece: float | None = None
    ece_raw: float | None = None
    ece_by_chance: float | None = None
    brier: float | None = None
    brier_raw: float | None = None
    temperature: float | None = None
    """None where the finding was not calibrated."""
    shift: float | None = None
    reliability: tuple[ReliabilityBin, ...] = ()
    reason: str | None = None

    @property
    def calibrated(self) -> bool:
        """Whether it was calibrated and its errors are known."""
        return None not in (self.temperature, self.ece, self.ece_raw)


@dataclass(frozen=True)
class CalibrationRecord:
    """Calibration of all findings; the means are over those that are scored."""

    bins: int | None = None
    ece_mean: float | None = None
    ece_raw_mean: float | None = None
    ece_by_chance_mean: float | None = None
    brier_mean: float | None = None
    brier_raw_mean: float | None = None
    findings: Mapping[str, FindingCalibration] = field(default_factory=dict)

    def worsened(self) -> list[str]:
        """Return the findings whose calibration raised the ECE on these films, worst first."""
        rises = {
            name: one.ece - one.ece_raw
            for name, one in self.findings.items()
            if one.temperature is not None and one.ece is not None and one.ece_raw is not None
        }
        return sorted(
            (name for name, rise in rises.items() if rise > 0), key=lambda name: -rises[name]
        )


@dataclass(frozen=True)
class OperatingPointRecord:
    """What a threshold does on the films; nothing where there is no threshold."""

    rule: str
    threshold: float | None = None
    true_positives: int | None = None
    false_positives: int | None = None
    false_negatives: int | None = None
    true_negatives: int | None = None
    sensitivity: Estimate | None = None
    specificity: Estimate | None = None
    precision: Estimate | None = None
    prevalence: float | None = None
    ppv_at_prevalence: Estimate | None = None
    npv_at_prevalence: Estimate | None = None


@dataclass(frozen=True)
class SubgroupRecord:
    """The mean AUROC within one group of films."""

    group: str
    value: str
    films: int
    patients: int
    auroc_macro: Estimate
    findings_scored: tuple[str, ...]
    reason: str | None = None


@dataclass(frozen=True)
class SetScoresRecord:
    """A MedMNIST set's own accuracy and AUC."""

    task: str
    films: int
    patients: int
    accuracy: Estimate
    auc: Estimate


@dataclass(frozen=True)
class EvaluationOptionsRecord:
    """The store and the split of an evaluation; empty in records that do not name them."""

    data: str = ""
    split: str = ""
    unstated: str = "absent"


@dataclass(frozen=True)
class EvaluationRecord:
    """A run's evaluation on one split."""

    films: int
    patients: int
    findings: Mapping[str, FindingRecord]
    findings_scored: tuple[str, ...]
    min_positives: int
    resamples: int
    level: float
    auroc_macro: float | None
    average_precision_macro: float | None
    auroc_macro_interval: Interval | None = None
    auroc_macro_reason: str | None = None
    average_precision_macro_interval: Interval | None = None
    average_precision_macro_reason: str | None = None
    calibration: CalibrationRecord | None = None
    operating_points: Mapping[str, tuple[OperatingPointRecord, ...]] = field(default_factory=dict)
    subgroups: tuple[SubgroupRecord, ...] = ()
    medmnist: SetScoresRecord | None = None
    options: EvaluationOptionsRecord = EvaluationOptionsRecord()

    @property
    def auroc(self) -> Estimate:
        """The mean AUROC."""
        return Estimate(self.auroc_macro, self.auroc_macro_interval, reason=self.auroc_macro_reason)

    @property
    def average_precision(self) -> Estimate:
        """The mean average precision."""
        return Estimate(
            self.average_precision_macro,
            self.average_precision_macro_interval,
            reason=self.average_precision_macro_reason,
        )


@dataclass(frozen=True)
class FindingComparisonRecord:
    """Both models' AUROC of one finding on the same films, and the difference."""

    first: float | None
    second: float | None
    difference: Difference
    positive_patients: int


@dataclass(frozen=True)
class ComparisonRecord:
    """One run minus another on the same films, as ``evaluate --against`` measured it."""

    films: int
    patients: int
    auroc_macro: Difference
    average_precision_macro: Difference
    findings_scored: tuple[str, ...]
    findings: Mapping[str, FindingComparisonRecord]
    same_model: bool = False
    min_positives: int = 0
    level: float = 0.95


@dataclass(frozen=True)
class Evaluations:
    """The evaluations of a run by name, and its comparisons by evaluation and other run."""

    evaluations: Mapping[str, EvaluationRecord] = field(default_factory=dict)
    comparisons: Mapping[str, Mapping[str, ComparisonRecord]] = field(default_factory=dict)

    @classmethod
    def from_json(cls, metrics: Mapping[str, Any]) -> Evaluations:
        """Return what a run's ``metrics.json`` holds of them.

        Raises:
            ValueError: A key is missing or holds something else.
        """
        return read_record(cls, metrics)
