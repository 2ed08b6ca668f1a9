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
"""Worker processes at most that ``--jobs 0`` starts: each takes about a gigabyte."""


@dataclass(frozen=True, kw_only=True)
class StudyEvaluation(MeasureOptions):
    """How every model is measured."""

    def on(self, store: Path, split: Literal["val", "test"]) -> EvaluateOptions:
        """Return the options by which a run is measured on a split of a store."""
        return EvaluateOptions(data=store, split=split, **asdict(self))


@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """What to study, on what and where to; the config names the models."""

    data: tuple[Path, ...]
    """Stores: the first is fine-tuned on and measured, further ones give films to pretraining and
    pseudo-labels."""
    out: Path
    """Study folder; an unfinished study is continued."""
    jobs: int = 1
    """Runs at the same time, each in a process of its own; 1 takes this process, 0 one for each GPU
    or core."""
    backbone: str = "resnet18"
    """timm's name of the network of models that name none."""
    fractions: tuple[float, ...] = (0.1, 0.5, 1.0)
    """Shares of the training patients whose labels are used."""
    seeds: int = 1
    """Trainings of each model with other seeds, each with another draw of the share."""
    seed: int = 0
    """First training seed."""
    learning_rates: tuple[float, ...] = (5e-4,)
    """Peak rates that the first seed of every model tries; validation films choose one."""
    reference: str | None = None
    """Model that every other is compared with; the first from random weights unless given."""
    annotations: tuple[Path, ...] = ()
    """Folders in which masks or boxes of the first store's findings lie, by which localisation is
    scored."""
    evaluation: StudyEvaluation = field(default_factory=StudyEvaluation)
    """How every model is measured."""

    def __post_init__(self) -> None:
        """Take a text for a path and a single value for a list.

        Raises:
            TypeError: A path or list is something else.
        """
        take_fields(self)
