"""One file or folder that was read: its name, and its fault where it is not what was written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hilum.errors import DataError, HilumError
from hilum.files import inside, sha256


@dataclass(frozen=True)
class Checked:
    """A file or folder, by its place below the folder that is checked."""

    name: str
    fault: str | None = None
    notes: tuple[str, ...] = ()
    """What of it could not be checked, as it has no hash."""
    value: Any = None
    """What was read."""


Checks = Iterator[Checked]


def read_checked(name: str, read: Callable[..., Any], *values: Any) -> Checked:
    """Read a file or folder; whatever its reader raises is its fault."""
    try:
        return Checked(name, value=read(*values))
    except (HilumError, OSError, ValueError, KeyError, TypeError) as error:
        return Checked(name, fault=" ".join(str(error).split()))


def files_of(folder: Path, hashes: object, below: str) -> Checks:
    """Compare files with their hashes, by name in a folder."""
    for name, digest in hashes.items() if isinstance(hashes, Mapping) else ():
        yield read_checked(f"{below}{name}", _same, folder, name, digest)


def _same(folder: Path, name: str, digest: str) -> None:
    path = inside(folder, name)
    if not path.is_file():
        raise DataError(f"{path} is missing")
    if sha256(path) != digest:
        raise DataError(f"{path} is not what was written")
