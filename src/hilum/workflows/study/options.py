"""What a study can be told: models, shares of labels, seeds, budget; light to import, the help reads it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from hilum.errors import OptionError
from hilum.options import take_fields
from hilum.workflows.evaluate.options import EvaluateOptions

MOST_JOBS = 8
"""Worker processes at most that ``--jobs 0`` starts: each takes about a gigabyte."""


@dataclass(frozen=True, kw_only=True)
class StudyEvaluation:
    """How every model is measured."""

    min_positives: int = 20
    """Findings with fewer positive patients are left out of the means."""
    resamples: int = 2000
    """Bootstrap resamples of the patients behind each interval."""
    seed: int = 0
    """Seed of the bootstrap."""
    prevalence: float | None = None
    """Share of films with a finding where models are to be used, such as 0.05: gives the predictive
    values there."""
    age_bands: tuple[int, ...] = (40, 60, 80)
    """Years at which a new band of ages begins, for the subgroups."""
    subgroup_patients: int = 20
    """Patients with a finding, and without, that a subgroup needs to score it."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            OptionError: An option lies outside its range.
            TypeError: A path or list is something else.
        """
        take_fields(self)
        self.on(Path(), "test")

    def on(self, store: Path, split: Literal["val", "test"]) -> EvaluateOptions:
        """Return how a run is measured on a part of a store."""
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
        """Refuse values that cannot work.

        Raises:
            OptionError: An option lies outside its range.
            TypeError: A path or list is something else.
        """
        take_fields(self)
        for name, least in {"jobs": 0, "seeds": 1, "seed": 0}.items():
            refuse_value_below(f"--{name}", getattr(self, name), least)
        refuse_fractions("--fractions", self.fractions)
        refuse_repeated("--learning-rates", self.learning_rates)
        for rate in self.learning_rates:
            if not 0 < rate < float("inf"):
                raise OptionError(
                    f"--learning-rates has {rate:g}: allowed are values above 0, such as 0.001."
                )


def refuse_fractions(key: str, values: Sequence[float]) -> None:
    """Raise an OptionError unless there are some, all are shares above 0 to 1, and each is given once.

    >>> refuse_fractions("--fractions", [0.1, 1.0])
    """
    refuse_repeated(key, values)
    for value in values:
        if not 0 < value <= 1:
            raise OptionError(f"{key} has {value:g}: allowed is above 0 to 1, such as 0.1.")


def refuse_epochs(key: str, epochs: Mapping[float, int]) -> None:
    """Raise an OptionError unless shares of the labels and passes over them are possible."""
    if epochs:
        refuse_fractions(key, list(epochs))
    for fraction, passes in epochs.items():
        refuse_value_below(f"{key}.{fraction:g}", passes, 1)


def refuse_unused(key: str, epochs: Mapping[float, int], shares: Iterable[float]) -> None:
    """Raise an OptionError where epochs are given for a fraction of the labels that nothing is trained on."""
    known = sorted(shares)
    for fraction in epochs:
        if fraction not in known:
            allowed = ", ".join(f"{share:g}" for share in known)
            raise OptionError(
                f"{key} has {fraction:g}, a share that nothing is trained on: allowed are {allowed}."
            )


def refuse_repeated(key: str, values: Sequence[Any]) -> None:
    """Raise an OptionError where no value is given, or one is given twice."""
    if not values:
        raise OptionError(f"{key} is empty: give at least one.")
    for place, value in enumerate(values):
        if value in values[:place]:
            raise OptionError(f"{key} has {value} twice: give it once.")


def refuse_value_below(key: str, value: int | None, least: int) -> None:
    """Raise an OptionError where a key's value lies below ``least``; None is let through."""
    if value is not None and value < least:
        raise OptionError(f"{key} is {value}: allowed is {least} or more.")
