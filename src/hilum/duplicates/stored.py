"""``duplicates.parquet``: the copies that were found in a store, kept beside it, and what is known without them."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hilum.duplicates.copies import Copies, pair_table
from hilum.duplicates.exact import equal_pixels
from hilum.duplicates.find import find_copies
from hilum.duplicates.options import CopyOptions
from hilum.errors import DataError
from hilum.files import replacing
from hilum.images.films import Films
from hilum.images.store import Store
from hilum.listener import SILENT, Listener
from hilum.splits import KnownCopies

FILE_NAME = "duplicates.parquet"
FORMAT = 1
KEY = b"hilum"
"""Where Parquet's metadata has the record, as JSON."""
COLUMNS = ("first", "second", "kind", "correlation")
"""Paths of two films, "exact" or "near", and their correlation once aligned."""
TEXTS = pa.string(), pa.large_string()
"""Types of a column of paths or kinds."""


def write_duplicates(store: Store, copies: Copies, options: CopyOptions) -> Path:
    """Write a store's copies into its folder, by path; the same copies give the same bytes.

    Args:
        store: The store that they were found in, alone.
        copies: As `find_copies` returns them.
        options: What they were found by.
    """
    table = copies.pairs[list(COLUMNS)].copy()
    for side in ("first", "second"):
        rows = copies.pairs[side].to_numpy(np.int64)
        table[side] = store.columns(["path"], rows)["path"].to_numpy(object)
    record = {
        "format": FORMAT,
        "store": store.fingerprint,
        "options": asdict(options),
        "films": len(store),
    }
    arrow = pa.Table.from_pandas(
        table.astype({"first": "string", "second": "string"}), preserve_index=False
    )
    with replacing(store.folder / FILE_NAME) as aside:
        pq.write_table(
            arrow.replace_schema_metadata({KEY: json.dumps(record, sort_keys=True).encode()}), aside
        )
    return store.folder / FILE_NAME


def read_duplicates(store: Store) -> pd.DataFrame | None:
    """Return the copies kept beside a store, with COLUMNS; None where none were looked for.

    Raises:
        DataError: The file is damaged, or is about other films than the store has.
    """
    path = store.folder / FILE_NAME
    if not path.exists():
        return None
    try:
        found = pq.read_table(path).select(list(COLUMNS))
        found.validate(full=True)  # that texts are texts
        if not all(found.schema.field(name).type in TEXTS for name in ("first", "second", "kind")):
            raise TypeError("a column of texts holds something else")
        record: dict[str, Any] = json.loads((found.schema.metadata or {})[KEY])
        table: pd.DataFrame = found.to_pandas()
        known, about = record["format"], record["store"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(
            f"{path} cannot be read ({' '.join(str(error).split()):.60}): {_REMEDY}"
        ) from error
    if known != FORMAT:
        raise DataError(f"{path} is of format {known}, this version reads {FORMAT}: {_REMEDY}")
    if about != store.fingerprint:
        raise DataError(f"{path} is about other films than the store has: {_REMEDY}")
    return table


def known_and_found(films: Films, listener: Listener = SILENT) -> Copies:
    """Return the copies that a look at all films finds, and the near ones that each store's own file has besides.

    Args:
        films: One store or several.
        listener: Hears progress, and where the search was cut short.

    Raises:
        DataError: A store's file is damaged or stale.
    """
    found = find_copies(films, listener=listener)
    pairs = found.pairs[list(COLUMNS)]
    known = [
        _near(store, int(start)) for store, start in zip(films.stores, films.starts, strict=False)
    ]
    every = pd.concat([pairs, *known], ignore_index=True).drop_duplicates(["first", "second"])
    rows = every.itertuples(index=False, name=None)
    return replace(found, pairs=pair_table(rows, np.asarray(films.patient_codes)))


def _near(store: Store, start: int) -> pd.DataFrame:
    """Return the near pairs of a store's file by their rows among all films."""
    table = read_duplicates(store)
    if table is None:
        return pd.DataFrame(columns=list(COLUMNS))
    rows = _rows(store, table) + start
    return table.assign(first=rows[:, 0], second=rows[:, 1])[table["kind"] == "near"]


def known_copies(store: Store) -> KnownCopies:
    """Return the copies that a split of a store has to heed: films of equal pixels, and those of its own file.

    A picture is wanted once in a part where the store was prepared with ``--dedup``, which is where
    the file is.

    Raises:
        DataError: The file is damaged or stale.
    """
    exact = equal_pixels(store.columns(["pixels"])["pixels"], store.preparation.size)
    stored = stored_copies(store)
    if stored is None:
        return KnownCopies(exact)
    return KnownCopies(np.concatenate([exact, stored]), once=True)


def stored_copies(store: Store) -> NDArray[np.int64] | None:
    """Return the pairs of a store's own file as its rows, [M, 2]; None where none were looked for.

    Raises:
        DataError: The file is damaged or stale.
    """
    table = read_duplicates(store)
    return None if table is None else _rows(store, table)


def _rows(store: Store, table: pd.DataFrame) -> NDArray[np.int64]:
    """Return the pairs as rows of the store, int64 [M, 2].

    Raises:
        DataError: A path is not the store's.
    """
    paths = pd.Index(store.columns(["path"])["path"])
    rows = np.stack(
        [paths.get_indexer(table[side]) for side in ("first", "second")], axis=1
    ).astype(np.int64)
    if (rows < 0).any():
        raise DataError(f"{store.folder / FILE_NAME} names films that the store has not: {_REMEDY}")
    return rows


_REMEDY = "delete it, or prepare the store again with --dedup."
