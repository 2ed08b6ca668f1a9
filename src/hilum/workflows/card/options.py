"""What a data card can be told; light to import, since the command line's help reads it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hilum.errors import OptionError
from hilum.options import Device, take_fields


@dataclass(frozen=True, kw_only=True)
class CardOptions:
    """What to put on the card, and where."""

    out: Path
    """Folder for the card: card.html, its numbers as CSV, and lists of films to look at."""
    annotations: tuple[Path, ...] = ()
    """Folders of the data sets, as given to `hilum prepare`: to show films before they were
    enhanced."""
    samples: int = 8
    """Sample films of each store."""
    split: Literal["test", "val", "official-test"] = "test"
    """Part that the shortcut probes, and the run beside them, are measured on."""
    neighbours: int = 100
    """Films of other patients that are asked about each label."""
    label_issues: int = 200
    """Labels on the work list at most."""
    min_positives: int = 20
    """Patients with a finding that it takes to flag a shortcut."""
    resamples: int = 1000
    """Bootstrap resamples of the patients behind each interval."""
    seed: int = 0
    """Seed of what is drawn: the samples and the bootstrap."""
    device: Device = "auto"
    """Where to compute a run's features."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            OptionError: An option lies outside its range.
            TypeError: A path or list is something else.
        """
        take_fields(self)
        smallest = {
            "samples": 0,
            "neighbours": 1,
            "label_issues": 0,
            "min_positives": 1,
            "resamples": 0,
            "seed": 0,
        }
        for name, least in smallest.items():
            if getattr(self, name) < least:
                raise OptionError(f"--{name} is {getattr(self, name)}: allowed is {least} or more.")
