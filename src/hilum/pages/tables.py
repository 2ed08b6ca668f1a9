"""Tables of a study's page: each is defined once and written both into the page and as CSV."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hilum.csv_files import csv_text
from hilum.metrics.results import Estimate
from hilum.pages.charts.axes import NOT_AVAILABLE
from hilum.pages.wording import formatted
from hilum.records import read_record

Value = str | int | float | None


@dataclass(frozen=True)
class Column:
    """A column: its title on the page, and the names of what it holds in the CSV file."""

    title: str
    names: tuple[str, ...]
    numeric: bool = True


@dataclass(frozen=True)
class Cell:
    """One cell: what is read, what is sorted by, what the CSV file has in each of the column's names."""

    text: str
    values: tuple[Value, ...]
    small: str = ""
    style: str = ""

    @property
    def order(self) -> str:
        """What the column is sorted by: the value, nothing where it is not available."""
        first = self.values[0]
        return "" if first is None else str(first)


@dataclass(frozen=True)
class Table:
    """A table: its file's stem, what it shows, its columns, and its rows with a cell a column."""

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]

    @property
    def file(self) -> str:
        """The CSV file's name."""
        return f"{self.name}.csv"

    def csv(self) -> str:
        """Return the numbers as CSV: full precision, nothing where a number is not available."""
        names = [name for column in self.columns for name in column.names]
        return csv_text(
            names, [[value for cell in row for value in cell.values] for row in self.rows]
        )

    @property
    def address(self) -> str:
        """The CSV file as a ``data:`` address, which a page can offer without a network."""
        return "data:text/csv;charset=utf-8;base64," + b64encode(self.csv().encode()).decode()


def table(
    name: str, title: str, columns: Sequence[Column], rows: Sequence[Sequence[Cell]]
) -> Table:
    """Return a table.

    Raises:
        ValueError: A row does not fit the columns.
    """
    for row in rows:
        if [len(cell.values) for cell in row] != [len(column.names) for column in columns]:
            raise ValueError(f"a row of table {name!r} does not fit its columns")
    return Table(name, title, tuple(columns), tuple(tuple(row) for row in rows))


def words(title: str, name: str) -> Column:
    """Return a column of words."""
    return Column(title, (name,), numeric=False)


def numbers(title: str, name: str) -> Column:
    """Return a column of numbers."""
    return Column(title, (name,))


def estimates(title: str, name: str) -> Column:
    """Return a column of values with their intervals."""
    return Column(title, (name, f"{name}_low", f"{name}_high"))


def word(text: str, style: str = "", small: str = "") -> Cell:
    """Return a cell of words."""
    return Cell(text, (text,), small, style)


def share(value: float) -> Cell:
    """Return a fraction of the labels.

    >>> share(0.1).text, share(0.015).text
    ('10%', '1.5%')
    """
    return Cell(f"{100 * value:g}%", (value,))


def number(value: float | None, form: str = "{:,}") -> Cell:
    """Return a number, in words where it is not available.

    >>> number(1234).text, number(None).text, number(float("nan")).text
    ('1,234', 'not available', 'not available')
    """
    if value is None or not math.isfinite(value):
        return Cell(NOT_AVAILABLE, (None,), style="soft")
    return Cell(form.format(value), (value,))


def estimate(measure: Estimate | Mapping[str, Any] | None, signed: bool = False) -> Cell:
    """Return a value with its interval; None is an estimate that was never made."""
    if isinstance(measure, Mapping):
        measure = read_record(Estimate, measure)
    measure = measure or Estimate(None)
    text = formatted(measure, signed)
    return Cell(
        text.value,
        (measure.value, *(measure.interval or (None, None))),
        text.interval or text.reason,
        "" if measure.value is not None else "soft",
    )


def p_value(value: float | None) -> Cell:
    """Return a p value.

    >>> p_value(0.0004).text, p_value(0.0312).text
    ('< 0.001', '0.031')
    """
    if value is not None and value < 0.001:
        return Cell("< 0.001", (value,))
    return number(value, "{:.3f}")


def tables_in(value: Any) -> Iterator[Table]:
    """Return every table within the sections, in their order."""
    if isinstance(value, Table):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from tables_in(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from tables_in(inner)


def named_apart(value: Any) -> Any:
    """Return the sections with a name of its own for each table: two stores' names can make one file's name."""
    return _named_apart(value, set())


def _named_apart(value: Any, taken: set[str]) -> Any:
    if isinstance(value, Table):
        names = (value.name, *(f"{value.name}-{number}" for number in range(2, len(taken) + 3)))
        name = next(name for name in names if name.casefold() not in taken)
        taken.add(name.casefold())
        return replace(value, name=name)
    if isinstance(value, dict):
        return {key: _named_apart(inner, taken) for key, inner in value.items()}
    if type(value) in (list, tuple):
        return [_named_apart(inner, taken) for inner in value]
    return value
