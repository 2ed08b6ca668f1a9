"""Options of a study as a whole; light to import, since the command line's help reads them. See also ``plan``."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from hilum.options import take_fields
from hilum.workflows.evaluate.options import EvaluateOptions, MeasureOptions

PLAN_KEYS = ("models", "pretrain", "finetune", "pseudo_label", "epochs", "policies")
"""Keys of a plan's file beside these options."""
MOST_JOBS = 8
"""Processes that ``--jobs 0`` starts at most: each takes about a gigabyte."""


@dataclass(frozen=True, kw_only=True)
class StudyEvaluation(MeasureOptions):
    """Options of the evaluation."""

    def on(self, store: Path, split: Literal["val", "test"]) -> EvaluateOptions:
        """Return the options by which a run is measured on a split of a store."""
        return EvaluateOptions(data=store, split=split, **asdict(self))


@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """Options of a study as a whole; the plan names its models."""

    data: tuple[Path, ...]
    """Stores: fine-tuning and evaluation use the first; pretraining and pseudo-labels use all."""
    out: Path
    """Study folder; an unfinished study is resumed."""
    jobs: int = 1
    """Runs at the same time, each in its own process; 1 uses this process, 0 one for each GPU or
    core."""
    backbone: str = "resnet18"
    """timm's name of the network, for models that name none."""
    fractions: tuple[float, ...] = (0.1, 0.5, 1.0)
    """Fractions of the training patients whose labels are used."""
    seeds: int = 1
    """Runs of each model at each fraction, each with its own seed and labelled subset."""
    seed: int = 0
    """First seed."""
    learning_rates: tuple[float, ...] = (5e-4,)
    """Peak learning rates that the first seed of every model tries; validation films choose."""
    reference: str | None = None
    """Model that every other is compared with; by default the first from random weights."""
    annotations: tuple[Path, ...] = ()
    """Folders with masks or boxes of the first store's findings, to score localisation."""
    evaluation: StudyEvaluation = field(default_factory=StudyEvaluation)
    """Options of the evaluation."""

    def __post_init__(self) -> None:
        """Take a text for a path and a single value for a list.

        Raises:
            TypeError: A path or list is something else.
        """
        take_fields(self)
