"""Options of join; light to import, since the command line's help reads it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hilum.options import refuse_below, take_fields


@dataclass(frozen=True, kw_only=True)
class JoinOptions:
    """Options of joining starts."""

    out: Path
    """Folder to write the joined model to; --init takes it."""
    allow_partial: bool = False
    """Take a weights file that lacks some of the network's tensors; what stays random is named."""
    seed: int = 0
    """Seed of weights that stay random."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            OptionError: An option lies outside its range.
            TypeError: A path is something else.
        """
        take_fields(self)
        refuse_below(self, {"seed": 0})
