"""Options of the demo; light to import, since the command line's help reads them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hilum.options import take_fields


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """Options of the demo."""

    out: Path = Path("demo")
    """Folder for everything that the demo makes; an unfinished demo is resumed."""
    full: bool = False
    """Study four methods and two baselines at three fractions of the labels, in under an hour."""
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
    """The phantoms of the demo."""

    films: int = 1800
    """Number of phantoms."""
    drawn_size: int = 128
    """Edge of the drawn films in pixels, as the page shows them."""
    size: int = 64
    """Edge of the stored films in pixels, as the networks take them."""
