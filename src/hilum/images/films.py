"""Several stores read as one: rows one after the other, shared patients, one list of findings."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from hilum.arrays import BoolArray, FloatArray, Rows
from hilum.errors import DataError
from hilum.images.catalog_table import BLOCK
from hilum.images.enhance import Preparation
from hilum.images.equal_pixels import equal_pixels
from hilum.images.store import Store
from hilum.listener import SILENT, Listener
from hilum.stratify import first_of_group


class Films:
    """One or more stores, their films one after the other. Has what a `Store` has for reading.

    Attributes:
        stores: In the order given.
        sources: One name a store: its source, with the store's fingerprint where two stores share a
            source.
        starts: int64 [S + 1], the first row of each store, and the number of films.
        preparation: The steps that all films went through.
        unlabelled: How many of the stores, the last ones, have their labels ignored.
        findings: The union over the other stores, in the order of their first mention.
    """

    def __init__(self, stores: Sequence[Store], unlabelled: int = 0) -> None:
        """Join the stores; labels of the last ``unlabelled`` of them are not looked at.

        Raises:
            DataError: Stores were prepared differently, or one is given twice.
        """
        if not stores:
            raise ValueError("give at least one store")
        _refuse_mixture(stores)
        self.stores = tuple(stores)
        self.sources = _names(stores)
        self.starts = np.cumsum([0] + [len(store) for store in stores]).astype(np.int64)
        self.preparation: Preparation = stores[0].preparation
        self.unlabelled = unlabelled
        self.findings = tuple(
            dict.fromkeys(finding for store in self._labelled for finding in store.findings)
        )

    @classmethod
    def open(
        cls,
        folders: Sequence[Path],
        unlabelled: Sequence[Path] = (),
        listener: Listener = SILENT,
    ) -> Films:
        """Open stores and join them; the unlabelled ones come last, and their labels are not looked at.

        Raises:
            DataError: One is no store, or they do not go together.
        """
        stores = [Store.open(folder) for folder in (*folders, *unlabelled)]
        for note in (note for store in stores for note in store.notes):
            listener.note(note)
        return cls(stores, len(unlabelled))

    def __len__(self) -> int:
        """Return the number of films."""
        return int(self.starts[-1])

    @cached_property
    def catalog(self) -> pd.DataFrame:
        """One row a film: the stores' columns, a column ``source``, and patient and study as ``source:name``.

        The source is the store's own, by which films are known again. All columns are read when
        first asked for; see `columns` for less of them.

        Raises:
            DataError: A store's table is damaged.
        """
        return self.columns()

    def columns(self, names: Sequence[str] | None = None, rows: Rows | None = None) -> pd.DataFrame:
        """Return columns of the catalogue, all unless given, and of these rows, by which it is indexed.

        Raises:
            DataError: A store's table is damaged.
        """
        if rows is None:
            tables = [self._named(origin, names, None) for origin in range(len(self.stores))]
            return pd.concat(tables, ignore_index=True)
        origins = np.searchsorted(self.starts, rows, side="right") - 1
        present = np.unique(origins).tolist() or [0]
        tables = [self._named(origin, names, rows[origins == origin]) for origin in present]
        by_store = np.argsort(origins, kind="stable")
        return tables[0] if len(tables) == 1 else pd.concat(tables).iloc[np.argsort(by_store)]

    def _named(self, origin: int, names: Sequence[str] | None, rows: Rows | None) -> pd.DataFrame:
        """Return a store's columns with its source, and patients and studies that no other data set can share."""
        store, start = self.stores[origin], self.starts[origin]
        own = None if names is None else [name for name in names if name != "source"]
        table = store.columns(own, None if rows is None else rows - start)
        for column in ("patient", "study"):
            if column in table:
                table[column] = f"{self._patient_prefixes[origin]}:" + table[column]
        if names is None or "source" in names:
            source = pa.repeat(pa.scalar(store.source, pa.large_string()), len(table))
            table["source"] = pd.array(source, dtype="string")
        table.index = table.index + start
        return table if names is None else table[list(names)]

    @cached_property
    def _patient_prefixes(self) -> tuple[str, ...]:
        """For each store the data set whose patients it has, by name."""
        sources = {store.source for store in self.stores}
        alike = {
            source: [store for store in self.stores if store.source == source] for source in sources
        }
        one_set = {source: _one_data_set(stores) for source, stores in alike.items()}
        return tuple(
            store.source if one_set[store.source] else name
            for store, name in zip(self.stores, self.sources, strict=True)
        )

    @property
    def _labelled(self) -> tuple[Store, ...]:
        """The stores whose labels count."""
        return self.stores[: len(self.stores) - self.unlabelled]

    @cached_property
    def labels(self) -> np.ndarray:
        """Labels, float32 [N, F]; NaN where not stated, so everywhere in a source that lacks the finding."""
        if [self.findings] == [store.findings for store in self.stores]:
            return self.stores[0].labels
        labels = np.full((len(self), len(self.findings)), np.nan, np.float32)
        for store, start in zip(self._labelled, self.starts, strict=False):
            columns = [self.findings.index(finding) for finding in store.findings]
            labels[start : start + len(store), columns] = store.labels
        return labels

    @cached_property
    def labelled_by_source(self) -> np.ndarray:
        """Whether the film's source ever states the finding, bool [N, F]; where not, the cell is masked."""
        by_store = [
            _stated(self.labels[start:end])
            for start, end in zip(self.starts[:-1], self.starts[1:], strict=True)
        ]
        if len(by_store) == 1:
            return np.broadcast_to(by_store[0], self.labels.shape)  # one row for all: no memory
        return np.repeat(by_store, np.diff(self.starts), axis=0)

    @cached_property
    def patient_codes(self) -> np.ndarray:
        """One number a patient, int64 [N]; patients with a film of equal pixels count as one.

        Without this an archive that holds itself twice has twice its patients, and its intervals
        are too narrow by the root of two.
        """
        codes = self.named_patients
        pairs = self.equal_pairs
        return np.asarray(first_of_group(int(codes.max(initial=-1)) + 1, codes[pairs])[codes])

    def people(self, start: int = 0, end: int | None = None) -> Rows | None:
        """Return `patient_codes` of rows from start to end, None where it says what `named_patients` does."""
        codes, named = self.patient_codes[start:end], self.named_patients[start:end]
        return None if np.array_equal(codes, named) else codes

    @cached_property
    def equal_pairs(self) -> Rows:
        """Rows of films with equal pixels, int64 [M, 2]: the first of each kind with every later one."""
        chunks = [chunk for store in self.stores for chunk in store.texts("pixels").chunks]
        return equal_pixels(pa.chunked_array(chunks), self.preparation.size)

    @cached_property
    def named_patients(self) -> np.ndarray:
        """One number a patient, int64 [N]: equal where the data set's own name of the patient is."""
        return self._codes("patient")

    @cached_property
    def study_codes(self) -> np.ndarray:
        """One number a study, int64 [N]; a film whose source names no study is one of its own."""
        codes = self._codes("study")
        alone = codes < 0
        codes[alone] = codes.max(initial=-1) + 1 + np.arange(alone.sum())
        return codes

    def _codes(self, column: str) -> Rows:
        """Return one number a text of the catalogue's column, in the order of their first mention; -1 for null, [N]."""
        codes, names = np.empty(len(self), np.int64), []
        known = 0
        for store, prefix, start in zip(
            self.stores, self._patient_prefixes, self.starts, strict=False
        ):
            if column == "patient":
                encoded = store.patients
            else:
                encoded = store.texts(column).combine_chunks().dictionary_encode()
            own = encoded.indices.fill_null(-1 - known).to_numpy().astype(np.int64)
            codes[start : start + len(store)] = own + known
            known += len(encoded.dictionary)
            texts = encoded.dictionary.cast(pa.large_string())
            prefixed = [pa.scalar(text, texts.type) for text in (prefix, ":")]
            names.append(pc.binary_join_element_wise(prefixed[0], texts, prefixed[1]))
        if len(self.stores) == 1:
            return codes
        # Stores of one data set share patients: equal names get the number of the first.
        renamed = pa.chunked_array(names).combine_chunks().dictionary_encode().indices.to_numpy()
        return np.where(codes < 0, -1, renamed[codes]).astype(np.int64)

    @cached_property
    def fingerprint(self) -> str:
        """Hex SHA-256 over the stores' fingerprints, in order."""
        return hashlib.sha256(
            "".join(store.fingerprint for store in self.stores).encode()
        ).hexdigest()

    def refuse_other_preparation(self, expected: Preparation) -> None:
        """Raise a DataError, with the command that would fit, unless the films went through a model's steps."""
        if self.preparation != expected:
            raise DataError(
                f"{self.stores[0].folder} was prepared with {self.preparation.flags()}, the model with "
                f"{expected.flags()}: run `hilum prepare SOURCE ROOT --out NEW {expected.flags()}`."
            )

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Return films, uint8 [n, size, size], in the order asked for; see `Store.read`.

        Args:
            rows: int [n], each from 0 to ``len(films) - 1``.

        Raises:
            IndexError: A row is out of range.
        """
        rows = np.asarray(rows, dtype=np.int64)
        if len(self.stores) == 1:
            return self.stores[0].read(rows)
        if rows.size and (rows.min() < 0 or rows.max() >= len(self)):
            raise IndexError(
                f"rows run from 0 to {len(self) - 1}, asked for {rows.min()} to {rows.max()}"
            )
        films = np.empty((len(rows), self.preparation.size, self.preparation.size), np.uint8)
        origins = np.searchsorted(self.starts, rows, side="right") - 1
        for origin in np.unique(origins).tolist():
            chosen = np.flatnonzero(origins == origin)
            films[chosen] = self.stores[origin].read(rows[chosen] - self.starts[origin])
        return films


def _refuse_mixture(stores: Sequence[Store]) -> None:
    first = stores[0]
    for store in stores[1:]:
        if store.preparation != first.preparation:
            raise DataError(
                f"{first.folder} was prepared with {first.preparation.flags()}, {store.folder} with "
                f"{store.preparation.flags()}: prepare one of them again with the other's options."
            )
    if len(stores) == 1:
        return
    seen: dict[str, Path] = {}
    for store in stores:
        if store.fingerprint in seen:
            raise DataError(
                f"{seen[store.fingerprint]} and {store.folder} are the same store: name it once."
            )
        seen[store.fingerprint] = store.folder


def _names(stores: Sequence[Store]) -> tuple[str, ...]:
    """Return one name a store; the fingerprint tells apart those of one source, as two folders are."""
    times = Counter(store.source for store in stores)
    return tuple(
        store.source if times[store.source] == 1 else f"{store.source}@{store.fingerprint[:8]}"
        for store in stores
    )


def _one_data_set(stores: Sequence[Store]) -> bool:
    """Whether stores of one source are parts of one data set, so that equal names are one patient.

    Unless a film of the same path has other pixels: then two data sets have one name.
    """
    if len(stores) == 1:
        return True
    paths = pa.chunked_array([chunk for store in stores for chunk in store.texts("path").chunks])
    codes = paths.combine_chunks().dictionary_encode().indices.to_numpy()
    again = np.bincount(codes)[codes] > 1
    if not again.any():
        return True
    pixels = pa.concat_arrays([chunk for store in stores for chunk in store.texts("pixels").chunks])
    named = pd.DataFrame({"path": codes[again], "pixels": pixels.filter(again).to_pandas()})
    return not named.drop_duplicates()["path"].duplicated().any()


def _stated(labels: FloatArray) -> BoolArray:
    """Return which findings have a label, [F]; of a million films the first few thousand tell."""
    stated = np.zeros(labels.shape[1], np.bool_)
    for start in range(0, len(labels), BLOCK):
        if stated.all():
            break
        stated |= (~np.isnan(labels[start : start + BLOCK])).any(axis=0)
    return stated
