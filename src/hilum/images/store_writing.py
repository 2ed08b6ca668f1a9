"""Writes the files of a store, see ``hilum.images.store``: shards, table, failures, the manifest last."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hilum.catalog import Catalog
from hilum.csv_files import write_csv
from hilum.files import replacing, sha256, write_hashed_json
from hilum.images.catalog_table import CatalogTable, write_columns
from hilum.images.enhance import Preparation, pixel_hash
from hilum.images.store import (
    CATALOG,
    CATALOG_HASH,
    DESCRIBED,
    FINGERPRINT,
    FORMAT,
    HEADER_BYTES,
    MANIFEST,
    ShardEntry,
    Store,
)

FAILURES, MISSING, FLAGGED = "failures.csv", "missing.csv", "flagged.csv"


def shard_name(number: int) -> str:
    """Return a shard's file name.

    >>> shard_name(7)
    'images-00007.npy'
    """
    return f"images-{number:05d}.npy"


def shard_header(films: int, size: int) -> bytes:
    """Return the NPY header of a shard, HEADER_BYTES long."""
    buffer = io.BytesIO()
    layout = {"descr": "|u1", "fortran_order": False, "shape": (films, size, size)}
    np.lib.format.write_array_header_1_0(buffer, layout)
    header = buffer.getvalue()
    if len(header) != HEADER_BYTES:
        raise ValueError(f"an NPY header of {len(header)} bytes, expected {HEADER_BYTES}")
    return header


def write_store(
    folder: Path,
    catalog: Catalog,
    images: np.ndarray,
    preparation: Preparation,
    sizes: Sequence[tuple[int, int] | None] | None = None,
) -> Store:
    """Write films that are already prepared, as one shard, and open the store.

    `hilum prepare` makes a store from files, this one from arrays in memory.

    Args:
        folder: Where; made if need be.
        catalog: One row a film.
        images: uint8 [N, size, size] in the catalogue's order.
        preparation: How they were prepared.
        sizes: Height and width in pixels of each film as it came; None where that is not known.

    Raises:
        ValueError: Images, sizes and catalogue differ in length, or images in size from the
            preparation.
    """
    films, size = len(catalog.table), preparation.size
    if images.dtype != np.uint8 or images.shape != (films, size, size):
        raise ValueError(
            f"images are {images.dtype} {list(images.shape)}, expected uint8 {[films, size, size]}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / shard_name(0)
    with replacing(path) as aside, aside.open("wb") as file:
        file.write(shard_header(films, size))
        file.write(np.ascontiguousarray(images).tobytes())
    shards = [ShardEntry(file=path.name, films=films, sha256=sha256(path))]
    pixels = [pixel_hash(film) for film in images]
    write_table(folder, stored_table(catalog.table, pixels, sizes or [None] * films))
    write_failures(folder, [])
    manifest = make_manifest(catalog, preparation, shards, dict(catalog.excluded), {})
    write_manifest(folder, manifest)
    return Store.open(folder)


def stored_table(
    table: pd.DataFrame, pixels: Sequence[str], sizes: Sequence[Sequence[int] | None]
) -> pd.DataFrame:
    """Return a catalogue's rows with STORED_COLUMNS.

    Args:
        table: [N] rows.
        pixels: [N] hashes of the stored films.
        sizes: [N] height and width of the films as they came, None where that is not known.

    Raises:
        ValueError: The three differ in length.
    """
    heights, widths = ([None if size is None else size[side] for size in sizes] for side in (0, 1))
    columns = {
        "pixels": pd.array(list(pixels), "string"),
        "height": _sides(heights),
        "width": _sides(widths),
    }
    return table.reset_index(drop=True).assign(**columns)


def _sides(values: Sequence[int | None]) -> pd.api.extensions.ExtensionArray:
    return pd.array(values, "Int32")


def write_table(folder: Path, table: pd.DataFrame) -> None:
    """Write ``catalog.parquet``: one row a stored film."""
    with replacing(folder / CATALOG) as aside:
        write_columns(aside, table.reset_index(drop=True), ("path", "pixels"))


def write_failures(folder: Path, failures: Sequence[tuple[int, str, str]]) -> None:
    """Write ``failures.csv``: the catalogue row, the path and the reason of each film that could not be stored."""
    write_csv(folder / FAILURES, ["row", "path", "reason"], failures)


def write_missing(folder: Path, paths: Sequence[str]) -> None:
    """Write ``missing.csv``: the path of each film that the source's tables name and that is not on disk."""
    write_csv(folder / MISSING, ["path"], [[path] for path in paths])


def write_flagged(folder: Path, films: Sequence[tuple[int, str, str, str]]) -> None:
    """Write ``flagged.csv``: row in the store, path, what the film looks like, and what was done about it."""
    write_csv(folder / FLAGGED, ["row", "path", "looks_like", "done"], films)


def make_manifest(
    catalog: Catalog,
    preparation: Preparation,
    shards: Sequence[ShardEntry],
    excluded: dict[str, int],
    failed: dict[str, int],
    **plan: Any,
) -> dict[str, Any]:
    """Return the content of ``manifest.json``; a store is finished once it is written.

    Raises:
        ValueError: The rows read are not the rows kept, excluded and failed.
    """
    kept = sum(shard["films"] for shard in shards)
    if kept + sum(excluded.values()) + sum(failed.values()) != catalog.rows_read:
        raise ValueError("rows read must equal rows kept, excluded and failed")
    return {
        "format": FORMAT,
        "source": catalog.source,
        "findings": list(catalog.findings),
        **({DESCRIBED: list(catalog.described)} if catalog.described else {}),
        "rows_read": catalog.rows_read,
        "rows_kept": kept,
        "rows_excluded": excluded,
        "rows_failed": failed,
        "preparation": preparation.to_json(),
        "shards": list(shards),
        "notes": list(catalog.notes),
        **({"task": catalog.task} if catalog.task else {}),
        **plan,
    }


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Write ``manifest.json`` with the hash of the table and its own: the store is then finished."""
    store = Store(folder, manifest, CatalogTable.open(folder / CATALOG))
    hashes = {
        CATALOG_HASH: sha256(folder / CATALOG),
        FINGERPRINT: store.computed_fingerprint(),
    }
    write_hashed_json(folder / MANIFEST, {**manifest, **hashes})
