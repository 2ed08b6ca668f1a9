"""Reading label tables: strictly, as text first, so that an error names the row and value of a cell."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from hilum.arrays import BoolArray, FloatArray
from hilum.catalog import ABSENT, PRESENT, UNCERTAIN
from hilum.counts import counted
from hilum.errors import DataError, did_you_mean
from hilum.sources.csv_text import read_text

T = TypeVar("T")
OLDEST = 120
"""Years; a greater age is a mistake."""
FIRST_ROW = 2
"""The line number of a table's first row, as an editor shows it."""
UNSTATED = ("nan", "-nan", "na", "n/a", "none", "null", "<na>", "#n/a", "#na", "nat")
"""Words, in small letters, that programs write into a cell that states nothing."""
EMPTY_ROW = "empty row"
_TITLE = (
    " Its first line seems to be a title or a remark: take out what lies above the column names."
)
_LEFT_OUT = "rows left out"


def show(value: object) -> str:
    """Return a value for an error line: quoted, without line breaks, at most 60 characters.

    >>> show("a" * 70)
    "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...'"
    """
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:56]}...{text[0]}"


class Table(NamedTuple):
    """A table's cells as text, the rows that were passed over, by reason, and notes."""

    cells: pd.DataFrame
    """[N] rows; a cell that is empty or has only spaces is null."""
    excluded: dict[str, int]
    notes: tuple[str, ...]


def read_csv(path: Path) -> Table:
    """Return a CSV's cells as text under its header's names, without its wholly empty rows.

    Separators are commas, semicolons or tabs, whichever divides header and rows alike; the text is
    UTF-8, or UTF-16 with its byte order mark.

    Raises:
        DataError: It cannot be read, is empty, is no text, has a repeated column name, or a row
            whose number of cells is not the header's.
    """
    columns, separator, rows, open_quote = read_text(path)
    read = csv.ReadOptions(column_names=columns)
    parse = csv.ParseOptions(delimiter=separator, newlines_in_values=True)
    convert = csv.ConvertOptions(
        column_types=dict.fromkeys(columns, pa.string()),
        strings_can_be_null=True,
        quoted_strings_can_be_null=True,
        null_values=[""],
    )
    try:
        table = csv.read_csv(pa.BufferReader(pa.py_buffer(rows)), read, parse, convert)
    except pa.ArrowInvalid as error:
        reason = " ".join(str(error).split())[:100]
        title = _TITLE if len(columns) == 1 else ""
        raise DataError(
            f"{path} is no regular CSV ({reason}): mend or export it again.{title}"
        ) from error
    if not table.num_rows:
        raise DataError(f"{path} has a header but no rows: is the download complete?")
    last = table[-1][-1].as_py() or ""
    if open_quote and ("\n" in last or "\r" in last):
        raise DataError(
            f"{path} has a quote that is never closed: its last cell, in column {show(columns[-1])}, "
            f"takes in the rest of the file, {show(last)}. Mend or export it again."
        )
    empty = _empty_rows(table)
    cells = pd.DataFrame({name: as_text(table[name]) for name in columns})
    if not len(empty):
        return Table(cells, {}, ())
    if len(empty) == len(cells):
        raise DataError(f"{path} has only empty rows: is the download complete?")
    cells = cells.drop(index=empty.tolist()).reset_index(drop=True)
    cells.attrs[_LEFT_OUT] = tuple(empty.tolist())
    note = f"{path.name}: {counted(len(empty), 'wholly empty row')} passed over, first in line {empty[0] + FIRST_ROW}"
    return Table(cells, {EMPTY_ROW: len(empty)}, (note,))


def _empty_rows(table: pa.Table) -> npt.NDArray[np.int64]:
    """Return the rows that state nothing in any column that has a name."""
    rows = np.arange(table.num_rows)
    for name in table.column_names:
        if len(rows) and not is_nameless(name):
            column = table[name] if len(rows) == table.num_rows else table[name].take(rows)
            trimmed = pc.utf8_lower(pc.utf8_trim_whitespace(column))
            empty = pc.is_in(pc.fill_null(trimmed, ""), pa.array(["", *UNSTATED]))
            rows = rows[empty.to_numpy(zero_copy_only=False)]
    return rows


