"""The hash that a Parquet table carries in its metadata: of its values and of the rest of that metadata."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

CONTENT = "content_sha256"
"""Key of a table's record, which its metadata hold; tables of 0.1.0 have none."""


def with_hash(table: pa.Table, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table's record, plain values for JSON, with the hash of both."""
    return {**record, CONTENT: _hash(table, record)}


def without_hash(
    table: pa.Table, record: Mapping[str, Any], hashless: Collection[str]
) -> dict[str, Any]:
    """Return a table's record as it was before `with_hash`.

    Args:
        table: As it was read.
        record: What was read with it.
        hashless: The keys of such a record of 0.1.0, which had no hash: with another key, or none
            at all, the hash is lost.

    Raises:
        ValueError: Table or record is not what was written.
    """
    record = dict(record)
    expected = record.pop(CONTENT, None)
    if expected is None:
        if not record or not set(record) <= set(hashless):
            raise ValueError("its own SHA-256 is lost")
    # Before 0.2.0 was released the hash was for a while that of the table alone.
    elif expected not in (_hash(table, record), _hash(table)):
        raise ValueError("it does not match its own SHA-256")
    return record


def _hash(table: pa.Table, record: Mapping[str, Any] | None = None) -> str:
    """Return the hex SHA-256 of names, texts and numbers, whatever their layout in a file, and of the record."""
    digest = hashlib.sha256()
    for name in table.column_names:
        column = table[name]
        digest.update(json.dumps([name, len(column), column.null_count]).encode())
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            digest.update(json.dumps(column.to_pylist()).encode())
        else:
            digest.update(np.ascontiguousarray(column.to_numpy()).tobytes())
    if record is not None:
        digest.update(json.dumps(record, sort_keys=True).encode())
    return digest.hexdigest()
