"""Options of pretraining and fine-tuning; light to import, since the command line's help reads it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from hilum.classifier.options import LossOptions
from hilum.errors import OptionError
from hilum.labels import MULTICLASS, SELF_TRAIN, LabelOptions
from hilum.options import DEFAULT_FRACTION, refuse_below, take_fields
from hilum.training.monitor_options import MonitorOptions
from hilum.training.options import LoopOptions, TrainOptions
from hilum.workflows.train.labelling_options import PseudoOptions


@dataclass(frozen=True, kw_only=True)
class FinetuneTrainOptions(LoopOptions):
    """How long, how fast and how exactly to fine-tune."""

    epochs: int = 10
    """Epochs over the labelled films, at most."""
    lr: float = 5e-4
    """Peak learning rate: about 0.0005 for adamw, 0.01 for sgd."""
    weight_decay: float = 1e-2
    """Weight decay, decoupled in adamw; not applied to norms and biases."""
    schedule: Literal["cosine", "onecycle"] = "onecycle"
    """Learning rate: OneCycle, or warm-up then cosine to zero."""
    warmup: float = 0.3
    """Fraction of the steps in which the rate rises."""
    min_steps: int = 60
    """Least number of optimiser steps: where films are so few that the epochs give less, each epoch
    goes over them several times. 0 turns this off."""
    backbone_rate: float = 1.0
    """Learning rate of the backbone as a fraction of the output layer's; of pretrained weights only."""
    layer_decay: float = 1.0
    """Factor from each stage's learning rate to that of the stage before it; of pretrained weights
    only."""
    keep_norm: bool = False
    """Keep the batch-norm statistics of the initial weights; of pretrained weights only."""
    average: float = 0.0
    """Decay of a moving average of the weights, such as 0.99, which is validated and saved; 0 is
    none."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            OptionError: An option lies outside its range.
        """
        super().__post_init__()
        if self.min_steps < 0:
            raise OptionError(f"--train.min-steps is {self.min_steps}: allowed is 0 or more.")
        for name in ("backbone_rate", "layer_decay"):
            if not 0 < getattr(self, name) <= 1:
                raise OptionError(
                    f"--train.{name.replace('_', '-')} is {getattr(self, name)}: allowed is above 0 to 1."
                )
        if not 0 <= self.average < 1:
            raise OptionError(
                f"--train.average is {self.average}: allowed is 0 to below 1, such as 0.99."
            )


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Data, initial weights and output of a training run."""

    data: tuple[Path, ...]
    """Stores to train on; pretraining does not learn from their labels."""
    out: Path
    """Run folder; an unfinished run is resumed exactly."""
    init: str = "random"
    """Initial weights: random, imagenet, a run folder, or a file (safetensors or .pth)."""
    backbone: str | None = None
    """timm's name of the network; that of --init RUN, else resnet18."""
    allow_partial: bool = False
    """Take a weights file that lacks some of the network's tensors; what stays random is named."""
    devices: int = 1
    """Processes on this machine, each with its own GPU or an equal number of cores; each takes its
    own batches."""


@dataclass(frozen=True, kw_only=True)
class PretrainOptions(RunOptions):
    """Options of pretraining."""

    with_validation: bool = False
    """Train on validation films too; test films are never used."""
    stop_on_collapse: bool = False
    """Stop when the embeddings collapse (all films get nearly the same one); all is saved."""
    train: TrainOptions = field(default_factory=TrainOptions)
    """The training loop."""
    monitor: MonitorOptions = field(default_factory=MonitorOptions)
    """Monitoring of the embeddings."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            OptionError: An option lies outside its range.
            TypeError: A path or list is something else.
        """
        take_fields(self)
        refuse_below(self, {"devices": 1})
        if self.stop_on_collapse and self.monitor.every == 0:
            raise OptionError(
                "--stop-on-collapse needs monitoring, and --monitor.every is 0: allowed is 1 or more."
            )


@dataclass(frozen=True, kw_only=True)
class SoftTargetOptions:
    """Learning from films without labels by soft targets: the averaged model's probabilities."""

    ratio: int = 1
    """Films without labels in a step for each film with labels."""
    weight: float = 1.0
    """Weight of their loss relative to that of the labels."""
    starts: tuple[Path, ...] = ()
    """Further pretrained runs: a linear probe of each, fitted to the labels, gives the soft targets
    too, which are then the mean."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            OptionError: An option lies outside its range.
            TypeError: A path or list is something else.
        """
        take_fields(self)
        refuse_below(self, {"ratio": 1}, "soft-targets.")
        if not 0 < self.weight < float("inf"):
            raise OptionError(
                f"--soft-targets.weight is {self.weight}: allowed is above 0, such as 1."
            )


