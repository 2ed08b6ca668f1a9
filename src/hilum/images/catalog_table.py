"""A store's table, ``catalog.parquet``: columns are read when they are asked for.

A million films have 250 MB of paths, hashes and names, of which a training needs a few numbers.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from hilum.arrays import FloatArray, Rows

BLOCK = 1 << 16
"""Rows read at a time where a whole column is not needed at once."""
_DICTIONARY_BYTES = 1 << 24
"""Most bytes of a column's different texts: a million patients' names fit."""
_STRIP = 1 << 12
"""Rows of a table that stay in the processor's cache while its columns are filled."""
SIZES = ("height", "width")
"""Columns that stores lacked which were written before sizes were kept."""


class CatalogTable:
    """The columns of a store's table, in a file or in memory."""

    def __init__(
        self,
        source: pq.ParquetFile | pd.DataFrame,
        block: int = BLOCK,
        path: Path | None = None,
    ) -> None:
        """Use an open Parquet file, or a table that is in memory; ``block`` rows are read at a time."""
        self._block = block
        self._path = path
        if isinstance(source, pd.DataFrame):
            source = pa.Table.from_pandas(source, preserve_index=False)
        self._source: pq.ParquetFile | pa.Table = source
        self._lock = threading.RLock()  # a reading thread asks for columns too
        schema = source.schema_arrow if isinstance(source, pq.ParquetFile) else source.schema
        self._written = tuple(schema.names)
        self._kinds = dict(zip(schema.names, schema.types, strict=True))
        lacking = SIZES if "pixels" in self._written and "height" not in self._written else ()
        self.names = (*self._written, *lacking)

    @staticmethod
    def open(path: Path, block: int = BLOCK) -> CatalogTable:
        """Open a Parquet file and read its description, no row.

        Raises:
            OSError: It cannot be read.
            ValueError: It is no Parquet file.
        """
        return CatalogTable(_parquet(path), block, path)

    def __len__(self) -> int:
        """Return the number of rows."""
        source = self._source
        return int(
            source.metadata.num_rows if isinstance(source, pq.ParquetFile) else source.num_rows
        )

    def is_text(self, name: str) -> bool:
        """Whether a column holds texts."""
        kind = self._kinds[name]
        return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))

    def is_number(self, name: str) -> bool:
        """Whether a column holds numbers; one that the table lacks does."""
        kind = self._kinds.get(name, pa.float32())
        return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))

    def read(self, names: Sequence[str]) -> pa.Table:
        """Return columns, all of them written in the table.

        Raises:
            OSError: The file is damaged.
            ValueError: The file is damaged.
        """
        if isinstance(self._source, pa.Table):
            return self._source.select(list(names))
        with self._lock:
            table = self._source.read(list(names), use_threads=False)
        return table.select(list(names))  # a name before a dot brings those that begin with it

    def encoded(self, name: str) -> pa.DictionaryArray:
        """Return a column of texts as numbers into its different texts, in the order of their first mention, [N].

        Raises:
            OSError: The file is damaged.
            ValueError: The file is damaged.
        """
        if self._path is None:
            return self.read([name])[name].combine_chunks().dictionary_encode()
        # The file has such numbers already, so no text is made for each row.
        chunks = _parquet(self._path, [name]).read([name], use_threads=False)[name]
        return chunks.unify_dictionaries().combine_chunks()

    def frame(self, names: Sequence[str] | None = None, rows: Rows | None = None) -> pd.DataFrame:
        """Return columns as pandas reads them, all unless given, of the rows given, by which they are indexed."""
        chosen = self.names if names is None else tuple(names)
        written = [name for name in chosen if name in self._written]
        table = self.read(written) if rows is None else self._take(written, rows)
        frame: pd.DataFrame = table.to_pandas()
        for name in chosen:
            if name not in self._written:
                frame[name] = pd.array([None] * table.num_rows, "Int32")
        frame = frame[list(chosen)]
        return frame if rows is None else frame.set_axis(pd.Index(rows))

    def _take(self, names: Sequence[str], rows: Rows) -> pa.Table:
        """Return columns of these rows; a column of all rows is never in memory."""
        order = np.argsort(rows, kind="stable")
        ascending, start, taken = rows[order], 0, []
        for block in self.blocks(names):
            first, last = np.searchsorted(ascending, (start, start + block.num_rows))
            taken.append(block.take(pa.array(ascending[first:last] - start)))
            start += block.num_rows
        table = pa.concat_tables(taken)
        return table if (order == np.arange(len(order))).all() else table.take(np.argsort(order))

    def blocks(self, names: Sequence[str]) -> Iterator[pa.Table]:
        """Yield columns, some rows at a time."""
        if isinstance(self._source, pa.Table):
            for start in range(0, len(self), self._block):
                yield self._source.select(list(names)).slice(start, self._block)
            return
        with self._lock:
            for batch in self._source.iter_batches(
                self._block, columns=list(names), use_threads=False
            ):
                yield pa.Table.from_batches([batch]).select(list(names))

    def numbers(self, names: Sequence[str]) -> FloatArray:
        """Return columns of numbers, float32 [N, len(names)]; NaN for null."""
        values = np.empty((len(self), len(names)), np.float32)
        start = 0
        for block in self.blocks(names) if names else ():
            columns = [block[name].to_numpy() for name in names]
            for first in range(0, block.num_rows, _STRIP):
                strip = slice(first, min(first + _STRIP, block.num_rows))
                for column, numbers in enumerate(columns):
                    values[start + strip.start : start + strip.stop, column] = numbers[strip]
            start += block.num_rows
        return values


def write_columns(path: Path, table: pd.DataFrame, all_different: Sequence[str]) -> None:
    """Write a table as Parquet in the form that is read fastest.

    Args:
        path: Where to write.
        table: Its index is not written.
        all_different: Columns whose texts hardly repeat; each text of the others is written once.
    """
    repeating = [name for name in table.columns if name not in all_different]
    table.to_parquet(
        path,
        index=False,
        compression="lz4",
        use_dictionary=repeating,
        dictionary_pagesize_limit=_DICTIONARY_BYTES,
    )


def _parquet(path: Path, encoded: Sequence[str] = ()) -> pq.ParquetFile:
    # A buffered stream, not a mapped file: mapped pages would count as memory of the process.
    return pq.ParquetFile(
        path, buffer_size=1 << 20, pre_buffer=False, read_dictionary=list(encoded)
    )
