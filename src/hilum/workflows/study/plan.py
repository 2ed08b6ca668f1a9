"""The plan of a study: its models, templates of every stage, and what makes a plan impossible."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hilum.errors import OptionError, choose
from hilum.labels import MULTICLASS, POLICIES
from hilum.methods import METHODS
from hilum.options import take_fields
from hilum.workflows.pseudo_label.options import PseudoLabelOptions
from hilum.workflows.study.options import (
    StudyOptions,
    refuse_epochs,
    refuse_fractions,
    refuse_repeated,
    refuse_unused,
    refuse_value_below,
)
from hilum.workflows.train.options import FinetuneOptions, PretrainOptions


@dataclass(frozen=True, kw_only=True)
class StudyModel:
    """One row of a study: where a model starts from, and what it has of its own."""

    pretrain: str | None = None
    """Method that it is pretrained by within the study."""
    init: str | None = None
    """Weights to start from: random, imagenet, a run folder, or a file; of a pretraining what that
    starts from."""
    self_train: str | None = None
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
    """The same for single shares of the labels: what a config's ``epochs`` says where it is a
    block."""
    pretrain_epochs: int | None = None
    """Passes over the films without labels; the study's unless given."""

    def __post_init__(self) -> None:
        """Take a text for a path and a single value for a list.

        Raises:
            TypeError: A path or list is something else.
        """
        take_fields(self)

    def refuse_wrong(self, name: str) -> None:
        """Check what the model says of itself.

        Raises:
            OptionError: It starts from nothing, or a value is not allowed.
        """
        where = f"models.{name}"
        if self.self_train is not None:
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
            refuse_value_below(f"{where}.{key}", getattr(self, key), 1)
        refuse_epochs(f"{where}.epochs", dict(self.epochs_at))
        if self.pretrain_epochs is not None and self.pretrain is None:
            raise OptionError(
                f"{where}.pretrain_epochs is given without {where}.pretrain: name a method."
            )
        if self.fractions is not None:
            refuse_fractions(f"{where}.fractions", self.fractions)

    def _refuse_own_start(self, where: str) -> None:
        """Raise an OptionError where a model that is grown has what the model that it grows settles."""
        settled = {
            "pretrain": self.pretrain,
            "init": self.init,
            "backbone": self.backbone,
            "freeze": self.freeze,
        }
        for key, value in settled.items():
            if value:
                raise OptionError(
                    f"{where} has {key} beside grow: the model that it grows says that; leave it out."
                )


