"""A table's own hash covers its values and its record."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest

from hilum.images.table_hash import CONTENT, with_hash, without_hash

TABLE = pa.table({"path": ["a.png", "b.png", None], "share": [0.25, 0.5, 0.75]})
RECORD: dict[str, Any] = {"rows": 3, "cuts": {"Edema": 0.5}, "data": "é"}


def read(record: dict[str, Any], table: pa.Table = TABLE) -> dict[str, Any]:
    return without_hash(table, json.loads(json.dumps(record)), RECORD)


def test_a_record_comes_back_as_it_was() -> None:
    assert read(with_hash(TABLE, RECORD)) == RECORD
    in_parts = pa.concat_tables([TABLE.slice(0, 1), TABLE.slice(1)])
    assert read(with_hash(TABLE, RECORD), in_parts) == RECORD


@pytest.mark.parametrize(
    ("table", "record"),
    [
        (TABLE, {"rows": 2}),
        (TABLE, {"cuts": {"Edema": 0.25}}),
        (TABLE, {"cuts": {"Edemb": 0.5}}),
        (TABLE, {"more": 1}),
        (TABLE.set_column(1, "share", pa.array([0.25, 0.5, 0.625])), {}),
        (TABLE.set_column(0, "path", pa.array(["a.png", "c.png", None])), {}),
        (TABLE.set_column(0, "path", pa.array(["a.png", "b.png", "None"])), {}),
        (TABLE.rename_columns(["path", "rhare"]), {}),
        (TABLE.slice(1), {}),
    ],
)
def test_any_change_of_table_or_record_is_refused(table: pa.Table, record: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="own SHA-256"):
        read({**with_hash(TABLE, RECORD), **record}, table)


def test_a_lost_hash_is_no_table_of_an_earlier_version() -> None:
    changed = with_hash(TABLE, RECORD)
    changed["bontent_sha256"] = changed.pop(CONTENT)  # one bit of the key
    for record in (changed, {}):
        with pytest.raises(ValueError, match="is lost"):
            read(record)


def test_tables_of_earlier_versions_are_read() -> None:
    assert read(RECORD) == RECORD  # 0.1.0
    # Of 0.2.0 before its release, when the hash was that of the table alone.
    alone = "b6159b88cd9cc59a790fd3e5ce52cd5adca72793ecab7744e801dd9669fc36a8"
    assert read({**RECORD, CONTENT: alone}) == RECORD
