"""Options of the measurements; light to import, since the command line's help reads it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from hilum.errors import OptionError
from hilum.labels import LabelOptions
from hilum.metrics.interval_options import IntervalOptions
from hilum.options import DEFAULT_FRACTION, Device, refuse_below, take_fields


@dataclass(frozen=True, kw_only=True)
class MeasureOptions:
    """How a classifier is measured, alone or in a study."""

    min_positives: int = 20
    """Findings with fewer positive patients are left out of the means."""
    resamples: int = 2000
    """Bootstrap resamples of the patients behind each interval."""
    seed: int = 0
    """Seed of the bootstrap."""
    prevalence: float | None = None
    """Prevalence of a finding where the model will be used, such as 0.05: adds the predictive
    values there."""
    age_bands: tuple[int, ...] = (40, 60, 80)
    """Ages in years at which a new subgroup begins."""
    subgroup_patients: int = 20
    """Patients with a finding, and without, that a subgroup needs to be scored on it."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            OptionError: An option is out of range.
            TypeError: A path or list is something else.
        """
        take_fields(self)
        refuse_below(self, {"min_positives": 1, "resamples": 0, "seed": 0, "subgroup_patients": 2})
        if self.prevalence is not None and not 0 < self.prevalence < 1:
            raise OptionError(
                f"--prevalence is {self.prevalence}: allowed is above 0 and below 1, such as 0.05."
            )
        if sorted({1, *self.age_bands}) != [1, *self.age_bands]:
            raise OptionError(
                f"--age-bands is {self.age_bands}: allowed are rising years above 1, such as 40 60 80."
            )

    @property
    def intervals(self) -> IntervalOptions:
        """How intervals and means are computed."""
        return IntervalOptions(
            resamples=self.resamples, seed=self.seed, min_positives=self.min_positives
        )


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(MeasureOptions):
    """Options of an evaluation."""

    data: Path
    """Store to measure on; another data set's findings are mapped by name."""
    split: Literal["test", "val", "train", "official-test", "all"] = "test"
    """Split of the store."""
    unstated: Literal["absent", "ignore"] | None = None
    """Target of a finding that is not mentioned: absent or ignore; as in the run's training unless
    given."""
    exclude_training_images: bool = False
    """Leave out films that the model was trained on, instead of refusing the store."""
    findings: tuple[str, ...] = ()
    """Only these findings; all that model and store share unless given."""
    device: Device = "auto"
    """Device."""


@dataclass(frozen=True, kw_only=True)
class ProbeOptions:
    """Options of probing frozen features."""

    data: tuple[Path, ...]
    """Stores with labels."""
    backbone: str | None = None
    """timm's name of the network, for random, imagenet and files; resnet18 unless given."""
    allow_partial: bool = False
    """Take a weights file that lacks some of the network's tensors; what stays random is named."""
    fraction: float = DEFAULT_FRACTION
    """Fraction of the training patients whose labels are used."""
    subset_seed: int = 0
    """Seed of the labelled subset; at one seed, smaller fractions lie within larger ones."""
    split: Literal["val", "test"] = "val"
    """Split to measure on."""
    against: str | None = None
    """Another run, file, random or imagenet, probed alike: gives the difference with paired
    intervals."""
    size: int | None = None
    """Height and width of the network's input in pixels; the run's own, else the store's."""
    neighbours: int = 50
    """Neighbours of the kNN probe."""
    labels: LabelOptions = field(default_factory=LabelOptions)
    """Targets of uncertain and unstated labels."""
    min_positives: int = 20
    """Findings with fewer positive patients are left out of the means."""
    resamples: int = 2000
    """Bootstrap resamples of the patients behind each interval."""
    seed: int = 0
    """Seed of random weights, solver and bootstrap."""
    device: Device = "auto"
    """Device."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            OptionError: An option lies outside its range.
            TypeError: A path or list is something else.
        """
        take_fields(self)
        smallest = {
            "subset_seed": 0,
            "size": 16,
            "neighbours": 1,
            "min_positives": 1,
            "resamples": 0,
            "seed": 0,
        }
        refuse_below(self, smallest)

    @property
    def intervals(self) -> IntervalOptions:
        """How intervals and means are computed."""
        return IntervalOptions(
            resamples=self.resamples, seed=self.seed, min_positives=self.min_positives
        )
