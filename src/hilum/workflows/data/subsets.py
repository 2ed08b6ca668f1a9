"""Which films of one or several stores belong to a part, each store by its own split."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import pandas as pd

from hilum.arrays import BoolArray, FloatArray, Rows
from hilum.counts import counted
from hilum.duplicates.stored import stored_copies
from hilum.errors import DataError
from hilum.images.films import Films
from hilum.labels import scored
from hilum.splits import Placement, Split
from hilum.splits.copies import joined
from hilum.training.run_folder import SPLITS


@dataclass(frozen=True)
class StoreRecord:
    """What identifies a store and its split in options.yaml and model.json."""

    source: str
    films: int
    fingerprint: str
    split: str
    """Hash of the split."""


@dataclass(frozen=True)
class Subsets:
    """The films of a run and the splits of their stores."""

    films: Films
    splits: tuple[Split, ...]

    @staticmethod
    def of(films: Films) -> Subsets:
        """Load each store's split.

        Raises:
            DataError: A store has none, or a patient or the same picture is in two splits, of one
                store or of two.
        """
        subsets = Subsets(films, tuple(Split.load(store.folder) for store in films.stores))
        subsets.refuse_patient_in_two()
        subsets.refuse_copies_in_two()
        return subsets

    def refuse_patient_in_two(self) -> None:
        """Raise a DataError if stores of one data set put a patient in different splits."""
        sources = [store.source for store in self.films.stores]
        if len(set(sources)) == len(sources):
            return  # no patient in common
        patients = self.films.columns(["patient"])["patient"]
        columns = {"patient": patients, "split": self.split_of_each()}
        table = pd.DataFrame(columns).dropna().drop_duplicates()
        twice = table["patient"][table["patient"].duplicated()]
        if len(twice):
            raise DataError(
                f"{counted(twice.nunique(), 'patient')}, first {twice.iloc[0]!r}, "
                f"{'is' if twice.nunique() == 1 else 'are'} in "
                "different splits of two stores of one "
                "data set: prepare its films into one store."
            )

    def refuse_copies_in_two(self) -> None:
        """Raise a DataError if films that show the same picture are in different splits.

        Those are known that have equal pixels, in whichever stores, and those of a store's
        ``duplicates.parquet``.
        """
        starts = zip(self.films.stores, self.films.starts, strict=False)
        stored = [(stored_copies(store), start) for store, start in starts]
        pairs = np.concatenate(
            [
                self.films.equal_pairs,
                *(pairs + start for pairs, start in stored if pairs is not None),
            ]
        )
        if not len(pairs):
            return
        split = np.concatenate([placement.parts for placement in self.placements])
        apart: list[tuple[int, int]] = []
        for group in joined(len(split), pairs):
            placed = group[split[group] >= 0].tolist()
            apart += [(placed[0], film) for film in placed[1:] if split[film] != split[placed[0]]]
        if not apart:
            return
        first, other = apart[0]
        paths, part = self.films.columns(["path"])["path"], self.split_of_each().to_numpy(object)
        origins = [np.searchsorted(self.films.starts, pair, side="right") - 1 for pair in apart]
        one_store, other_store = (self.films.stores[store].folder for store in origins[0])
        if all(left == right for left, right in origins):
            of, remedy = f"of {one_store}", f"run `hilum split {one_store}`"
        else:
            of = f"of {one_store} and {other_store}"
            remedy = "use one of the stores, or prepare one again without the films that both have"
        raise DataError(
            f"{counted(len(apart), 'film')} {of} {'has' if len(apart) == 1 else 'have'} a copy "
            f"in another split, first {paths[first]!r} in "
            f"{part[first]!r} and {paths[other]!r} in {part[other]!r}: {remedy}."
        )

    def split_of_each(self) -> pd.Series:
        """Return each film's part, [N], by its store's split; null where it is in none."""
        return pd.concat([placement.names() for placement in self.placements], ignore_index=True)

    @cached_property
    def placements(self) -> tuple[Placement, ...]:
        """Where each store's films are.

        Raises:
            DataError: A store has patients that its split does not know.
        """
        pairs = zip(self.films.stores, self.splits, strict=True)
        return tuple(
            split.place(store.patients, partial(store.text_blocks, "path"))
            for store, split in pairs
        )

    def rows(self, part: str, fraction: float = 1.0, subset_seed: int = 0) -> Rows:
        """Return the row numbers of a part's films among all films.

        ``fraction`` is of the training patients of each store; those with a picture in common count
        as one.
        """
        for split in self.splits:
            split.check_request(part, fraction, subset_seed)
        if part == "all":
            return np.arange(len(self.films), dtype=np.int64)
        whole = (fraction, subset_seed) == (1.0, 0)
        of_stores = zip(self.placements, self.films.starts[:-1], self.films.starts[1:], strict=True)
        return np.concatenate(
            [
                placement.rows(
                    part, fraction, subset_seed, None if whole else self.films.people(start, end)
                )
                + start
                for placement, start, end in of_stores
            ]
        )

    def needed(self, part: str, fraction: float = 1.0, subset_seed: int = 0) -> Rows:
        """Return the rows of a part that must not be empty.

        Raises:
            DataError: It is empty.
        """
        rows = self.rows(part, fraction, subset_seed)
        if len(rows) == 0:
            folders = ", ".join(str(store.folder) for store in self.films.stores)
            raise DataError(
                f"part {part!r} of {folders} has no film: choose another part, or run `hilum split STORE`."
            )
        return rows

    def of_others(self, rows: Rows, kept: Rows) -> Rows:
        """Return the rows whose patients are on none of the kept films: stores of one data set may share patients."""
        codes = self.films.patient_codes
        return rows[~np.isin(codes[rows], codes[kept])]

    def patients(self, rows: Rows) -> int:
        """Return how many patients these films show."""
        return int(np.count_nonzero(np.bincount(self.films.patient_codes[rows])))

    def keep(self, run: Path) -> None:
        """Write a copy of each store's split into a run's folder."""
        for source, split in zip(self.films.sources, self.splits, strict=True):
            folder = run / SPLITS / source
            folder.mkdir(parents=True, exist_ok=True)
            split.save(folder)

    def record(self) -> tuple[StoreRecord, ...]:
        """Return what identifies the data of a run."""
        return tuple(
            StoreRecord(store.source, len(store), store.fingerprint, split.hash)
            for store, split in zip(self.films.stores, self.splits, strict=True)
        )


def truth_of(films: Films, rows: Rows, unstated: str) -> tuple[FloatArray, BoolArray]:
    """Return the truth (0 or 1) of these films and which cells are scored, both [n, F].

    Uncertain cells are not scored, nor is a finding that the film's source never states; cells that
    are not stated count by ``unstated``.
    """
    truth, counts = scored(films.labels[rows], unstated, np.ones(len(films.findings), np.bool_))
    return truth, counts & films.labelled_by_source[rows]
