"""Reading label tables: strictly, as text first, so that an error names the row and value of a cell."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Sequence
from csv import Error, reader
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from pyarrow import csv

from hilum.arrays import BoolArray, FloatArray
from hilum.catalog import ABSENT, PRESENT, UNCERTAIN
from hilum.errors import DataError, did_you_mean

T = TypeVar("T")
OLDEST = 120
"""Years; a greater age is a mistake."""
FIRST_ROW = 2
"""The line number of a table's first row, as an editor shows it."""


def show(value: object) -> str:
    """Return a value for an error line: quoted, without line breaks, at most 60 characters.

    >>> show("a" * 70)
    "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...'"
    """
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:56]}...{text[0]}"


def read_csv(path: Path) -> pd.DataFrame:
    """Return a CSV's cells as text, an empty cell as null, under its header's names.

    Raises:
        DataError: It cannot be read, is empty, is no UTF-8 text, has a NUL byte, a repeated column
            name, or a row whose number of cells is not the header's.
    """
    content = _text_of(path)
    columns = _header(path, content)
    read = csv.ReadOptions(column_names=columns, skip_rows=1)
    parse = csv.ParseOptions(newlines_in_values=True)
    convert = csv.ConvertOptions(
        column_types=dict.fromkeys(columns, pa.string()),
        strings_can_be_null=True,
        quoted_strings_can_be_null=True,
        null_values=[""],
    )
    try:
        table = csv.read_csv(io.BytesIO(content), read, parse, convert)
    except pa.ArrowInvalid as error:
        reason = " ".join(str(error).split())[:100]
        raise DataError(f"{path} is no regular CSV ({reason}): mend or export it again.") from error
    if not table.num_rows:
        raise DataError(f"{path} has a header but no rows: is the download complete?")
    return pd.DataFrame({name: as_text(table[name]) for name in columns})


def as_text(column: pa.ChunkedArray | pa.Array) -> pd.Series:
    """Return an Arrow column of strings as pandas text, without copying it cell by cell."""
    series: pd.Series = column.to_pandas(types_mapper={pa.string(): pd.StringDtype("pyarrow")}.get)
    return series


def _header(path: Path, content: bytes) -> list[str]:
    """Return the column names; nameless ones are numbered (NIH's first table ends each line with a comma)."""
    line = content.split(b"\n", 1)[0]
    if len(line) == len(content):
        raise DataError(f"{path} has no rows below its first line: is the download complete?")
    try:
        names = [name.strip() for name in next(reader([line.decode("utf-8-sig").rstrip("\r")]))]
    except (Error, StopIteration) as error:
        raise DataError(f"{path} does not begin with column names: export it again.") from error
    foreign = next((sign for sign in ";\t" if len(names) == 1 and sign in names[0]), "")
    if foreign:
        raise DataError(
            f"{path} seems to be separated by {foreign!r}: export it with commas between the cells."
        )
    twice = [name for name in dict.fromkeys(names) if name and names.count(name) > 1]
    if twice:
        raise DataError(f"{path} has the column {show(twice[0])} more than once: keep one of them.")
    return [name or f"column {number}" for number, name in enumerate(names, start=1)]


def _text_of(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    if not content.strip():
        raise DataError(f"{path} is empty: is the download complete?")
    at = content.find(b"\0")
    if at >= 0:
        raise DataError(f"{path} is no text: byte {at} is NUL. Save it as CSV in UTF-8.")
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path} is no UTF-8 text (line {line}): save it as CSV in UTF-8."
        ) from error
    return content


def need_columns(table: pd.DataFrame, columns: Sequence[str], name: str, option: str = "") -> None:
    """Refuse a table that lacks a column; ``option`` is the one that names columns, if there is one.

    Raises:
        DataError: Names the first missing column, the nearest one and all columns.
    """
    for column in columns:
        if column not in table:
            there = ", ".join(map(str, table.columns))
            there = there if len(there) <= 240 else f"{there[:240]}..."
            hint = did_you_mean(column, table.columns)
            remedy = f": give {option}" if option else ""
            raise DataError(f"{name} has no column {show(column)}: it has {there}{remedy}.{hint}")


