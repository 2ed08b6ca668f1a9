"""The text of a CSV as programs save it: its encoding, separator and header; what cannot be one is refused unparsed."""

from __future__ import annotations

import codecs
import gzip
import re
import zlib
from collections.abc import Iterator, Sequence
from csv import Error, reader
from pathlib import Path
from typing import NamedTuple

from hilum.errors import DataError

SEPARATORS = (",", ";", "\t")
"""Signs between cells; tables with semicolons come from spreadsheets whose decimal sign is a comma."""
LONGEST_LINE = 1_000_000
"""Bytes; a longer line is no row of a table, and parsers need many times its size."""
MOST_COLUMNS = 10_000
_MOST_UNPACKED = 2**30
"""Bytes of a packed table."""
OTHER_KINDS = {
    b"pk\x03\x04": "an Excel workbook or another packed file",
    b"\xd0\xcf\x11\xe0": "an Excel workbook",
    b"par1": "a Parquet file",
    b"<?xml": "XML",
    b"<!doctype": "a web page",
    b"<html": "a web page",
}
"""Beginnings of files that are no text tables, in small letters, and what they are."""
_LOOKED_AT = 20
"""Rows below the header that a separator must divide into as many cells as the header."""


class CsvText(NamedTuple):
    """A CSV's column names, its separator, and the UTF-8 text below the header."""

    columns: list[str]
    separator: str
    rows: memoryview
    open_quote: bool
    """The number of quotes is odd, so that one may be missing."""


def read_text(path: Path) -> CsvText:
    """Read a CSV's text and header.

    Nameless columns are called ``column N`` (NIH's first table ends each line with a comma).

    Raises:
        DataError: It cannot be read, is empty, has no row, is neither UTF-8 nor UTF-16, has a NUL,
            a line above 1 MB, more than 10,000 columns, or a repeated column name.
    """
    content = _content(path)
    _refuse_long_lines(path, content)
    head = content[:LONGEST_LINE].decode("utf-8", errors="ignore")
    first = head.lstrip("\r\n").split("\n", 1)[0].strip("\r")
    directive = first[4:] if first.lower().startswith("sep=") and len(first) == 5 else ""  # Excel's
    skipped = len(head) - len(head.lstrip("\r\n"))
    if directive:
        skipped = head.index("\n", skipped) + 1 if "\n" in head else len(head)
    lines = [line.decode("utf-8", "ignore") for line in head[skipped:].encode().splitlines(True)]
    separator = directive or _separator(lines)
    counted = _Counted(lines)
    try:
        names = [name.strip() for name in next(reader(counted, delimiter=separator))]
    except (Error, StopIteration) as error:
        raise DataError(f"{path} does not begin with column names: export it again.") from error
    if len(names) > MOST_COLUMNS:
        raise DataError(
            f"{path} has {len(names)} columns: at most {MOST_COLUMNS} are read. Is its first line its header?"
        )
    twice = next((name for name in dict.fromkeys(names) if name and names.count(name) > 1), "")
    if twice:
        raise DataError(f"{path} has the column {twice[:60]!r} more than once: keep one of them.")
    rows = memoryview(content)[len(head[:skipped].encode()) + counted.bytes :]
    if not bytes(rows[:LONGEST_LINE]).strip():
        raise DataError(f"{path} has no rows below its header: is the download complete?")
    columns = [name or f"column {number}" for number, name in enumerate(names, start=1)]
    return CsvText(columns, separator, rows, content.count(b'"') % 2 == 1)


def _unpacked(path: Path) -> bytes:
    with gzip.open(path) as file:
        content = file.read(_MOST_UNPACKED + 1)
    if len(content) > _MOST_UNPACKED:
        raise DataError(f"{path} unpacks to more than {_MOST_UNPACKED} bytes: unpack it first.")
    return content


def _content(path: Path) -> bytes:
    """Return a file as UTF-8 without a byte order mark."""
    try:
        content = _unpacked(path) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is no whole gzip file: is the download complete?") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # Excel's "Unicode text"
        try:
            content = content.decode("utf-16").encode()
        except UnicodeError as error:
            raise DataError(f"{path} is damaged UTF-16: save it as CSV in UTF-8.") from error
    content = content.removeprefix(codecs.BOM_UTF8)
    if not content.strip():
        raise DataError(f"{path} is empty: is the download complete?")
    start = content[:100].lstrip().lower()
    if kind := next((kind for magic, kind in OTHER_KINDS.items() if start.startswith(magic)), ""):
        raise DataError(f"{path} is {kind} and no CSV: save its table as CSV in UTF-8.")
    at = content.find(b"\0")
    if at >= 0:
        raise DataError(f"{path} is no text: byte {at} is NUL. Save it as CSV in UTF-8.")
    if path.suffix.lower().startswith(".json") or re.match(rb'\[?\s*\{\s*"', content.lstrip()):
        raise DataError(
            f"{path} is JSON and no CSV: write it as a table with one film a line, its name and a column of labels."
        )
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path} is no UTF-8 text (line {line}): save it as CSV in UTF-8."
        ) from error
    return content


def _refuse_long_lines(path: Path, content: bytes) -> None:
    start = 0
    while len(content) - start > LONGEST_LINE:
        window = (start, start + LONGEST_LINE + 1)
        end = max(content.rfind(b"\n", *window), content.rfind(b"\r", *window))
        if end < 0:
            line = content.count(b"\n", 0, start) + 1
            raise DataError(
                f"{path} has more than {LONGEST_LINE / 1e6:.0f} MB in line {line}: that is no row of a table. "
                "Is it a CSV, with one film a line?"
            )
        start = end + 1


class _Counted:
    """Gives lines to a parser and counts the bytes that it took."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._lines, self.bytes = iter(lines), 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.bytes += len(line.encode())
        return line


def _separator(lines: Sequence[str]) -> str:
    """Return the sign that divides the header and the first rows into equally many cells.

    Of several the one that makes the most cells; if there is none, the one that makes the most of
    the header.
    """
    even, most = {}, {}
    for sign in SEPARATORS:
        counts: list[int] = []
        try:
            for row in reader(iter(lines), delimiter=sign):
                counts += [len(row)] if row else []
                if len(counts) > _LOOKED_AT:
                    break
        except Error:  # a cell above the parser's limit
            pass
        most[sign] = counts[0] if counts else 0
        if most[sign] > 1 and set(counts) == {most[sign]}:
            even[sign] = most[sign]
    return max(even or most, key=(even or most).__getitem__)
