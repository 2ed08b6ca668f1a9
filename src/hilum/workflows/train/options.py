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
from hilum.training.options import TrainOptions
from hilum.workflows.train.labelling_options import PseudoOptions


@dataclass(frozen=True, kw_only=True)
class FinetuneTrainOptions(TrainOptions):
    """How long, how fast and how exactly to fine-tune."""

    epochs: int = 10
    """Passes over the labelled films, at most."""
    lr: float = 5e-4
    """Peak learning rate: about 0.0005 for adamw, 0.01 for sgd."""
    weight_decay: float = 1e-2
    """Weight decay, decoupled in adamw; norms and biases are left out of it."""
    schedule: Literal["cosine", "onecycle"] = "onecycle"
    """Course of the learning rate: OneCycle, or warm-up then cosine to zero."""
    warmup: float = 0.3
    """Share of the steps in which the rate rises."""


@dataclass(frozen=True, kw_only=True)
class PretrainOptions:
    """What to pretrain on, from and into."""

    data: tuple[Path, ...]
    """Stores whose training films are learnt from; their labels never are."""
    out: Path
    """Run folder; an unfinished one is continued exactly."""
    init: str = "random"
    """Weights to start from: random, imagenet, a run folder, or a file (safetensors or .pth)."""
    backbone: str | None = None
    """timm's name of the network; that of --init RUN, else resnet18."""
    with_validation: bool = False
    """Learn from validation films too; test films are never used."""
    devices: int = 1
    """Processes on this machine, each with a GPU of its own or a share of the cores; a batch is
    taken by each."""
    stop_on_collapse: bool = False
    """End the run where films come to look alike to the network; all is saved."""
    train: TrainOptions = field(default_factory=TrainOptions)
    """The training loop."""
    monitor: MonitorOptions = field(default_factory=MonitorOptions)
    """The watch over it."""

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
                "--stop-on-collapse needs looks, and --monitor.every is 0: allowed is 1 or more."
            )


@dataclass(frozen=True, kw_only=True)
class FinetuneOptions:
    """What to fine-tune on, from and into."""

    data: tuple[Path, ...]
    """Stores with labels."""
    out: Path
    """Run folder; an unfinished one is continued exactly."""
    init: str = "random"
    """Weights to start from: random, imagenet, a run folder, or a file (safetensors or .pth)."""
    backbone: str | None = None
    """timm's name of the network; that of --init RUN, else resnet18."""
    fraction: float = DEFAULT_FRACTION
    """Share of the training patients whose labels are used."""
    subset_seed: int = 0
    """Seed of the labelled subset; at one seed, smaller fractions lie within larger ones."""
    unlabelled: tuple[Path, ...] = ()
    """Further stores, whose own labels are not looked at: their training films learn from
    --pseudo-labels alone."""
    pseudo_labels: Path | None = None
    """Table of pseudo-labels to learn from too; a label that is used goes before them."""
    freeze: bool = False
    """Train the output layer only."""
    sampler: Literal["uniform", "weighted"] = "uniform"
    """How films are drawn: uniform, each once an epoch, or weighted, with replacement, by one over
    the prevalence of the rarest finding on a film."""
    calibrate: bool = True
    """Scale and shift the finished model's logits by what validation films show, so that
    probabilities come true."""
    patience: int = 5
    """Stop after that many epochs without a better mean AUROC on validation films; 0 never stops
    early."""
    devices: int = 1
    """Processes on this machine, each with a GPU of its own or a share of the cores; a batch is
    taken by each."""
    labels: LabelOptions = field(default_factory=LabelOptions)
    """What uncertain and unstated labels become."""
    loss: LossOptions = field(default_factory=LossOptions)
    """What a wrong answer costs."""
    self_train: PseudoOptions = field(default_factory=PseudoOptions)
    """How uncertain cells are labelled under the policy self-train."""
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
                f"--unlabelled is {self.unlabelled[0]}, whose own labels are not looked at, and no table gives its "
                "films any: give --pseudo-labels FILE, or leave it out."
            )