def is_nameless(column: str) -> bool:
    """Whether a column had no name in its table: row numbers, as pandas, R and readr write them.

    >>> is_nameless("Unnamed: 0"), is_nameless("column 3"), is_nameless("...1"), is_nameless("X")
    (True, True, True, False)
    """
    return re.fullmatch(r"column \d+|Unnamed: ?\d+(?:[._]\w+)*|\.\.\.\d+", column) is not None


def nameless_note(cells: pd.DataFrame, name: str, read: Collection[str] = ()) -> tuple[str, ...]:
    """Return a note on the columns without a name that hold something and are not read."""
    columns = [
        str(column)
        for column in cells.columns
        if is_nameless(str(column)) and column not in read and cells[column].notna().any()
    ]
    if not columns:
        return ()
    return (f"{name}: columns without a name passed over: {', '.join(map(show, columns))}",)


def near_miss(column: str, known: Iterable[str]) -> str:
    """Return the known name that a column's name nearly is, whatever its signs and order of words; else nothing.

    >>> near_miss("Edemma", ["Edema", "Age"]), near_miss("Race", ["Edema", "Age"])
    ('Edema', '')
    """
    known = list(known)
    for form in (_letters, _sorted_words):
        plain = {form(name): name for name in known}
        if near := get_close_matches(form(column), plain, n=1, cutoff=0.8):
            return plain[near[0]]
    return ""


def _letters(name: str) -> str:
    return re.sub(r"[\W_]", "", name.casefold())


def _sorted_words(name: str) -> str:
    return " ".join(sorted(re.findall(r"[^\W_]+", name.casefold())))


def line_of(cells: pd.DataFrame | pd.Series, row: int) -> int:
    """Return the line of a row in its file, if no cell above has a line break."""
    for empty in cells.attrs.get(_LEFT_OUT, ()):
        row += empty <= row
    return row + FIRST_ROW


def fold(text: str) -> str:
    """Return a cell as it is compared with the words of options: in small letters, a whole number in one spelling.

    >>> fold(" Yes"), fold("-9.0"), fold("2,0"), fold("0.5")
    ('yes', '-9', '2', '0.5')
    """
    folded = text.strip().casefold()
    match = re.fullmatch(r"([+-]?)0*(\d+)(?:[.,]0*)?", folded, re.ASCII)
    return f"{match[1].strip('+')}{match[2]}" if match else folded


def unstated_rows(cells: pd.Series, words: Collection[str] = UNSTATED) -> BoolArray:
    """Return whether each cell [N] states nothing: null, empty, or a word such as nan."""
    folded = cells.str.strip().str.lower()
    if any(word[-1:].isdigit() for word in words):
        folded = folded.str.replace(r"^\+?(-?)0*(\d+)(?:[.,]0*)?$", r"\1\2", regex=True)
    return (folded.isna() | folded.isin(["", *words])).to_numpy(bool)


def is_unstated(text: str, words: Collection[str] = UNSTATED) -> bool:
    """Whether a cell states nothing: empty, or a word such as nan."""
    folded = fold(text)
    return not folded or folded in words


def as_text(column: pa.ChunkedArray | pa.Array) -> pd.Series:
    """Return an Arrow column of strings as pandas text, without copying it cell by cell."""
    series: pd.Series = column.to_pandas(types_mapper={pa.string(): pd.StringDtype("pyarrow")}.get)
    return series


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
            if 2 * sum(is_nameless(str(name)) for name in table.columns) > len(table.columns):
                hint += _TITLE
            remedy = f": give {option}" if option else ""
            raise DataError(f"{name} has no column {show(column)}: it has {there}{remedy}.{hint}")


def need_cells(cells: pd.Series, name: str, words: Collection[str] = UNSTATED) -> None:
    """Refuse cells that are empty or state nothing, as nan does.

    Raises:
        DataError: Names the first row with such a cell.
    """
    empty = unstated_rows(cells, words)
    if empty.any():
        row = int(empty.argmax())
        word = cells.iloc[row]
        shown = f" ({show(word)})" if isinstance(word, str) and word.strip() else ""
        raise DataError(
            f"{name}: {counted(int(empty.sum()), 'cell')} of column {show(cells.name)} "
            f"{'is' if empty.sum() == 1 else 'are'} empty, "
            f"first in line {line_of(cells, row)}{shown}: fill them or take those rows out."
        )


