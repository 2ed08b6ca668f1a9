"""What the stages of training and use can be told; light to import, since the command line's help reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from hilum.classifier.options import LossOptions
from hilum.errors import OptionError
from hilum.labels import LabelOptions
from hilum.training.options import TrainOptions
from hilum.training.watch_options import WatchOptions
from hilum.workflows.pseudo_options import PseudoOptions

Device = Literal["auto", "cpu", "cuda"]
DEFAULT_FRACTION = 1.0


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
    """Processes on this machine, each with a GPU of its own or a share of the cores; a batch is taken by each."""
    stop_on_collapse: bool = False
    """End the run where films come to look alike to the network; all is saved."""
    train: TrainOptions = field(default_factory=TrainOptions)
    """The training loop."""
    watch: WatchOptions = field(default_factory=WatchOptions)
    """The watch over it."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            OptionError: An option lies outside its range.
        """
        _refuse_below(self, {"devices": 1})
        if self.stop_on_collapse and self.watch.every == 0:
            raise OptionError("--stop-on-collapse needs looks, and --watch.every is 0: allowed is 1 or more.")


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
    draw: int = 0
    """Which draw of that share."""
    unlabelled: tuple[Path, ...] = ()
    """Further stores, whose own labels are not looked at: their training films learn from --pseudo_labels alone."""
    pseudo_labels: Path | None = None
    """Table of pseudo-labels to learn from too; a label that is used goes before them."""
    freeze: bool = False
    """Train the output layer only."""
    sampler: Literal["uniform", "weighted"] = "uniform"
    """How films are drawn: uniform, each once an epoch, or weighted, with replacement, by one over the prevalence of
    the rarest finding on a film."""
    calibrate: bool = True
    """Scale and shift the finished model's logits by what validation films show, so that probabilities come true."""
    patience: int = 5
    """Stop after that many epochs without a better mean AUROC on validation films; 0 never stops early."""
    devices: int = 1
    """Processes on this machine, each with a GPU of its own or a share of the cores; a batch is taken by each."""
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
        """
        if not 0 < self.fraction <= 1:
            raise OptionError(f"--fraction is {self.fraction}: allowed is above 0 to 1, such as 0.1.")
        _refuse_below(self, {"patience": 0, "draw": 0, "devices": 1})
        if self.unlabelled and self.pseudo_labels is None:
            raise OptionError(
                f"--unlabelled is {self.unlabelled[0]}, whose own labels are not looked at, and no table gives its "
                "films any: give --pseudo_labels FILE, or leave it out."
            )


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """What to measure a fine-tuned run on."""

    data: Path
    """Store to measure on; another data set's findings are mapped by name."""
    split: Literal["test", "val", "train", "official-test", "all"] = "test"
    """Part of the store."""
    unstated: Literal["absent", "ignore"] | None = None
    """What a finding that is not mentioned counts as: absent or ignore; as in the run's training unless given."""
    min_positives: int = 20
    """Findings with fewer positive patients are left out of the means."""
    resamples: int = 2000
    """Bootstrap resamples of the patients behind each interval."""
    seed: int = 0
    """Seed of the bootstrap."""
    prevalence: float | None = None
    """Share of films with a finding where the model is to be used, such as 0.05: gives the predictive values there."""
    age_bands: tuple[int, ...] = (40, 60, 80)
    """Years at which a new band of ages begins, for the subgroups."""
    subgroup_patients: int = 20
    """Patients with a finding, and without, that a subgroup needs to score it."""
    drop_seen: bool = False
    """Leave out films that the model was trained on instead of refusing them."""
    findings: tuple[str, ...] = ()
    """Only these findings; all that model and store share unless given."""
    device: Device = "auto"
    """Where to compute."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            OptionError: An option lies outside its range.
        """
        _refuse_below(self, {"min_positives": 1, "resamples": 0, "seed": 0, "subgroup_patients": 2})
        if self.prevalence is not None and not 0 < self.prevalence < 1:
            raise OptionError(f"--prevalence is {self.prevalence}: allowed is above 0 and below 1, such as 0.05.")
        if sorted({1, *self.age_bands}) != [1, *self.age_bands]:
            raise OptionError(f"--age_bands is {self.age_bands}: allowed are rising years above 1, such as 40 60 80.")


@dataclass(frozen=True, kw_only=True)
class ProbeOptions:
    """How to probe frozen features."""

    data: tuple[Path, ...]
    """Stores with labels."""
    backbone: str | None = None
    """timm's name of the network, for random, imagenet and files; resnet18 unless given."""
    fraction: float = DEFAULT_FRACTION
    """Share of the training patients whose labels are used."""
    draw: int = 0
    """Which draw of that share."""
    split: Literal["val", "test"] = "val"
    """Part to measure on."""
    against: str | None = None
    """Another run, file, random or imagenet to probe alike: the difference is given with paired intervals."""
    size: int | None = None
    """Height and width in pixels of what the network sees; the run's own, else the store's."""
    neighbours: int = 50
    """Neighbours of the kNN probe."""
    labels: LabelOptions = field(default_factory=LabelOptions)
    """What uncertain and unstated labels become."""
    min_positives: int = 20
    """Findings with fewer positive patients are left out of the means."""
    resamples: int = 2000
    """Bootstrap resamples of the patients behind each interval."""
    seed: int = 0
    """Seed of random weights, solver and bootstrap."""
    device: Device = "auto"
    """Where to compute."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            OptionError: An option lies outside its range.
        """
        smallest = {"draw": 0, "size": 16, "neighbours": 1, "min_positives": 1, "resamples": 0, "seed": 0}
        _refuse_below(self, smallest)


@dataclass(frozen=True, kw_only=True)
class EmbedOptions:
    """What to take frozen features of, and where to."""

    data: tuple[Path, ...]
    """Stores; their labels are not looked at."""
    out: Path
    """Parquet file to write: a row a film, with source, path, patient, part and its features."""
    split: Literal["all", "train", "val", "test", "official-test"] = "all"
    """Part to take films from."""
    backbone: str | None = None
    """timm's name of the network, for random, imagenet and files; resnet18 unless given."""
    size: int | None = None
    """Height and width in pixels of what the network sees; the run's own, else the store's."""
    seed: int = 0
    """Seed of random weights."""
    device: Device = "auto"
    """Where to compute."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            OptionError: An option lies outside its range.
        """
        _refuse_below(self, {"size": 16, "seed": 0})


@dataclass(frozen=True, kw_only=True)
class ExplainOptions:
    """What to draw heatmaps of."""

    out: Path
    """Folder for the pictures."""
    finding: tuple[str, ...] = ()
    """Only these findings; all unless given."""
    layer: str | None = None
    """Module whose maps are weighed; the deepest with a map of at least 7 x 7 unless given."""
    device: Device = "auto"
    """Where to compute."""


def _refuse_below(options: Any, smallest: Mapping[str, int]) -> None:
    for name, least in smallest.items():
        value = getattr(options, name)
        if value is not None and value < least:
            raise OptionError(f"--{name} is {value}: allowed is {least} or more.")


def plain(options: Any) -> Any:
    """Return options as what YAML can say: paths become text, tuples lists."""
    if isinstance(options, dict):
        return {str(key): plain(value) for key, value in options.items()}
    if isinstance(options, (tuple, list)):
        return [plain(value) for value in options]
    return str(options.resolve()) if isinstance(options, Path) else options
