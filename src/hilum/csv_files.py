"""CSV files, none of whose cells a spreadsheet takes for a formula: the one writer of all of Hilum's CSVs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from hilum.files import replacing, write_bytes


def write_private_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Replace a file's content by CSV as ``write_csv`` does, readable by its owner alone from the first byte.

    Raises:
        OSError: It cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, private=True) as aside:
        aside.write_bytes(csv_text(header, rows).encode("utf-8", errors="surrogateescape"))


def write_csv(
    path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]], float_format: str = "{!r}"
) -> None:
    """Replace a file's content by CSV, as ``csv_text`` writes it; names that are no UTF-8 keep their bytes."""
    text = csv_text(header, rows, float_format)
    write_bytes(path, text.encode("utf-8", errors="surrogateescape"))


def csv_text(
    header: Sequence[str], rows: Iterable[Sequence[Any]], float_format: str = "{!r}"
) -> str:
    r"""Return CSV with commas and line feeds; None, NaN and pandas' NA are empty cells.

    Text that a spreadsheet takes for a formula gets an apostrophe in front, in the header too:
    a film or finding may be called ``=HYPERLINK(...)``. Numbers stay as they are, also as text.

    >>> csv_text(["film", "=a"], [["-1.png", -0.5], ["-1.5", None]])
    "film,'=a\n'-1.png,-0.5\n-1.5,\n"
    """
    lines = [[_cell(value, float_format) for value in row] for row in (header, *rows)]
    return "".join(",".join(line) + "\n" for line in lines)


_FORMULA = re.compile(r"[\t\r\n]|\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")
"""Beginnings of what spreadsheets take for a formula; the last four are full-width signs."""
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")


def _cell(value: Any, float_format: str) -> str:
    text = str(value)
    if isinstance(value, str):
        if _FORMULA.match(text) and not _NUMBER.fullmatch(text):
            text = f"'{text}"
    elif value is None or text in ("nan", "<NA>", "NaT"):
        return ""
    elif isinstance(value, Real) and not isinstance(value, Integral):
        return float_format.format(float(value))
    # Python 3.11's csv leaves a lone carriage return unquoted, which ends the row for most readers.
    return '"' + text.replace('"', '""') + '"' if re.search('[",;\t\r\n]', text) else text