@dataclass(frozen=True, kw_only=True)
class FinetuneOptions(RunOptions):
    """Options of fine-tuning."""

    fraction: float = DEFAULT_FRACTION
    """Fraction of the training patients whose labels are used."""
    subset_seed: int = 0
    """Seed of the labelled subset; at one seed, smaller fractions lie within larger ones."""
    unlabelled: tuple[Path, ...] = ()
    """Stores whose training films are learnt from without their labels: with the labels of
    --pseudo-labels, else by soft targets of the averaged model. A store of --data is one for the
    films whose labels --fraction holds back."""
    pseudo_labels: Path | None = None
    """Table of pseudo-labels to train on too; where a film has a label that is used, the label counts."""
    freeze: bool = False
    """Train the output layer only."""
    probe_first: bool = False
    """Start the output layer as a linear probe of pretrained weights, and let validation choose the
    probe, the tuned network or the mean of their weights."""
    probe_scale: Literal["spread", "patient"] = "spread"
    """Scale of the features in that probe: the spread of each over the films, or also how much
    directions vary among the films of one patient, which mostly is no finding."""
    validation: Literal["split", "within"] = "split"
    """What chooses epoch and candidate: the films of the split's val, or cross-validation within the
    labelled patients, after which all of them are trained on."""
    folds: int = 5
    """Folds of the labelled patients in --validation within."""
    sampler: Literal["uniform", "weighted"] = "uniform"
    """Sampling of films: uniform, each once an epoch, or weighted, with replacement, by one over the
    prevalence of the rarest finding on a film."""
    calibrate: bool = True
    """Calibrate the probabilities: fit a scale and a shift of the logits on validation films."""
    patience: int = 5
    """Stop after that many epochs without a better mean AUROC on validation films; 0 never stops
    early."""
    labels: LabelOptions = field(default_factory=LabelOptions)
    """Targets of uncertain and unstated labels."""
    loss: LossOptions = field(default_factory=LossOptions)
    """The loss."""
    self_train: PseudoOptions = field(default_factory=PseudoOptions)
    """Pseudo-labels of uncertain labels under the policy self-train."""
    soft_targets: SoftTargetOptions = field(default_factory=SoftTargetOptions)
    """Learning from the films of --unlabelled without a table."""
    train: FinetuneTrainOptions = field(default_factory=FinetuneTrainOptions)
    """The training loop."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            OptionError: An option lies outside its range.
            TypeError: A path or list is something else.
        """
        take_fields(self)
        if not 0 < self.fraction <= 1:
            raise OptionError(
                f"--fraction is {self.fraction}: allowed is above 0 to 1, such as 0.1."
            )
        refuse_below(self, {"patience": 0, "subset_seed": 0, "devices": 1, "folds": 2})
        self._refuse_what_does_not_go_together()

    @property
    def by_patient(self) -> bool:
        """Whether the probe's features are scaled by how they vary within patients."""
        return self.probe_scale == "patient"

    @property
    def soft(self) -> bool:
        """Whether films without labels are learnt from by soft targets."""
        return bool(self.unlabelled) and self.pseudo_labels is None

    @property
    def further(self) -> tuple[Path, ...]:
        """The stores of --unlabelled to open; by soft targets one of --data may be named again."""
        own = {path.resolve() for path in self.data} if self.soft else set()
        return tuple(path for path in self.unlabelled if path.resolve() not in own)

    def _refuse_what_does_not_go_together(self) -> None:
        used = {self.labels.uncertain, *self.labels.per_finding.values()}
        if self.soft and not self.train.average:
            raise OptionError(
                f"--unlabelled is {self.unlabelled[0]}, whose films are scored by the moving average of the "
                "weights, and there is none: give --train.average, such as 0.99, or --pseudo-labels FILE."
            )
        if self.soft and used & {MULTICLASS, SELF_TRAIN}:
            raise OptionError(
                f"--unlabelled is given with the policy {', '.join(sorted(used & {MULTICLASS, SELF_TRAIN}))}: "
                "choose another --labels.uncertain, or give --pseudo-labels FILE."
            )
        if self.probe_first and MULTICLASS in used:
            raise OptionError(
                "--probe-first is given with the policy multiclass, whose third class a probe does not know: "
                "choose another --labels.uncertain, or leave it out."
            )
        if self.validation == "split":
            return
        if self.pseudo_labels is not None or SELF_TRAIN in used:
            what = "the policy self-train" if self.pseudo_labels is None else "--pseudo-labels"
            raise OptionError(
                f"--validation is within and {what} is given: the model that labels knows the films that are "
                "held out. Give --validation split."
            )
        if self.devices > 1:
            raise OptionError(
                f"--devices is {self.devices} with --validation within, which trains in one process: "
                "allowed is 1."
            )
