"""What the demo can be told, and what it draws; light to import, since the command line's help reads it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hilum.options import take_fields


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """Where the demo goes, how much it shows, and what it is drawn from."""

    out: Path = Path("demo")
    """Folder for everything that the demo makes; an unfinished demo is continued."""
    full: bool = False
    """Study four methods and two baselines on three shares of the labels, in under an hour."""
    seed: int = 0
    """Seed of the phantoms, the weights and the order of the films."""

    def __post_init__(self) -> None:
        """Take a text for a path and a single value for a list.

        Raises:
            TypeError: A path or list is something else.
        """
        take_fields(self)


@dataclass(frozen=True, kw_only=True)
class DemoFilms:
    """What the demo draws."""

    films: int = 1800
    """Phantoms drawn."""
    drawn_size: int = 128
    """Edge of the drawn films in pixels: what the report shows."""
    size: int = 64
    """Edge of the stored films in pixels: what the networks see."""