@dataclass(frozen=True, kw_only=True)
class PolicyComparison:
    """Which policies for uncertain labels are compared, by which model, on which share of the labels."""

    model: str
    """Name of a model."""
    fraction: float = 1.0
    """Share of the labels."""
    compare: tuple[str, ...] = tuple(POLICIES)
    """Policies; the others are compared with the first."""

    def __post_init__(self) -> None:
        """Take a text for a path and a single value for a list.

        Raises:
            TypeError: A path or list is something else.
        """
        take_fields(self)

    def refuse_wrong(self, models: Iterable[str]) -> None:
        """Check that model, share and policies are known.

        Raises:
            OptionError: One is not.
        """
        choose(self.model, dict.fromkeys(models), "model of policies.model")
        refuse_fractions("policies.fraction", [self.fraction])
        refuse_repeated("policies.compare", self.compare)
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
        refuse_impossible_self_training(self)
        self._refuse_unused_epochs()
        if self.options.reference is not None:
            choose(self.options.reference, self.models, "model of --reference")
        if self.policies is not None:
            self.policies.refuse_wrong(
                name for name, model in self.models.items() if model.self_train is None
            )
            self._refuse_fixed_policies()

    def _refuse_unused_epochs(self) -> None:
        """Raise an OptionError where passes are given for a share of the labels that nothing is trained on."""
        policies = self.policies
        every = {share for model in self.models for share in self.fractions_of(model)}
        every |= set() if policies is None else {policies.fraction}
        refuse_unused("epochs", self.epochs, every)
        for name, model in self.models.items():
            more = {policies.fraction} if policies is not None and policies.model == name else set()
            refuse_unused(
                f"models.{name}.epochs", dict(model.epochs_at), {*self.fractions_of(name), *more}
            )

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
        random = (
            name
            for name, model in self.models.items()
            if model.init == "random" and model.pretrain is None
        )
        return self.options.reference or next(random, next(iter(self.models)))

    def fractions_of(self, name: str) -> tuple[float, ...]:
        """Return a model's shares of the labels."""
        model = self.models[name]
        if model.fractions is not None:
            return model.fractions
        return (
            self.options.fractions
            if model.self_train is None
            else self_training_fractions(self, model.self_train)
        )

    def seeds_of(self, name: str) -> int:
        """Return how often a model is trained."""
        model = self.models[name]
        return model.seeds or (
            self.options.seeds if model.self_train is None else self.seeds_of(model.self_train)
        )

    def epochs_of(self, name: str, fraction: float) -> int:
        """Return a model's passes over that share of the labelled films; of a grown one those of each round."""
        model = self.models[name]
        own = dict(model.epochs_at).get(fraction, model.epochs)
        if model.self_train is not None:
            return (
                own or self.self_training.train.epochs or self.epochs_of(model.self_train, fraction)
            )
        return own or self.epochs.get(fraction, self.finetune.train.epochs)

    @property
    def self_training(self) -> PseudoLabelOptions:
        """Return how models are grown; where from and to is set for each."""
        return self.pseudo_label or PseudoLabelOptions(data=(), out=Path())

    def rounds_of(self, name: str) -> int:
        """Return how many rounds of pseudo-labels a grown model has at most."""
        return self.models[name].rounds or self.self_training.rounds

    def pretrain_epochs_of(self, name: str) -> int:
        """Return a pretrained model's passes over the films without labels."""
        model = self.models[name]
        return model.pretrain_epochs or self.pretrain[str(model.pretrain)].options.train.epochs


def self_training_fractions(plan: StudyPlan, start: str) -> tuple[float, ...]:
    """Return the shares of a model's labels that leave films to label: a further store leaves some of any."""
    further = len(plan.options.data) > 1
    return tuple(share for share in plan.fractions_of(start) if share < 1 or further)


def refuse_impossible_self_training(plan: StudyPlan) -> None:
    """Check the models that are grown.

    Raises:
        OptionError: One grows an unknown model, or one that is grown itself, or asks for shares or
            seeds that its start lacks, or uncertain labels are a class of their own.
    """
    whole = {name: name for name, model in plan.models.items() if model.self_train is None}
    for name, model in plan.models.items():
        if model.self_train is not None:
            choose(model.self_train, whole, f"model of models.{name}.grow")
            _refuse_policy(plan, name)
            _refuse_seeds(plan, name, model.self_train)
            _refuse_fractions(plan, name, model.self_train)


def _refuse_policy(plan: StudyPlan, name: str) -> None:
    labels = plan.finetune.labels
    if MULTICLASS in (labels.uncertain, *labels.per_finding.values()):
        raise OptionError(
            f"models.{name} grows a model under the policy multiclass, which no pseudo-label fits: "
            "choose another finetune.labels.uncertain."
        )


def _refuse_seeds(plan: StudyPlan, name: str, start: str) -> None:
    wanted, there = plan.seeds_of(name), plan.seeds_of(start)
    if wanted > there:
        raise OptionError(
            f"models.{name}.seeds is {wanted}: allowed are those of {start}, {there} at most."
        )


def _refuse_fractions(plan: StudyPlan, name: str, start: str) -> None:
    allowed = self_training_fractions(plan, start)
    if not allowed:
        raise OptionError(
            f"models.{name} has nothing to label, as {start} learns from all labels: give that a share below 1, "
            "such as 0.1, or the study a further store."
        )
    for fraction in plan.fractions_of(name):
        if fraction not in allowed:
            said = ", ".join(f"{share:g}" for share in allowed)
            raise OptionError(
                f"models.{name}.fractions has {fraction:g}: {start} can be grown at {said}."
            )
