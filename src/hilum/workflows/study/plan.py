"""The plan of a study: its models, the options of all runs, and every rule of a plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hilum.errors import OptionError, choose
from hilum.labels import MULTICLASS, POLICIES
from hilum.methods import METHODS
from hilum.options import take_fields
from hilum.workflows.pseudo_label.options import PseudoLabelOptions
from hilum.workflows.study.options import StudyOptions
from hilum.workflows.train.options import FinetuneOptions, PretrainOptions

Epochs = int | dict[float, int]
"""Epochs for every fraction of the labels, or by fraction."""


@dataclass(frozen=True, kw_only=True)
class StudyModel:
    """One row of a study: its initial weights, and what differs from the rest of the study."""

    pretrain: str | None = None
    """Method that pretrains it within the study."""
    init: str | None = None
    """Initial weights: random, imagenet, a run folder, or a file; of the pretraining where there is
    one."""
    self_train: str | None = None
    """Model whose fine-tuned runs label more films, and are trained again on them."""
    rounds: int | None = None
    """Rounds of self-training at most; those of the plan's pseudo_label unless given."""
    backbone: str | None = None
    """timm's name of its network; the study's unless given."""
    fractions: tuple[float, ...] | None = None
    """Fractions of the labels; the study's unless given."""
    seeds: int | None = None
    """Runs with different seeds; the study's unless given."""
    freeze: bool = False
    """Train the output layer only."""
    epochs: Epochs | None = None
    """Epochs over the labelled films, one number or by fraction; the study's unless given."""
    pretrain_epochs: int | None = None
    """Epochs of pretraining; the study's unless given."""

    def __post_init__(self) -> None:
        """Take a text for a path and a single value for a list.

        Raises:
            TypeError: A path or list is something else.
        """
        take_fields(self)


@dataclass(frozen=True, kw_only=True)
class PolicyComparison:
    """A comparison of policies for uncertain labels, by one model on one fraction of the labels."""

    model: str
    """Name of a model."""
    fraction: float = 1.0
    """Fraction of the labels."""
    compare: tuple[str, ...] = tuple(POLICIES)
    """Policies; the others are compared with the first."""

    def __post_init__(self) -> None:
        """Take a text for a path and a single value for a list.

        Raises:
            TypeError: A path or list is something else.
        """
        take_fields(self)


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """The pretraining by one method."""

    options: PretrainOptions
    method: Any
    """An instance of the method's ``Options``."""


@dataclass(frozen=True, kw_only=True)
class StudyPlan:
    """A whole study. ``finetune``, ``pretrain`` and ``pseudo_label`` hold options that all such runs share."""

    options: StudyOptions
    models: dict[str, StudyModel]
    finetune: FinetuneOptions
    """For every fine-tuning; its init, fraction, subset seed, seed and learning rate are set for
    each run."""
    pretrain: dict[str, Pretraining] = field(default_factory=dict)
    """By method, for every method that a model names."""
    pseudo_label: PseudoLabelOptions | None = None
    """For every model with self_train; the command's defaults unless given."""
    epochs: Epochs = field(default_factory=dict)
    """Epochs over the labelled films, one number or by fraction; before those of ``finetune``."""
    policies: PolicyComparison | None = None

    def __post_init__(self) -> None:
        """Refuse a plan that cannot work.

        Raises:
            OptionError: See ``validate``.
        """
        validate(self)

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
        """Return a model's fractions of the labels."""
        model = self.models[name]
        if model.fractions is not None:
            return model.fractions
        if model.self_train is not None:
            return self_training_fractions(self, model.self_train)
        return self.options.fractions

    def seeds_of(self, name: str) -> int:
        """Return how many runs a model has at each fraction."""
        model = self.models[name]
        return model.seeds or (
            self.options.seeds if model.self_train is None else self.seeds_of(model.self_train)
        )

    def epochs_of(self, name: str, fraction: float) -> int:
        """Return a model's epochs at a fraction of the labels, of each round with self_train."""
        model = self.models[name]
        own = epochs_at(model.epochs, fraction)
        if model.self_train is not None:
            common = self.self_training.train.epochs
            return own or common or self.epochs_of(model.self_train, fraction)
        return own or epochs_at(self.epochs, fraction) or self.finetune.train.epochs

    @property
    def self_training(self) -> PseudoLabelOptions:
        """Return the options of self-training; start and output folder are set for each run."""
        return self.pseudo_label or PseudoLabelOptions(data=(), out=Path())

    def rounds_of(self, name: str) -> int:
        """Return how many rounds of self-training a model has at most."""
        return self.models[name].rounds or self.self_training.rounds

    def pretrain_epochs_of(self, name: str) -> int | None:
        """Return the epochs of a model's pretraining, None where its length is given in crops."""
        model = self.models[name]
        return model.pretrain_epochs or self.pretrain[str(model.pretrain)].options.train.epochs


