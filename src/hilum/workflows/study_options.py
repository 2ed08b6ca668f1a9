"""What a study can be told: models, shares of labels, seeds, budget; light to import, the help reads it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from hilum.errors import OptionError, choose
from hilum.labels import POLICIES
from hilum.methods import METHODS
from hilum.workflows.options import EvaluateOptions, FinetuneOptions, PretrainOptions
from hilum.workflows.pseudo_label_options import PseudoLabelOptions
from hilum.workflows.study_growth import growing_fractions, refuse_impossible_growth

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
    """Share of films with a finding where models are to be used, such as 0.05: gives the predictive values there."""
    age_bands: tuple[int, ...] = (40, 60, 80)
    """Years at which a new band of ages begins, for the subgroups."""
    subgroup_patients: int = 20
    """Patients with a finding, and without, that a subgroup needs to score it."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            OptionError: An option lies outside its range.
        """
        self.on(Path(), "test")

    def on(self, store: Path, split: Literal["val", "test"]) -> EvaluateOptions:
        """Return how a run is measured on a part of a store."""
        return EvaluateOptions(data=store, split=split, **asdict(self))


@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """What to study, on what and where to; the config names the models."""

    data: tuple[Path, ...]
    """Stores: the first is fine-tuned on and measured, further ones give films to pretraining and pseudo-labels."""
    out: Path
    """Study folder; an unfinished study is continued."""
    jobs: int = 1
    """Runs at the same time, each in a process of its own; 1 takes this process, 0 one for each GPU or core."""
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
    truth: tuple[Path, ...] = ()
    """Folders in which masks or boxes of the first store's findings lie, by which localisation is scored."""
    evaluation: StudyEvaluation = field(default_factory=StudyEvaluation)
    """How every model is measured."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            OptionError: An option lies outside its range.
        """
        for name, least in {"jobs": 0, "seeds": 1, "seed": 0}.items():
            _refuse_below(f"--{name}", getattr(self, name), least)
        refuse_fractions("--fractions", self.fractions)
        _refuse_repeated("--learning_rates", self.learning_rates)
        for rate in self.learning_rates:
            if not 0 < rate < float("inf"):
                raise OptionError(f"--learning_rates has {rate:g}: allowed are values above 0, such as 0.001.")


@dataclass(frozen=True, kw_only=True)
class StudyModel:
    """One row of a study: where a model starts from, and what it has of its own."""

    pretrain: str | None = None
    """Method that it is pretrained by within the study."""
    init: str | None = None
    """Weights to start from: random, imagenet, a run folder, or a file; of a pretraining what that starts from."""
    grow: str | None = None
    """Model whose fine-tunings label films, and are trained again with them for some rounds."""
    rounds: int | None = None
    """Rounds of that at most; those of the plan's pseudo_label unless given."""
    backbone: str | None = None
    """timm's name of its network; the study's unless given."""
    fractions: tuple[float, ...] | None = None
    """Shares of the labels; the study's unless given."""
    seeds: int | None = None
    """Trainings; the study's unless given."""
    freeze: bool = False
    """Train the output layer only."""
    epochs: int | None = None
    """Passes over the labelled films; the study's unless given."""
    epochs_at: tuple[tuple[float, int], ...] = ()
    """The same for single shares of the labels: what a config's ``epochs`` says where it is a block."""
    pretrain_epochs: int | None = None
    """Passes over the films without labels; the study's unless given."""

    def refuse_wrong(self, name: str) -> None:
        """Check what the model says of itself.

        Raises:
            OptionError: It starts from nothing, or a value is not allowed.
        """
        where = f"models.{name}"
        if self.grow is not None:
            self._refuse_own_start(where)
        elif self.rounds is not None:
            raise OptionError(f"{where}.rounds is given without {where}.grow: name a model.")
        elif self.pretrain is None and self.init is None:
            raise OptionError(
                f"{where} starts from nothing: give pretrain: METHOD, init: random, imagenet or a run, or grow: MODEL."
            )
        if self.pretrain is not None:
            choose(self.pretrain, METHODS, f"method of {where}.pretrain")
        for key in ("seeds", "epochs", "pretrain_epochs", "rounds"):
            _refuse_below(f"{where}.{key}", getattr(self, key), 1)
        refuse_epochs(f"{where}.epochs", dict(self.epochs_at))
        if self.pretrain_epochs is not None and self.pretrain is None:
            raise OptionError(f"{where}.pretrain_epochs is given without {where}.pretrain: name a method.")
        if self.fractions is not None:
            refuse_fractions(f"{where}.fractions", self.fractions)

    def _refuse_own_start(self, where: str) -> None:
        """Raise an OptionError where a model that is grown has what the model that it grows settles."""
        settled = {"pretrain": self.pretrain, "init": self.init, "backbone": self.backbone, "freeze": self.freeze}
        for key, value in settled.items():
            if value:
                raise OptionError(f"{where} has {key} beside grow: the model that it grows says that; leave it out.")


@dataclass(frozen=True, kw_only=True)
class PolicyComparison:
    """Which policies for uncertain labels are compared, by which model, on which share of the labels."""

    model: str
    """Name of a model."""
    fraction: float = 1.0
    """Share of the labels."""
    compare: tuple[str, ...] = tuple(POLICIES)
    """Policies; the others are compared with the first."""

    def refuse_wrong(self, models: Iterable[str]) -> None:
        """Check that model, share and policies are known.

        Raises:
            OptionError: One is not.
        """
        choose(self.model, dict.fromkeys(models), "model of policies.model")
        refuse_fractions("policies.fraction", [self.fraction])
        _refuse_repeated("policies.compare", self.compare)
        for policy in self.compare:
            choose(policy, POLICIES, "policy of policies.compare")


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """How one method pretrains."""

    options: PretrainOptions
    method: Any
    """An instance of the method's ``Options``."""


