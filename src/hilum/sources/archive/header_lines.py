"""A DICOM header as plain values for a line of JSON, and back; read in a process that a bad file may kill."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from datetime import date, time
from pathlib import Path
from typing import Any, get_args, get_type_hints

from hilum.images.dicom.header import DicomHeader, read_header
from hilum.images.unreadable import UnreadableFilm
from hilum.sources.archive.entering import DAMAGED, DICOMDIR, NO_DICOM


def header_line(path: Path) -> list[Any] | str:
    """Return a file's header as `plain` does, or the reason why it has none.

    What pydicom or the system says of a file is not passed on: it may quote the file.
    """
    try:
        header = read_header(path)
    except UnreadableFilm as error:
        return NO_DICOM if error.reason.startswith("not a") or error.reason == "empty" else DAMAGED
    except MemoryError:
        return DAMAGED
    return DICOMDIR if path.name.upper() == "DICOMDIR" and not header.has_pixels else plain(header)


def plain(header: DicomHeader) -> list[Any]:
    """Return a header's values in the order of its fields; dates and times are texts."""
    values = (getattr(header, name) for name in _NAMES)
    return [value.isoformat() if isinstance(value, (date, time)) else value for value in values]


def header_of(values: Sequence[Any]) -> DicomHeader:
    """Return the header that `plain` gave these values of."""
    read = {
        name: _BACK[name](value) if name in _BACK and value is not None else value
        for name, value in zip(_NAMES, values, strict=True)
    }
    return DicomHeader(**read)


_NAMES = tuple(entry.name for entry in fields(DicomHeader))
_BACK: dict[str, Callable[[Any], Any]] = {
    name: back
    for name, hint in get_type_hints(DicomHeader).items()
    for kind, back in ((date, date.fromisoformat), (time, time.fromisoformat), (tuple, tuple))
    if kind in get_args(hint) or getattr(hint, "__origin__", None) is kind
}
"""What turns a plain value into the field's."""
