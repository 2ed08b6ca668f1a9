"""Prepared films on disk: packed uint8 shards that NumPy maps, one table, one manifest.

```
STORE/images-00000.npy …   uint8 [n, size, size]; shards may differ in length
      catalog.parquet      one row a film, in image order: FILM_COLUMNS, one column a finding, STORED_COLUMNS
      manifest.json        source, counts by reason, preparation, SHA-256 of the table, every shard
                           and itself; written last
      failures.csv         row of the source's catalogue, path, reason
```
Nothing in it depends on the time, the machine or the number of workers: the same films give the same bytes.
Opening a store compares manifest and table with their hashes, the first read of a film its pixels.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, TypedDict, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from hilum.arrays import Rows
from hilum.catalog import FILM_COLUMNS, Task
from hilum.errors import DataError, HilumError
from hilum.files import OWN_HASH, inside, is_plain_name, read_hashed_json, sha256
from hilum.images.catalog_table import BLOCK, SIZES, CatalogTable
from hilum.images.enhance import Preparation
from hilum.images.pixel_check import PixelCheck

MANIFEST, CATALOG = "manifest.json", "catalog.parquet"
FORMAT = 1
"""Raised when older readers could not read a store."""
STORED_COLUMNS = ("pixels", "height", "width")
"""Columns that a store adds: the hash of the stored film, and the size in pixels of the film as it
came, upright.

The sizes are null where they are not known, as in stores that were written before sizes were kept.
"""
DESCRIBED = "described"
"""Key of the manifest: further columns of the table, where its source has them."""
CATALOG_HASH = "catalog_sha256"
"""Key of the manifest: SHA-256 of the table. Stores of 0.1.0 have none, and no hash of the manifest."""
FLAGGED_ROWS = "flagged_rows"
"""Key of the manifest: rows of films that looked inverted or turned, by what they looked like."""
FINGERPRINT = "fingerprint"
"""Key of the manifest: the store's fingerprint, vouched for by the hashes of table and manifest."""
HEADER_BYTES = 128
"""Every shard's header is that long, so that each row's offset is known while the shard is written."""


class ShardEntry(TypedDict):
    """A shard's entry in the manifest."""

    file: str
    films: int
    sha256: str


