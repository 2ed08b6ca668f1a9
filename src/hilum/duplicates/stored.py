"""``duplicates.parquet``: the copies found in a store, and those known without it."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hilum.duplicates.copies import Copies, pair_table
from hilum.duplicates.find import find_copies
from hilum.duplicates.options import CopyOptions
from hilum.errors import DataError
from hilum.files import inside, replacing
from hilum.images.equal_pixels import equal_pixels
from hilum.images.films import Films
from hilum.images.store import Store
from hilum.images.table_hash import with_hash, without_hash
from hilum.listener import SILENT, Listener
from hilum.splits import KnownCopies

FILE_NAME = "duplicates.parquet"
FORMAT = 1
KEY = b"hilum"
"""Key of the record, as JSON, in Parquet's metadata."""
RECORD = "format", "store", "options", "films"
"""Keys of the record beside its hash."""
COLUMNS = ("first", "second", "kind", "correlation")
"""Paths of two films, "exact" or "near", and their correlation once aligned."""
TEXTS = pa.string(), pa.large_string()
"""Arrow types of a column of texts."""


def write_duplicates(store: Store, copies: Copies, options: CopyOptions) -> Path:
    """Write a store's copies into its folder, by path; the same copies give the same bytes.

    Args:
        store: The only store that was searched.
        copies: As `find_copies` returns them.
        options: The options of the search.
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
    record = with_hash(arrow, record)
    with replacing(store.folder / FILE_NAME) as aside:
        pq.write_table(
            arrow.replace_schema_metadata({KEY: json.dumps(record, sort_keys=True).encode()}), aside
        )
    return store.folder / FILE_NAME


def read_duplicates(store: Store) -> pd.DataFrame | None:
    """Return the copies kept beside a store, with COLUMNS; None where there was no search.

    Raises:
        DataError: The file is damaged, or is about other films than the store has.
    """
    path = store.folder / FILE_NAME
    if not path.exists():
        return None
    try:
        arrow = pq.read_table(inside(store.folder, FILE_NAME)).select(list(COLUMNS))
        arrow.validate(full=True)  # that texts are texts
        if not all(arrow.schema.field(name).type in TEXTS for name in ("first", "second", "kind")):
            raise TypeError("a column of texts holds something else")
        if KEY not in (arrow.schema.metadata or {}):
            raise ValueError("it has no record of its search")
        record = without_hash(arrow, json.loads(arrow.schema.metadata[KEY]), RECORD)
        table: pd.DataFrame = arrow.to_pandas()
        version, fingerprint = record["format"], record["store"]
    except Exception as error:
        # pyarrow, pandas and the file system each have their own errors for a damaged file.
        raise DataError(
            f"{path} cannot be read ({' '.join(str(error).split()):.160}): {_REMEDY}"
        ) from error
    if version != FORMAT:
        raise DataError(f"{path} is of format {version}, this version reads {FORMAT}: {_REMEDY}")
    if fingerprint != store.fingerprint:
        raise DataError(f"{path} is about other films than the store has: {_REMEDY}")
    return table


def known_and_found(films: Films, listener: Listener = SILENT) -> Copies:
    """Return the copies among all films, with the near ones of each store's own file.

    Args:
        films: One store or several.
        listener: Gets progress, and where the search was cut short.

    Raises:
        DataError: A store's file is damaged or stale.
    """
    copies = find_copies(films, listener=listener)
    pairs = copies.pairs[list(COLUMNS)]
    known = [
        _near(store, int(start)) for store, start in zip(films.stores, films.starts, strict=False)
    ]
    every = pd.concat([pairs, *known], ignore_index=True).drop_duplicates(["first", "second"])
    rows = every.itertuples(index=False, name=None)
    return replace(copies, pairs=pair_table(rows, np.asarray(films.named_patients)))


def _near(store: Store, start: int) -> pd.DataFrame:
    """Return the near pairs of a store's file, with their rows among all films."""
    table = read_duplicates(store)
    if table is None:
        return pd.DataFrame(columns=list(COLUMNS))
    rows = _rows(store, table) + start
    return table.assign(first=rows[:, 0], second=rows[:, 1])[table["kind"] == "near"]


def known_copies(store: Store) -> KnownCopies:
    """Return the copies that a store's split must keep together: films of equal pixels, and those of its file.

    A store with that file was prepared with ``--dedup``: there a split has each picture only once.

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
        raise DataError(
            f"{store.folder / FILE_NAME} names films that the store does not have: {_REMEDY}"
        )
    return rows


_REMEDY = "delete it, or prepare the store again with --dedup."
