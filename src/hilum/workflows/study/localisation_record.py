"""``localisation.json`` as typed records; the keys are those of the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hilum.metrics.results import Difference, Estimate
from hilum.records import read_record


@dataclass(frozen=True)
class MeanAndFindings:
    """A measure over all findings and for each."""

    overall: Estimate
    findings: Mapping[str, Estimate]


@dataclass(frozen=True)
class DifferenceAndFindings:
    """A paired difference over all findings and for each."""

    overall: Difference
    findings: Mapping[str, Difference]


@dataclass(frozen=True)
class MapScores:
    """Hit rate of the pointing game, and IoU."""

    hit_rate: MeanAndFindings
    iou: MeanAndFindings


@dataclass(frozen=True)
class MapDifferences:
    """A model's scores minus those of random weights."""

    hit_rate: DifferenceAndFindings
    iou: DifferenceAndFindings


@dataclass(frozen=True)
class ModelLocalisation:
    """How a model's heatmaps point, or why that was not scored."""

    model: str
    backbone: str
    reason: str | None = None
    hit_rate: MeanAndFindings | None = None
    iou: MeanAndFindings | None = None
    control: MapScores | None = None
    """The same network with random weights."""
    difference: MapDifferences | None = None
    beyond_chance: DifferenceAndFindings | None = None
    habit: MeanAndFindings | None = None
    """Hit rate of the map of another patient with the same finding."""


@dataclass(frozen=True)
class AnnotationsSummary:
    """What the maps are compared with."""

    description: str = field(metadata={"key": "said"})
    stand_ins: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class LocalisationRecord:
    """What ``localisation.json`` holds; of one that was not scored only the reason."""

    reason: str | None
    models: tuple[ModelLocalisation, ...] = ()
    films: int = 0
    patients: int = 0
    maps: Mapping[str, int] = field(default_factory=dict)
    """Films with each finding."""
    chance: MeanAndFindings | None = None
    truth: AnnotationsSummary | None = None
    least_patients: int = 0
    resamples: int = 0
    level: float = 0.95
    control_draws: int = 0

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> LocalisationRecord:
        """Return the record of the file's JSON.

        Raises:
            ValueError: A key is missing or holds something else.
        """
        return read_record(cls, content)