def need_cells(cells: pd.Series, name: str) -> None:
    """Refuse empty cells.

    Raises:
        DataError: Names the first row with an empty cell.
    """
    empty = (cells.isna() | (cells.str.strip() == "")).to_numpy(bool)
    if empty.any():
        row = int(empty.argmax()) + FIRST_ROW
        raise DataError(
            f"{name}: {int(empty.sum())} cells of column {show(cells.name)} are empty, first in line {row}: "
            "fill them or take those rows out."
        )


def parse_cells(
    cells: pd.Series, parse: Callable[[str], T | None], name: str, allowed: str
) -> tuple[npt.NDArray[np.int64], list[T]]:
    """Parse each distinct cell once.

    Returns:
        For each row [N] the index of its value in the list, -1 for an empty cell; and the list.

    Raises:
        DataError: ``parse`` returned None for a cell; the line names row, column, value and what is
            allowed.
    """
    codes, uniques = pd.factorize(cells)
    values: list[T] = []
    for code, text in enumerate(uniques):
        value = parse(str(text).strip())
        if value is None:
            row = int((codes == code).argmax()) + FIRST_ROW
            raise DataError(
                f"{name}, line {row}: {show(str(text))} in column {show(cells.name)} is not {allowed}."
            )
        values.append(value)
    return codes.astype(np.int64), values


def numbers(codes: npt.NDArray[np.int64], values: Sequence[float]) -> FloatArray:
    """Return the values of ``parse_cells`` as float32 [N], NaN for empty cells."""
    return np.array([*values, np.nan], np.float32)[codes]


def texts(codes: npt.NDArray[np.int64], values: Sequence[str | None]) -> npt.NDArray[np.object_]:
    """Return the values of ``parse_cells`` as text [N], None for empty cells."""
    return np.array([*values, None], object)[codes]


def label(text: str) -> float | None:
    """Return 1, 0, -1 (uncertain) or NaN (an empty cell), whatever the spelling of the number; else None.

    >>> label("1.0"), label("-1"), label("yes")
    (1.0, -1.0, None)
    """
    if not text:
        return math.nan
    try:
        value = float(text)
    except ValueError:
        return None
    return value if value in (PRESENT, ABSENT, UNCERTAIN) else None


def age(text: str) -> float:
    """Return years for ``58``, ``058Y``, ``006M``, ``12W`` or ``3D``; NaN for anything else, or beyond 120 years.

    >>> age("058Y"), age("006M"), age("414")
    (58.0, 0.5, nan)
    """
    match = re.fullmatch(r"(\d{1,4}(?:\.\d+)?)([YMWD]?)", text.upper())
    if not match:
        return math.nan
    years = float(match[1]) / {"": 1, "Y": 1, "M": 12, "W": 52, "D": 365}[match[2]]
    return years if years <= OLDEST else math.nan


SEXES = {"m": "M", "male": "M", "f": "F", "female": "F"}
VIEWS = {
    "pa": "PA",
    "ap": "AP",
    "lateral": "LATERAL",
    "lat": "LATERAL",
    "l": "LATERAL",
    "ll": "LATERAL",
    "rl": "LATERAL",
}


def described(
    cells: pd.Series, spellings: dict[str, str], name: str
) -> tuple[npt.NDArray[np.object_], tuple[str, ...]]:
    """Return text cells in one spelling, null for unknown values, and a note if there were any."""
    codes, values = parse_cells(cells, lambda text: spellings.get(text.casefold(), ""), name, "")
    spelt = texts(codes, [value or None for value in values])
    return spelt, _dropped(cells, pd.isna(spelt))


def ages(cells: pd.Series, name: str) -> tuple[FloatArray, tuple[str, ...]]:
    """Return ages in years [N], NaN where they are missing, beyond 120 or no number, and a note if there were any."""
    values = numbers(*parse_cells(cells, age, name, ""))
    return values, _dropped(cells, np.isnan(values), f" (no age from 0 to {OLDEST})")


def _dropped(cells: pd.Series, empty: BoolArray, why: str = "") -> tuple[str, ...]:
    lost = cells[empty & cells.notna().to_numpy(bool)]
    if lost.empty:
        return ()
    return (f"{len(lost)} values of {show(cells.name)} dropped{why}, first {show(lost.iloc[0])}",)
