"""The training in a run's ``metrics.json`` as a typed record; the keys are those of the file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainingRecord:
    """What a finished training was: its data, length, pace and best validation score."""

    films: int = 0
    patients: int = 0
    steps: int = 0
    images_per_second: float | None = None
    best: float | None = None
    """Best mean AUROC on validation films; None where none was measured."""
    best_step: int = 0
