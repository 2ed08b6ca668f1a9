"""Options of `hilum watch`; light to import, since the command line's help reads them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hilum.errors import OptionError
from hilum.options import Device, refuse_below, take_fields

LONGEST = 3600.0
"""Seconds."""


@dataclass(frozen=True, kw_only=True)
class WatchOptions:
    """Options of a watched folder."""

    out: Path
    """Folder for the results and the ledger of the films that were read."""
    once: bool = False
    """End after the films that lie there now; otherwise wait for more."""
    every: float = 2.0
    """Seconds between two looks into the folder."""
    settle: float = 2.0
    """Seconds for which a file must not have changed before it is read."""
    keep: tuple[str, ...] = ()
    """Reasons for which a film is not left out, as of `hilum prepare dicom`."""
    patience: int = 20
    """Seconds that decoding a film may take."""
    device: Device = "auto"
    """Device of a run; a bundle is computed on the CPU."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            OptionError: An option lies outside its range.
            TypeError: A path or list is something else.
        """
        take_fields(self)
        refuse_below(self, {"patience": 1})
        for name, least in (("every", 0.05), ("settle", 0.0)):
            if not least <= getattr(self, name) <= LONGEST:
                raise OptionError(
                    f"--{name} is {getattr(self, name)}: allowed is {least:g} to {LONGEST:g} seconds."
                )
