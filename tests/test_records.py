"""Typed records from JSON: what is read, and what is refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest

from hilum.records import read_record


class Ends(NamedTuple):
    low: float
    high: float


@dataclass(frozen=True)
class Inner:
    count: int
    ends: Ends | None = None


@dataclass(frozen=True)
class Outer:
    name: str
    value: float
    good: bool
    inner: Inner
    pair: tuple[int, str]
    table: tuple[tuple[int, ...], ...]
    by_name: Mapping[str, Inner | None]
    anything: Any = None
    names: tuple[str, ...] = field(default_factory=tuple)


WHOLE = {
    "name": "a",
    "value": 1,
    "good": True,
    "inner": {"count": 2, "ends": [0, 1.5]},
    "pair": [1, "x"],
    "table": [[1], []],
    "by_name": {"b": {"count": 3}, "c": None},
    "later": "left out",
}


def test_values_become_records_tuples_and_floats():
    record = read_record(Outer, WHOLE)
    assert record.inner == Inner(2, Ends(0.0, 1.5))
    assert isinstance(record.value, float)
    assert record.table == ((1,), ())
    assert record.by_name == {"b": Inner(3), "c": None}
    assert record.names == ()


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("name", 3, "name is 3"),
        ("value", True, "value is True"),
        ("good", 1, "good is 1"),
        ("inner", [], "inner: Inner is no mapping"),
        ("inner", {}, "inner: no count"),
        ("inner", {"count": 1, "ends": [1]}, r"inner: ends is \[1\]"),
        ("pair", [1], r"pair is \[1\]"),
        ("table", [[1], ["x"]], "table is 'x'"),
        ("by_name", [], r"by_name is \[\]"),
        ("by_name", {"b": {"count": "3"}}, "by_name: count is '3'"),
    ],
)
def test_another_type_is_refused_with_the_fields_name(name, value, line):
    with pytest.raises(ValueError, match=f"^{line}$"):
        read_record(Outer, {**WHOLE, name: value})
