"""What counts as a copy; light to import, since the command line's help reads it."""

from __future__ import annotations

from dataclasses import dataclass

from hilum.errors import OptionError


@dataclass(frozen=True)
class CopyOptions:
    """What counts as a copy of a film."""

    correlation: float = 0.9
    """Two films whose fine structure correlates at least so much once they lie on each other are near copies."""
    near: bool = True
    """Look for near copies too; without it only for films of equal pixels, which takes no reading."""

    def __post_init__(self) -> None:
        """Refuse a limit that is no correlation.

        Raises:
            OptionError: It is not above 0 and below 1.
        """
        if not 0 < self.correlation < 1:
            raise OptionError(f"correlation is {self.correlation}: give a number above 0 and below 1, such as 0.9.")
