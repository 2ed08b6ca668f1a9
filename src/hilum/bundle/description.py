"""What a model is and how films are prepared for it: the content of model.json, read without torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hilum.images.enhance import LARGEST, SMALLEST, Preparation
from hilum.labels import UNSTATED

FORMAT = 1
"""Of the folder ``model/`` of a run."""
HASH = "weights_sha256"
NOTICE = "Research use only, not a medical device."


@dataclass(frozen=True)
class Description:
    """The content of model.json. It has no time stamp, so equal runs give equal files."""

    backbone: str
    """timm's name of the architecture."""
    size: int
    """Height and width of the network's input in pixels."""
    preparation: Mapping[str, Any]
    """How films were prepared, see ``hilum.images.enhance.Preparation``."""
    method: str
    """How it was trained."""
    findings: tuple[str, ...] = ()
    """Outputs in order; none after pretraining."""
    thresholds: Mapping[str, float | None] = field(default_factory=dict)
    """Probability threshold of each finding, chosen on validation films; null where there were too
    few."""
    learnt: bool | None = None
    """Whether the mean validation AUROC is shown to be above 0.5; null where that was not asked, as
    after pretraining and by earlier versions."""
    not_called: Mapping[str, str] = field(default_factory=dict)
    """Finding -> why it has no threshold: its validation AUROC is not shown to be above 0.5."""
    operating_points: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    """Finding -> rule -> probability threshold, see ``hilum.metrics.operating``;
    chosen like the thresholds."""
    calibration: Mapping[str, Mapping[str, float] | None] = field(default_factory=dict)
    """Finding -> temperature and shift, already folded into the head; null where validation films
    were too few."""
    training_data: Mapping[str, Any] = field(default_factory=dict)
    """Sources, counts and hashes of the training data."""
    unstated: str = "absent"
    """Treatment of unstated findings in training, a name of ``hilum.labels.UNSTATED``."""
    format: int = FORMAT
    notice: str = NOTICE

    def call_notes(self) -> list[str]:
        """Return the lines on findings that are never called; one where nothing was learnt."""
        if self.learnt is False:
            return ["this model is not shown to have learnt anything: it calls no finding"]
        return [f"{name}: {why}: it is never called" for name, why in self.not_called.items()]


def check_description(description: Description) -> None:
    """Raise a ValueError or DataError for values that no model has."""
    _ = Preparation.from_json(description.preparation)
    findings = set(description.findings)
    if len(findings) != len(description.findings) or "" in findings:
        raise ValueError("a finding is named twice or empty")
    if not SMALLEST <= description.size <= LARGEST:
        raise ValueError(f"size {description.size} is not from {SMALLEST} to {LARGEST}")
    if description.unstated not in UNSTATED:
        raise ValueError(f"unstated is {description.unstated!r:.20}")
    cuts = [*description.thresholds.values()]
    for rules in description.operating_points.values():
        cuts += rules.values()
    if not all(cut is None or math.isfinite(cut) for cut in cuts):
        raise ValueError("a threshold is no finite number")
    named = (description.thresholds, description.operating_points, description.calibration)
    if strange := set().union(*named) - findings:
        raise ValueError(f"{sorted(strange)[0]!r:.40} is none of its findings")