class Store:
    """Prepared films of one source, opened for reading.

    Opening checks the table and the manifest by their hashes and reads no image.
    """

    def __init__(
        self, folder: Path, manifest: dict[str, Any], table: CatalogTable | pd.DataFrame
    ) -> None:
        """Use `Store.open`."""
        self.folder = folder
        self.manifest = manifest
        self.table = table if isinstance(table, CatalogTable) else CatalogTable(table)
        self.source: str = manifest["source"]
        self.findings: tuple[str, ...] = tuple(manifest["findings"])
        self.preparation = Preparation.from_json(manifest["preparation"])
        self.shards: list[ShardEntry] = manifest["shards"]
        self._starts = np.cumsum([0] + [shard["films"] for shard in self.shards])
        self._maps: dict[int, np.ndarray] = {}
        self._check = PixelCheck(len(self), lambda: self.texts("pixels"))

    @classmethod
    def open(cls, folder: Path) -> Store:
        """Open a store.

        Raises:
            DataError: The folder is no finished store, is of a newer format, or one of its files is
                missing, of the wrong length, outside of it, or not what the manifest's hash says.
        """
        folder = Path(folder)
        manifest = _read_manifest(folder)
        with _damaged(folder):
            if manifest.get(CATALOG_HASH, known := sha256(folder / CATALOG)) != known:
                raise ValueError("not what the manifest's hash says")
            table = CatalogTable.open(folder / CATALOG)
        store = cls(folder, manifest, table)
        store._check_lengths()
        return store

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines for the user on what cannot be checked."""
        if CATALOG_HASH in self.manifest:
            return ()
        return (
            f"{self.folder} was prepared by an earlier version without hashes of its table and manifest: "
            "changes of these are not noticed",
        )

    @property
    def task(self) -> Task | None:
        """The set's own task; None where it has none, and in stores of before 0.2."""
        named = self.manifest.get("task")
        return next((task for task in get_args(Task) if task == named), None)

    def __len__(self) -> int:
        """Return the number of films."""
        return len(self.table)

    @cached_property
    def catalog(self) -> pd.DataFrame:
        """The whole table, one row a film, read when first asked for; see `columns` for less of it.

        Raises:
            DataError: The file is damaged.
        """
        return self.columns()

    def columns(self, names: Sequence[str] | None = None, rows: Rows | None = None) -> pd.DataFrame:
        """Return columns of the table, all unless given, and of these rows, by which it is indexed.

        Raises:
            DataError: The file is damaged.
        """
        with _damaged(self.folder):
            return self.table.frame(names, rows)

    def texts(self, name: str) -> pa.ChunkedArray:
        """Return a column of texts as Arrow has it, [N].

        Raises:
            DataError: The file is damaged.
        """
        with _damaged(self.folder):
            return self.table.read([name])[name]

    @cached_property
    def patients(self) -> pa.DictionaryArray:
        """The patient of each film, [N], as a number into the names in the order of their first mention.

        Raises:
            DataError: The file is damaged.
        """
        with _damaged(self.folder):
            return self.table.encoded("patient")

    def text_blocks(self, name: str) -> Iterator[pa.ChunkedArray]:
        """Yield a column of texts some rows at a time.

        Raises:
            DataError: The file is damaged.
        """
        with _damaged(self.folder):
            for block in self.table.blocks([name]):
                yield block[name]

    @cached_property
    def labels(self) -> np.ndarray:
        """Labels, float32 [N, F]: 1 present, 0 absent, -1 uncertain, NaN not stated."""
        with _damaged(self.folder):
            return self.table.numbers(self.findings)

    @cached_property
    def fingerprint(self) -> str:
        """Hex SHA-256 over the shards' hashes, the labels, the paths and the patients.

        From the manifest where it has it: a million rows take a second to hash.
        """
        return self.manifest.get(FINGERPRINT) or self.computed_fingerprint()

    def computed_fingerprint(self) -> str:
        """Return the fingerprint, computed from the table.

        Raises:
            DataError: The file is damaged.
        """
        digest = hashlib.sha256()
        facts = {"shards": self.shards, "findings": self.findings, "source": self.source}
        digest.update(json.dumps(facts, sort_keys=True).encode())
        for start in range(0, len(self), BLOCK):
            labels = self.labels[start : start + BLOCK]
            # NaN has many bit patterns: one stands for all.
            digest.update(np.where(np.isnan(labels), np.float32(np.nan), labels).tobytes())
        with _damaged(self.folder):
            for column in ("path", "patient"):
                for number, block in enumerate(self.table.blocks([column])):
                    digest.update(b"\n" * (number > 0) + _lines(block[column]))
        return digest.hexdigest()

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Return films, uint8 [n, size, size], in the order asked for.

        Args:
            rows: int [n], each from 0 to ``len(store) - 1``, in any order, with repeats if wanted.

        Raises:
            IndexError: A row is out of range.
            DataError: A film that is read for the first time is not what was written.
        """
        rows = np.asarray(rows, dtype=np.int64)
        if rows.size and (rows.min() < 0 or rows.max() >= len(self)):
            raise IndexError(
                f"rows run from 0 to {len(self) - 1}, asked for {rows.min()} to {rows.max()}"
            )
        films = np.empty((len(rows), self.preparation.size, self.preparation.size), np.uint8)
        shards = np.searchsorted(self._starts, rows, side="right") - 1
        for index, (number, row) in enumerate(
            zip(shards.tolist(), (rows - self._starts[shards]).tolist(), strict=True)
        ):
            films[index] = self._map(number)[row]
        with _damaged(self.folder):
            changed = self._check.changed(rows, films)
        if changed is not None:
            path = self.columns(["path"], rows[changed : changed + 1])["path"].iloc[0]
            file = self.folder / self.shards[shards[changed]]["file"]
            raise DataError(
                f"{file} is not what was written: the pixels of film {path!r} differ from their hash in "
                f"{CATALOG}: {_again(self.folder)}"
            )
        return films

    def flags(self) -> list[str]:
        """Return what each film looked like when it was prepared, [N], entries of `hilum.images.film_check.FLAGS`.

        All are "" in stores of earlier versions, whose films were not checked.
        """
        flags = [""] * len(self)
        for flag, rows in self.manifest.get(FLAGGED_ROWS, {}).items():
            for row in rows:
                flags[row] = flag
        return flags

    def damages(self) -> Iterator[str]:
        """Read every shard, and yield the name of each that is not what was written."""
        for shard in self.shards:
            if sha256(self.folder / shard["file"]) != shard["sha256"]:
                yield shard["file"]

    def verify(self) -> None:
        """Read every shard and compare its hash with the manifest's.

        Raises:
            DataError: A shard differs from what was written.
        """
        for name in self.damages():
            raise DataError(f"{self.folder / name} is not what was written: {_again(self.folder)}")

    def _map(self, number: int) -> np.ndarray:
        if number not in self._maps:
            shard, size = self.shards[number], self.preparation.size
            # Mapped by the manifest, which has a hash, and not by the shard's own header.
            self._maps[number] = np.memmap(
                self.folder / shard["file"],
                np.uint8,
                "r",
                HEADER_BYTES,
                (shard["films"], size, size),
            ).view(np.ndarray)
        return self._maps[number]

    def _check_lengths(self) -> None:
        described = self.manifest.get(DESCRIBED, ())
        expected_columns = [*FILM_COLUMNS, *self.findings, *described, *STORED_COLUMNS]
        of_numbers = {"age", *self.findings, *SIZES, *(n for n in described if n == "study_order")}
        if (
            list(self.table.names) != expected_columns
            or len(self) != self._starts[-1]
            or not all(
                self.table.is_number(name) if name in of_numbers else self.table.is_text(name)
                for name in expected_columns
            )
        ):
            raise DataError(
                f"{self.folder / CATALOG} does not fit its manifest: {_again(self.folder)}"
            )
        for shard in self.shards:
            path = self.folder / shard["file"]
            length = HEADER_BYTES + shard["films"] * self.preparation.size**2
            if not path.is_file() or path.stat().st_size != length:
                raise DataError(
                    f"{path} is missing or not {length} bytes long: {_again(self.folder)}"
                )


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    if not path.is_file():
        raise DataError(
            f"{folder} is no finished store (no {MANIFEST}): give a folder that `hilum prepare … --out STORE` wrote."
        )
    try:
        manifest, hashed = read_hashed_json(inside(folder, MANIFEST))
        if hashed != (CATALOG_HASH in manifest):
            raise ValueError(f"{OWN_HASH} or {CATALOG_HASH} is missing")
        version, source = manifest["format"], manifest["source"]
        if not (isinstance(source, str) and is_plain_name(source)):
            raise ValueError(f"the source {source!r:.60} is no name of a data set")
        for file in (CATALOG, *(_shard_file(shard) for shard in manifest["shards"])):
            inside(folder, file)
        findings, _ = manifest["findings"], Preparation.from_json(manifest["preparation"])
        if not isinstance(manifest.get(FINGERPRINT, ""), str):
            raise TypeError("the fingerprint is no text")
        if not all(isinstance(finding, str) for finding in findings):
            raise ValueError("a finding is no text")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, HilumError) as error:
        fault = f"no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise DataError(f"{path} cannot be read ({fault:.160}): {_again(folder)}") from error
    if version != FORMAT:
        raise DataError(
            f"{path} is of format {version}, this version reads {FORMAT}: {_again(folder)}"
        )
    return dict(manifest)


def _shard_file(shard: dict[str, Any]) -> str:
    """Return the file name of a manifest's entry for a shard.

    Raises:
        ValueError: It is no such entry.
        KeyError: It lacks something.
        TypeError: It is no such entry.
    """
    file, films, _ = shard["file"], shard["films"], shard["sha256"]
    if not is_plain_name(file) or type(films) is not int or films < 0:
        raise ValueError(f"{file!r:.60} with {films!r:.20} films is no shard")
    return str(file)


@contextmanager
def _damaged(folder: Path) -> Iterator[None]:
    """Raise a DataError where reading the table fails."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise DataError(f"{folder / CATALOG} cannot be read: {_again(folder)}") from error


def _lines(texts: pa.ChunkedArray) -> bytes:
    """Return texts as lines: one after the other, a line feed between."""
    together = pa.LargeListArray.from_arrays([0, len(texts)], texts.combine_chunks())
    lines: bytes = pc.binary_join(together, pa.scalar("\n", texts.type))[0].as_buffer().to_pybytes()
    return lines


def _again(folder: Path) -> str:
    return f"delete {folder} and prepare it again."
