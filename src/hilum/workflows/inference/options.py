"""Options of embed and explain; light to import, since the command line's help reads it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hilum.options import Device, refuse_below, take_fields


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
            TypeError: A path or list is something else.
        """
        take_fields(self)
        refuse_below(self, {"size": 16, "seed": 0})


@dataclass(frozen=True, kw_only=True)
class ExplainOptions:
    """What to draw heatmaps of."""

    out: Path
    """Folder for the pictures."""
    finding: tuple[str, ...] = ()
    """Only these findings; all unless given."""
    split: Literal["test", "val", "train", "official-test", "all"] | None = None
    """Split of a store; test unless given."""
    limit: int | None = None
    """Films at most, the first ones; 20 of a store, else all unless given."""
    layer: str | None = None
    """Module whose maps are weighed; the deepest with a map of at least 7 x 7 unless given."""
    device: Device = "auto"
    """Where to compute."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            OptionError: An option lies outside its range.
            TypeError: A path or list is something else.
        """
        take_fields(self)
        refuse_below(self, {"limit": 1})
