"""Options of embed and explain; light to import, since the command line's help reads it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hilum.options import Device, refuse_below, take_fields


@dataclass(frozen=True, kw_only=True)
class EmbedOptions:
    """Options of frozen features."""

    data: tuple[Path, ...]
    """Stores; their labels are not read."""
    out: Path
    """Parquet file to write: one row for each film, with source, path, patient, part and features."""
    split: Literal["all", "train", "val", "test", "official-test"] = "all"
    """Split of the stores."""
    backbone: str | None = None
    """timm's name of the network, for random, imagenet and files; resnet18 unless given."""
    allow_partial: bool = False
    """Take a weights file that lacks some of the network's tensors; what stays random is named."""
    size: int | None = None
    """Height and width of the network's input in pixels; the run's own, else the store's."""
    seed: int = 0
    """Seed of random weights."""
    device: Device = "auto"
    """Device."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            OptionError: An option lies outside its range.
            TypeError: A path or list is something else.
        """
        take_fields(self)
        refuse_below(self, {"size": 16, "seed": 0})


@dataclass(frozen=True, kw_only=True)
class ExplainOptions:
    """Options of heatmaps."""

    out: Path
    """Folder for the pictures."""
    finding: tuple[str, ...] = ()
    """Only these findings; all unless given."""
    split: Literal["test", "val", "train", "official-test", "all"] | None = None
    """Split of a store; test unless given."""
    limit: int | None = None
    """Films at most, the first ones; 20 of a store, else all unless given."""
    keep_damaged: bool = False
    """Read JPEGs whose decoder reports damaged data; they are left out otherwise."""
    keep: tuple[str, ...] = ()
    """Reasons for which a DICOM film is not left out, as of `hilum prepare dicom`."""
    names_file: Path | None = None
    """CSV for your eyes alone: which film is which file, of DICOM films, which results call by
    pseudonyms."""
    layer: str | None = None
    """Layer for Grad-CAM; the deepest with maps of at least 7 x 7 unless given."""
    device: Device = "auto"
    """Device."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            OptionError: An option lies outside its range.
            TypeError: A path or list is something else.
        """
        take_fields(self)
        refuse_below(self, {"limit": 1})
