"""Options of export; light to import, since the command line's help reads it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from hilum.errors import OptionError
from hilum.options import take_fields

_LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,60}")


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Options of an exported bundle."""

    out: Path
    """Folder to write: new, empty, or an earlier bundle, which is replaced."""
    licence: str | None = None
    """Licence of the weights, as the Hugging Face Hub names it, such as cc-by-4.0."""
    init_licence: str | None = None
    """Licence of the weights file that training started from, where --init was a file."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            OptionError: A licence is no name of one.
            TypeError: A path is something else.
        """
        take_fields(self)
        for name in ("licence", "init_licence"):
            value = getattr(self, name)
            if value is not None and not _LICENCE.fullmatch(value):
                raise OptionError(
                    f"--{name.replace('_', '-')} is {value!r:.80}: allowed is a name in lower case, such as "
                    "apache-2.0, cc-by-4.0 or other."
                )
