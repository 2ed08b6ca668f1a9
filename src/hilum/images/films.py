"""Several stores as one pile of films, with one identity for patients and one list of findings."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from hilum.errors import DataError
from hilum.images.enhance import Preparation
from hilum.images.store import Store


class Films:
    """One or more stores, their films one after the other. Has what a `Store` has for reading.

    Attributes:
        stores: In the order given.
        sources: One name a store: its source, with the store's fingerprint where two stores share a
            source.
        starts: int64 [S + 1], the first row of each store, and the number of films.
        preparation: The steps that all films went through.
        unlabelled: How many stores, the last of them, count as if they stated nothing.
        findings: The union over the other stores, in the order of their first mention.
        catalog: One row a film: the stores' columns, a column ``source`` (the store's own, by which
            films are known again), and patient and study as ``source:name``.
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
        tables = [
            _named(store, name)
            for store, name in zip(stores, _peoples(stores, self.sources), strict=True)
        ]
        self.catalog = pd.concat(tables, ignore_index=True)

    @classmethod
    def open(cls, folders: Sequence[Path], unlabelled: Sequence[Path] = ()) -> Films:
        """Open stores and join them; the unlabelled ones come last, and their labels are not looked at.

        Raises:
            DataError: One is no store, or they do not go together.
        """
        return cls([Store.open(folder) for folder in (*folders, *unlabelled)], len(unlabelled))

    def __len__(self) -> int:
        """Return the number of films."""
        return int(self.starts[-1])

    @property
    def _labelled(self) -> tuple[Store, ...]:
        """The stores whose labels count."""
        return self.stores[: len(self.stores) - self.unlabelled]

    @cached_property
    def labels(self) -> np.ndarray:
        """Labels, float32 [N, F]; NaN where not stated, so everywhere in a source that lacks the finding."""
        labels = np.full((len(self), len(self.findings)), np.nan, np.float32)
        for store, start in zip(self._labelled, self.starts, strict=False):
            columns = [self.findings.index(finding) for finding in store.findings]
            labels[start : start + len(store), columns] = store.labels
        return labels

    @cached_property
    def labelled_by_source(self) -> np.ndarray:
        """Whether the film's source ever states the finding, bool [N, F]; where not, the cell is masked."""
        stated = np.zeros(self.labels.shape, bool)
        for start, end in zip(self.starts[:-1], self.starts[1:], strict=True):
            stated[start:end] = ~np.isnan(self.labels[start:end]).all(axis=0)
        return stated

    @cached_property
    def patient_codes(self) -> np.ndarray:
        """One number a patient, int64 [N]: equal where the patient is."""
        return pd.factorize(self.catalog["patient"])[0].astype(np.int64)

    @cached_property
    def study_codes(self) -> np.ndarray:
        """One number a study, int64 [N]; a film whose source names no study is one of its own."""
        codes, known = pd.factorize(self.catalog["study"])
        alone = codes < 0
        codes[alone] = len(known) + np.arange(alone.sum())
        return codes.astype(np.int64)

    @cached_property
    def fingerprint(self) -> str:
        """Hex SHA-256 over the stores' fingerprints, in order."""
        return hashlib.sha256(
            "".join(store.fingerprint for store in self.stores).encode()
        ).hexdigest()

    def refuse_other_preparation(self, wanted: Preparation) -> None:
        """Raise a DataError, with the command that would fit, unless the films went through a model's steps."""
        if self.preparation != wanted:
            raise DataError(
                f"{self.stores[0].folder} was prepared with {self.preparation.flags()}, the model with "
                f"{wanted.flags()}: run `hilum prepare SOURCE ROOT --out NEW {wanted.flags()}`."
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


def _peoples(stores: Sequence[Store], names: Sequence[str]) -> tuple[str, ...]:
    """Return for each store whose patients it has: stores of one source share them, as parts of one data set do.

    Unless a film of the same path has other pixels: then two data sets have one name, and so their
    stores' own.
    """
    found = []
    for store, name in zip(stores, names, strict=True):
        alike = [other for other in stores if other.source == store.source]
        pixels = pd.concat([other.catalog[["path", "pixels"]] for other in alike]).drop_duplicates()
        found.append(name if pixels["path"].duplicated().any() else store.source)
    return tuple(found)


def _named(store: Store, name: str) -> pd.DataFrame:
    """Return the store's catalogue with its source, and patients and studies that no other data set can share."""
    table = store.catalog.assign(source=pd.array([store.source] * len(store), dtype="string"))
    for column in ("patient", "study"):
        table[column] = f"{name}:" + table[column]
    return table