def epochs_at(epochs: Epochs | None, fraction: float) -> int | None:
    """Return the epochs at a fraction of the labels, None where they are not given.

    >>> epochs_at(5, 0.1), epochs_at({1.0: 3}, 0.1)
    (5, None)
    """
    return epochs.get(fraction) if isinstance(epochs, dict) else epochs


def self_training_fractions(plan: StudyPlan, start: str) -> tuple[float, ...]:
    """Return the fractions of a model that leave films to label; all with a further store."""
    further = len(plan.options.data) > 1
    return tuple(fraction for fraction in plan.fractions_of(start) if fraction < 1 or further)


def validate(plan: StudyPlan) -> None:
    """Check every rule of a study, before anything runs.

    Raises:
        OptionError: The first rule that is broken: the key, its value and what is allowed.
    """
    options, policies = plan.options, plan.policies
    for key, value, least in (
        ("--jobs", options.jobs, 0), ("--seeds", options.seeds, 1), ("--seed", options.seed, 0),
    ):  # fmt: skip
        _at_least(key, value, least)
    _check_fractions("--fractions", options.fractions)
    _check_given_once("--learning-rates", options.learning_rates)
    for rate in options.learning_rates:
        if not 0 < rate < float("inf"):
            raise OptionError(
                f"--learning-rates has {rate:g}: allowed are values above 0, such as 0.001."
            )
    if not plan.models:
        raise OptionError("models is empty: name at least one, such as MoCo: {pretrain: moco}.")
    for name, model in plan.models.items():
        _check_model(f"models.{name}", model)
    for name, model in plan.models.items():
        if model.self_train is not None:
            _check_self_training(plan, name, model.self_train)
    _check_epochs("epochs", plan.epochs)
    _check_epochs_are_used(plan)
    if options.reference is not None:
        choose(options.reference, plan.models, "model of --reference")
    if policies is not None:
        trained = [name for name, model in plan.models.items() if model.self_train is None]
        choose(policies.model, dict.fromkeys(trained), "model of policies.model")
        _check_fractions("policies.fraction", [policies.fraction])
        _check_given_once("policies.compare", policies.compare)
        for policy in policies.compare:
            choose(policy, POLICIES, "policy of policies.compare")
        if fixed := ", ".join(plan.finetune.labels.per_finding):
            raise OptionError(
                f"policies compares what finetune.labels.per_finding fixes ({fixed}): "
                "leave out one of the two."
            )