@dataclass(frozen=True, kw_only=True)
class StudyPlan:
    """A whole study; templates hold what all runs share."""

    options: StudyOptions
    models: dict[str, StudyModel]
    finetune: FinetuneOptions
    """Of every fine-tuning; start, share, draw, seed and rate are set for each."""
    pretrain: dict[str, Pretraining] = field(default_factory=dict)
    """Of every method that a model names."""
    pseudo_label: PseudoLabelOptions | None = None
    """Of every model that is grown; the command's own unless given."""
    epochs: dict[float, int] = field(default_factory=dict)
    """Passes over the labelled films for a share of them, before those of the template."""
    policies: PolicyComparison | None = None

    def __post_init__(self) -> None:
        """Refuse a plan that cannot work, before anything runs.

        Raises:
            OptionError: What is wrong, by its key.
        """
        if not self.models:
            raise OptionError("models is empty: name at least one, such as MoCo: {pretrain: moco}.")
        for name, model in self.models.items():
            model.refuse_wrong(name)
        refuse_epochs("epochs", self.epochs)
        refuse_impossible_growth(self)
        self._refuse_unused_epochs()
        if self.options.reference is not None:
            choose(self.options.reference, self.models, "model of --reference")
        if self.policies is not None:
            self.policies.refuse_wrong(name for name, model in self.models.items() if model.grow is None)
            self._refuse_fixed_policies()

    def _refuse_unused_epochs(self) -> None:
        """Raise an OptionError where passes are given for a share of the labels that nothing is trained on."""
        policies = self.policies
        every = {share for model in self.models for share in self.fractions_of(model)}
        every |= set() if policies is None else {policies.fraction}
        _refuse_unused("epochs", self.epochs, every)
        for name, model in self.models.items():
            more = {policies.fraction} if policies is not None and policies.model == name else set()
            _refuse_unused(f"models.{name}.epochs", dict(model.epochs_at), {*self.fractions_of(name), *more})

    def _refuse_fixed_policies(self) -> None:
        """Raise an OptionError where findings have policies of their own, which those compared would not change."""
        own = self.finetune.labels.per_finding
        if own:
            named = ", ".join(own)
            raise OptionError(
                f"policies compares what finetune.labels.per_finding fixes ({named}): leave out one of the two."
            )

    @property
    def reference(self) -> str:
        """Return the model that every other is compared with."""
        random = (name for name, model in self.models.items() if model.init == "random" and model.pretrain is None)
        return self.options.reference or next(random, next(iter(self.models)))

    def fractions_of(self, name: str) -> tuple[float, ...]:
        """Return a model's shares of the labels."""
        model = self.models[name]
        if model.fractions is not None:
            return model.fractions
        return self.options.fractions if model.grow is None else growing_fractions(self, model.grow)

    def seeds_of(self, name: str) -> int:
        """Return how often a model is trained."""
        model = self.models[name]
        return model.seeds or (self.options.seeds if model.grow is None else self.seeds_of(model.grow))

    def epochs_of(self, name: str, fraction: float) -> int:
        """Return a model's passes over that share of the labelled films; of a grown one those of each round."""
        model = self.models[name]
        own = dict(model.epochs_at).get(fraction, model.epochs)
        if model.grow is not None:
            return own or self.growth.train.epochs or self.epochs_of(model.grow, fraction)
        return own or self.epochs.get(fraction, self.finetune.train.epochs)

    @property
    def growth(self) -> PseudoLabelOptions:
        """Return how models are grown; where from and to is set for each."""
        return self.pseudo_label or PseudoLabelOptions(data=(), out=Path())

    def rounds_of(self, name: str) -> int:
        """Return how many rounds of pseudo-labels a grown model has at most."""
        return self.models[name].rounds or self.growth.rounds

    def pretrain_epochs_of(self, name: str) -> int:
        """Return a pretrained model's passes over the films without labels."""
        model = self.models[name]
        return model.pretrain_epochs or self.pretrain[str(model.pretrain)].options.train.epochs


def refuse_fractions(key: str, values: Sequence[float]) -> None:
    """Raise an OptionError unless there are some, all are shares above 0 to 1, and each is given once.

    >>> refuse_fractions("--fractions", [0.1, 1.0])
    """
    _refuse_repeated(key, values)
    for value in values:
        if not 0 < value <= 1:
            raise OptionError(f"{key} has {value:g}: allowed is above 0 to 1, such as 0.1.")


def refuse_epochs(key: str, epochs: Mapping[float, int]) -> None:
    """Raise an OptionError unless shares of the labels and passes over them are possible."""
    if epochs:
        refuse_fractions(key, list(epochs))
    for fraction, passes in epochs.items():
        _refuse_below(f"{key}.{fraction:g}", passes, 1)


def _refuse_unused(key: str, epochs: Mapping[float, int], shares: Iterable[float]) -> None:
    known = sorted(shares)
    for fraction in epochs:
        if fraction not in known:
            allowed = ", ".join(f"{share:g}" for share in known)
            raise OptionError(f"{key} has {fraction:g}, a share that nothing is trained on: allowed are {allowed}.")


def _refuse_repeated(key: str, values: Sequence[Any]) -> None:
    if not values:
        raise OptionError(f"{key} is empty: give at least one.")
    for place, value in enumerate(values):
        if value in values[:place]:
            raise OptionError(f"{key} has {value} twice: give it once.")


def _refuse_below(key: str, value: int | None, least: int) -> None:
    if value is not None and value < least:
        raise OptionError(f"{key} is {value}: allowed is {least} or more.")
