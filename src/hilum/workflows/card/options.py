"""Options of a data card; light to import, since the command line's help reads them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hilum.options import Device, refuse_below, take_fields


@dataclass(frozen=True, kw_only=True)
class CardOptions:
    """Options of a data card."""

    out: Path
    """Folder for the card: card.html, its numbers as CSV, and lists of films to look at."""
    annotations: tuple[Path, ...] = ()
    """Folders of the data sets, as given to `hilum prepare`: to show original films."""
    samples: int = 8
    """Sample films of each store."""
    split: Literal["test", "val", "official-test"] = "test"
    """Split on which shortcut probes, and the run of --from, are measured."""
    neighbours: int = 100
    """Nearest films of other patients that each label is compared with."""
    label_issues: int = 200
    """Likely label errors on the list, at most."""
    min_positives: int = 20
    """Patients with a finding that are needed to flag a shortcut."""
    resamples: int = 1000
    """Bootstrap resamples of the patients behind each interval."""
    seed: int = 0
    """Seed of the samples and the bootstrap."""
    device: Device = "auto"
    """Device for the features of a run."""

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
        refuse_below(self, smallest)