def _check_model(key: str, model: StudyModel) -> None:
    """Check a model by itself."""
    if model.self_train is not None:
        settled = {
            "pretrain": model.pretrain,
            "init": model.init,
            "backbone": model.backbone,
            "freeze": model.freeze,
        }
        for name, value in settled.items():
            if value:
                raise OptionError(
                    f"{key} has {name} beside self_train: that model's own is used; leave it out."
                )
    elif model.rounds is not None:
        raise OptionError(f"{key}.rounds is given without {key}.self_train: name a model.")
    elif model.pretrain is None and model.init is None:
        raise OptionError(
            f"{key} starts from nothing: give pretrain: METHOD, init: random, imagenet or a run, "
            "or self_train: MODEL."
        )
    if model.pretrain is not None:
        choose(model.pretrain, METHODS, f"method of {key}.pretrain")
    elif model.pretrain_epochs is not None:
        raise OptionError(f"{key}.pretrain_epochs is given without {key}.pretrain: name a method.")
    for name in ("seeds", "pretrain_epochs", "rounds"):
        _at_least(f"{key}.{name}", getattr(model, name), 1)
    _check_epochs(f"{key}.epochs", model.epochs)
    if model.fractions is not None:
        _check_fractions(f"{key}.fractions", model.fractions)


def _check_self_training(plan: StudyPlan, name: str, start: str) -> None:
    """Check a model that self-trains another: its start, fractions and seeds."""
    whole = {other: other for other, model in plan.models.items() if model.self_train is None}
    choose(start, whole, f"model of models.{name}.self_train")
    labels = plan.finetune.labels
    if MULTICLASS in (labels.uncertain, *labels.per_finding.values()):
        raise OptionError(
            f"models.{name} self-trains a model under the policy multiclass, which no "
            "pseudo-label fits: choose another finetune.labels.uncertain."
        )
    seeds, most = plan.seeds_of(name), plan.seeds_of(start)
    if seeds > most:
        raise OptionError(
            f"models.{name}.seeds is {seeds}: allowed are those of {start}, {most} at most."
        )
    allowed = self_training_fractions(plan, start)
    if not allowed:
        raise OptionError(
            f"models.{name} has nothing to label, as {start} learns from all labels: "
            "give that a fraction below 1, such as 0.1, or the study a further store."
        )
    for fraction in plan.fractions_of(name):
        if fraction not in allowed:
            listed = ", ".join(f"{value:g}" for value in allowed)
            raise OptionError(
                f"models.{name}.fractions has {fraction:g}: allowed are {listed}, "
                f"at which {start} leaves films to label."
            )


def _check_epochs_are_used(plan: StudyPlan) -> None:
    """Refuse epochs for a fraction of the labels that nothing is trained on."""
    policies = plan.policies
    of_model = {name: {*plan.fractions_of(name)} for name in plan.models}
    if policies is not None and policies.model in of_model:
        of_model[policies.model].add(policies.fraction)
    given = {"epochs": (plan.epochs, set().union(*of_model.values()))}
    for name, model in plan.models.items():
        given[f"models.{name}.epochs"] = (model.epochs or {}, of_model[name])
    for key, (epochs, fractions) in given.items():
        for fraction in epochs if isinstance(epochs, dict) else ():
            if fraction not in fractions:
                allowed = ", ".join(f"{value:g}" for value in sorted(fractions))
                raise OptionError(
                    f"{key} has {fraction:g}, a fraction that nothing is trained on: "
                    f"allowed are {allowed}."
                )


def _check_epochs(key: str, epochs: Epochs | None) -> None:
    if isinstance(epochs, dict):
        if epochs:
            _check_fractions(key, list(epochs))
        for fraction, number in epochs.items():
            _at_least(f"{key}.{fraction:g}", number, 1)
    else:
        _at_least(key, epochs, 1)


def _check_fractions(key: str, values: Sequence[float]) -> None:
    _check_given_once(key, values)
    for value in values:
        if not 0 < value <= 1:
            raise OptionError(f"{key} has {value:g}: allowed is above 0 to 1, such as 0.1.")


def _check_given_once(key: str, values: Sequence[Any]) -> None:
    if not values:
        raise OptionError(f"{key} is empty: give at least one.")
    for position, value in enumerate(values):
        if value in values[:position]:
            raise OptionError(f"{key} has {value} twice: give it once.")


def _at_least(key: str, value: int | None, least: int) -> None:
    if value is not None and value < least:
        raise OptionError(f"{key} is {value}: allowed is {least} or more.")