def parse_cells(
    cells: pd.Series,
    parse: Callable[[str], T | None],
    name: str,
    allowed: str,
    words: Collection[str] = UNSTATED,
) -> tuple[npt.NDArray[np.int64], list[T]]:
    """Parse each distinct cell once.

    Returns:
        For each row [N] the index of its value in the list, -1 for a cell that is empty or one of
        the words, in small letters, that state nothing; and the list.

    Raises:
        DataError: ``parse`` returned None for a cell; the line names row, column, value and what is
            allowed.
    """
    codes, uniques = pd.factorize(cells)
    values: list[T] = []
    places = np.full(len(uniques) + 1, -1, np.int64)  # the last one is that of empty cells
    for code, text in enumerate(uniques):
        if is_unstated(str(text), words):
            continue
        value = parse(str(text).strip())
        if value is None:
            line = line_of(cells, int((codes == code).argmax()))
            raise DataError(
                f"{name}, line {line}: {show(str(text))} in column {show(cells.name)} is not {allowed}."
            )
        places[code] = len(values)
        values.append(value)
    return places[codes], values


def numbers(codes: npt.NDArray[np.int64], values: Sequence[float]) -> FloatArray:
    """Return the values of ``parse_cells`` as float32 [N], NaN for empty cells."""
    return np.array([*values, np.nan], np.float32)[codes]


def texts(codes: npt.NDArray[np.int64], values: Sequence[str | None]) -> npt.NDArray[np.object_]:
    """Return the values of ``parse_cells`` as text [N], None for empty cells."""
    return np.array([*values, None], object)[codes]


def label(text: str) -> float | None:
    """Return 1, 0, -1 (uncertain) or NaN (an empty cell), whatever the spelling of the number; else None.

    >>> label("1.0"), label("-1"), label("1,0"), label("yes")
    (1.0, -1.0, 1.0, None)
    """
    if not text:
        return math.nan
    try:
        value = float(text.replace(",", ".")) + 0.0  # -0 becomes 0
    except ValueError:
        return None
    return value if value in (PRESENT, ABSENT, UNCERTAIN) else None


def age(text: str) -> float:
    """Return years for ``58``, ``058Y``, ``45yrs``, ``006M`` or ``3 days``; NaN for anything else, or beyond 120 years.

    >>> age("058Y"), age("006M"), age("414"), age("45 yrs")
    (58.0, 0.5, nan, 45.0)
    """
    match = re.fullmatch(
        r"(\d{1,4}(?:[.,]\d+)?)\s*(?:([YMWD])(?:(?<=Y)RS?|(?<=Y)EARS?|(?<=M)ONTHS?|(?<=W)EEKS?|(?<=D)AYS?)?)?",
        text.upper(),
    )
    if not match:
        return math.nan
    years = (
        float(match[1].replace(",", ".")) / {"Y": 1, "M": 12, "W": 52, "D": 365}[match[2] or "Y"]
    )
    return years if years <= OLDEST else math.nan


SEXES = {"m": "M", "male": "M", "f": "F", "female": "F"}


def described(
    cells: pd.Series, spellings: dict[str, str], name: str
) -> tuple[npt.NDArray[np.object_], tuple[str, ...]]:
    """Return text cells in one spelling, null for unknown values, and a note if there were any."""
    codes, values = parse_cells(cells, lambda text: spellings.get(text.casefold(), ""), name, "")
    spelt = texts(codes, [value or None for value in values])
    return spelt, _dropped(cells, pd.isna(spelt) & (codes >= 0))


def ages(cells: pd.Series, name: str) -> tuple[FloatArray, tuple[str, ...]]:
    """Return ages in years [N], NaN where they are missing, beyond 120 or no number, and a note if there were any."""
    codes, years = parse_cells(cells, age, name, "")
    values = numbers(codes, years)
    return values, _dropped(cells, np.isnan(values) & (codes >= 0), f" (no age from 0 to {OLDEST})")


def _dropped(cells: pd.Series, dropped: BoolArray, why: str = "") -> tuple[str, ...]:
    lost = cells[dropped]
    if lost.empty:
        return ()
    return (
        f"{counted(len(lost), 'value')} of {show(cells.name)} dropped{why}, first {show(lost.iloc[0])}",
    )
