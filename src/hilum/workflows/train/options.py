"""Options of pretraining and fine-tuning; light to import, since the command line's help reads it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from hilum.classifier.options import LossOptions
from hilum.errors import OptionError
from hilum.labels import LabelOptions
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

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            OptionError: An option lies outside its range.
        """
        super().__post_init__()
        if self.min_steps < 0:
            raise OptionError(f"--train.min-steps is {self.min_steps}: allowed is 0 or more.")


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
class FinetuneOptions(RunOptions):
    """Options of fine-tuning."""

    fraction: float = DEFAULT_FRACTION
    """Fraction of the training patients whose labels are used."""
    subset_seed: int = 0
    """Seed of the labelled subset; at one seed, smaller fractions lie within larger ones."""
    unlabelled: tuple[Path, ...] = ()
    """Further stores whose labels are not read: their training films get labels from
    --pseudo-labels alone."""
    pseudo_labels: Path | None = None
    """Table of pseudo-labels to train on too; where a film has a label that is used, the label counts."""
    freeze: bool = False
    """Train the output layer only."""
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
        refuse_below(self, {"patience": 0, "subset_seed": 0, "devices": 1})
        if self.unlabelled and self.pseudo_labels is None:
            raise OptionError(
                f"--unlabelled is {self.unlabelled[0]}, whose own labels are not read, and no table gives its "
                "films any: give --pseudo-labels FILE, or leave it out."
            )
