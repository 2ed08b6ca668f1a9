"""A split: each patient's subset, with nested fractions of the training patients, hashed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from hilum.counts import counted
from hilum.errors import DataError, OptionError, choose
from hilum.files import inside, write_json
from hilum.splits.reading import FILE_NAME, count_tables, read_json, text, texts
from hilum.stratify import GOLDEN

PARTS: dict[str, str] = {
    "train": "patients to learn from",
    "val": "patients to choose thresholds and stopping by",
    "test": "patients to measure on",
    "official-test": "the source's own test films, where a split by patient replaced its division",
    "all": "every film of the store",
}
"""The parts that can be asked for."""

PATIENT_PARTS = ("train", "val", "test")

FRACTIONS = (0.01, 0.1, 0.5, 1.0)


PLACES = (*PATIENT_PARTS, "official-test")
"""The parts that a film is in one of, or in none."""
Texts: TypeAlias = "pd.Series[Any] | pa.Array | pa.ChunkedArray"


@dataclass(frozen=True)
class Placement:
    """Where each film of a catalogue is."""

    parts: npt.NDArray[np.int8]
    """Its part by number in PLACES, [N]; -1 where it is left out."""
    order: npt.NDArray[np.int32]
    """Its patient's position among all patients that the split lists, train first, [N]."""
    train_patients: int
    """How many patients train."""

    def rows(
        self,
        part: str,
        fraction: float = 1.0,
        subset_seed: int = 0,
        people: npt.NDArray[np.int64] | None = None,
    ) -> npt.NDArray[np.int64]:
        """Return the rows of a part's films, ascending; see `Split.rows`."""
        chosen = self.parts == PLACES.index(part)
        if (fraction, subset_seed) != (1.0, 0):
            order, patients = self._order_of(people)
            start, count = stretch(patients, fraction, subset_seed)
            chosen &= (order - start) % max(patients, 1) < count
        return np.flatnonzero(chosen).astype(np.int64)

    def _order_of(self, people: npt.NDArray[np.int64] | None) -> tuple[npt.NDArray[np.int64], int]:
        """Return the place of each film's person among those who train, [N], and how many these are.

        A person stands where the first of their patients does.
        """
        if people is None:
            return self.order.astype(np.int64), self.train_patients
        trains = (self.order >= 0) & (self.order < self.train_patients)
        first = np.full(int(people.max(initial=-1)) + 1, self.train_patients, np.int64)
        np.minimum.at(first, people[trains], self.order[trains])
        firsts = np.unique(first[first < self.train_patients])
        return np.searchsorted(firsts, first[people]), len(firsts)

    def names(self) -> pd.Series:
        """Return each film's part by name, [N]; null where it is left out."""
        return pd.Series(np.array([*PLACES, None], object)[self.parts])


def stretch(patients: int, fraction: float, subset_seed: int) -> tuple[int, int]:
    """Return where a share of the circle of training patients starts, and how many it has.

    Raises:
        OptionError: The fraction is not above 0 and at most 1.
    """
    check_fraction(fraction)
    start = int((subset_seed * GOLDEN) % 1 * patients)
    return start, max(1, round(fraction * patients))


@dataclass(frozen=True)
class Split:
    """Which patient is in which part.

    ``parts`` has patients under train (in the order that fractions are taken in), val and test, and
    film paths under official-test. ``left_out`` lists film paths that belong to no part, though
    their patient may.
    """

    kind: str
    seed: int
    parts: Mapping[str, tuple[str, ...]]
    left_out: tuple[str, ...] = ()
    fractions: tuple[float, ...] = FRACTIONS
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a patient in two subsets.

        Raises:
            DataError: A patient is in two subsets or twice in one.
        """
        patients = [self.parts[part] for part in PATIENT_PARTS]
        if len(set().union(*patients)) == sum(map(len, patients)):
            return
        earlier: dict[str, str] = {}
        for part in PATIENT_PARTS:
            for patient in self.parts[part]:
                if patient in earlier:
                    raise DataError(_in_two_parts(patient, earlier[patient], part))
                earlier[patient] = part

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the split's canonical JSON, in hex."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def patients(self, fraction: float = 1.0, subset_seed: int = 0) -> tuple[str, ...]:
        """Return a fraction of the training patients; with one ``subset_seed``, smaller ones lie in larger ones.

        The stored order is a circle of which every stretch has the findings in proportion; a draw
        is where to start on it, so the first draws of small shares have no patient in common.

        Raises:
            OptionError: The fraction is not above 0 and at most 1.
        """
        train = self.parts["train"]
        start, count = stretch(len(train), fraction, subset_seed)
        return (train[start:] + train[:start])[:count]

    def rows(
        self,
        table: pd.DataFrame,
        part: str,
        fraction: float = 1.0,
        subset_seed: int = 0,
        people: npt.NDArray[np.int64] | None = None,
    ) -> npt.NDArray[np.int64]:
        """Return the row numbers of a part's films, ascending.

        Args:
            table: A catalogue with the columns ``path`` and ``patient``, of the store that the
                split belongs to.
            part: One of PARTS.
            fraction: Of the training patients, above 0 and at most 1; only for ``train``.
            subset_seed: Seed of the labelled subset, from 0.
            people: One number a person, [N], where patients with a picture in common are one: then
                the fraction is of people.

        Raises:
            OptionError: An unknown part, or a fraction of another part than train.
            DataError: The table has patients that the split does not know, or a patient in two
                parts.
        """
        self.check_request(part, fraction, subset_seed)
        if part == "all":
            return np.arange(len(table), dtype=np.int64)
        return self.place(table["patient"], lambda: [table["path"]]).rows(
            part, fraction, subset_seed, people
        )

    def check_request(self, part: str, fraction: float = 1.0, subset_seed: int = 0) -> None:
        """Raise an OptionError for an unknown part, or a fraction of another part than train."""
        choose(part, PARTS, "part")
        if part != "train" and (fraction, subset_seed) != (1.0, 0):
            raise OptionError(
                f"a fraction is of the training patients, not of {part!r}: leave it out."
            )

    def assign(self, table: pd.DataFrame) -> pd.Series:
        """Return each film's part, indexed by row number; null where it is left out.

        Raises:
            DataError: The table has patients that the split does not know, or a patient in two
                parts.
        """
        return self.place(table["patient"], lambda: [table["path"]]).names()

    def place(self, patients: Texts, paths: Callable[[], Iterable[Texts]]) -> Placement:
        """Return where each film is.

        Args:
            patients: The patient of each film, [N].
            paths: Gives the path of each film in blocks, [N] in all; called only where the split
                names paths.

        Raises:
            DataError: A patient that the split does not know, or in two subsets.
        """
        listed = [self.parts[part] for part in PATIENT_PARTS]
        ends = np.cumsum([len(part) for part in listed])
        order = _positions(patients, _texts([patient for part in listed for patient in part]))
        parts = np.where(order < 0, -1, np.searchsorted(ends, order, side="right")).astype(np.int8)
        official, out = np.zeros((2, len(parts)), np.bool_)
        tests, left_out, start = _texts(self.parts["official-test"]), _texts(self.left_out), 0
        for block in paths() if len(tests) or len(left_out) else ():
            rows = slice(start, start + len(block))
            official[rows] = _positions(block, tests) >= 0
            out[rows] = _positions(block, left_out) >= 0
            start += len(block)
        both = official & (parts >= 0)
        if both.any():
            row = int(both.argmax())
            patient = str(_series(patients).iloc[row])
            raise DataError(_in_two_parts(patient, PLACES[parts[row]], "official-test"))
        unknown = (parts < 0) & ~official & ~out
        if unknown.any():
            strange = _series(patients)[unknown]
            raise DataError(
                f"{counted(strange.nunique(), 'patient')} of the catalogue, first {strange.iloc[0]!r}, "
                f"{'is' if strange.nunique() == 1 else 'are'} in no subset of "
                f"{FILE_NAME}: it belongs to another store. Run `hilum split STORE`."
            )
        parts[official] = PLACES.index("official-test")
        parts[out] = -1
        return Placement(parts, order, ends[0])

    def to_json(self) -> dict[str, Any]:
        """Return the split as plain lists and numbers."""
        return {
            "kind": self.kind,
            "seed": self.seed,
            "fractions": list(self.fractions),
            "counts": {part: dict(count) for part, count in self.counts.items()},
            "notes": list(self.notes),
            "left_out": list(self.left_out),
            "parts": {part: list(self.parts[part]) for part in (*PATIENT_PARTS, "official-test")},
        }

    def save(self, folder: Path) -> Path:
        """Write ``split.json`` into the folder: aside, flushed, then renamed; the same split gives the same bytes."""
        path = folder / FILE_NAME
        write_json(path, {"sha256": self.hash, **self.to_json()})
        return path

    @staticmethod
    def load(folder: Path) -> Split:
        """Read ``split.json`` from a folder, or a file of that layout.

        Raises:
            DataError: It is missing, is no split, has a patient in two subsets or does not match its
                own hash.
        """
        path = _own_file(folder) if folder.is_dir() else folder
        content = read_json(path)
        try:
            split = _from_json(content)
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise DataError(
                f"{path} is no split ({error!r:.60}): run `hilum split STORE`."
            ) from error
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
        if content.get("sha256", split.hash) != split.hash:
            raise DataError(
                f"{path} does not match its own SHA-256, so it was changed by hand: run `hilum split STORE`, or "
                "remove its line 'sha256' to keep the change."
            )
        return split


def _own_file(folder: Path) -> Path:
    try:
        return inside(folder, FILE_NAME)
    except ValueError as error:
        raise DataError(f"{error}: put a copy in its place, which leads nowhere.") from error


def _texts(texts: Sequence[str]) -> pa.LargeStringArray:
    return pa.array(texts, pa.large_string())


def _positions(texts: Texts, among: pa.LargeStringArray) -> npt.NDArray[np.int32]:
    """Return the position of each text among others, [N]; -1 where it is none of them."""
    if not len(among):
        return np.full(len(texts), -1, np.int32)
    if isinstance(texts, pa.DictionaryArray):  # each name is looked up once
        by_name = np.append(_positions(texts.dictionary, among), np.int32(-1))
        return np.asarray(by_name[np.asarray(texts.indices.fill_null(-1))])
    if isinstance(texts, pd.Series):
        texts = pa.array(texts, pa.large_string(), from_pandas=True)
    positions = pc.index_in(texts, value_set=among.cast(texts.type))
    return np.asarray(positions.fill_null(-1), np.int32)


def _series(texts: Texts) -> pd.Series:
    series: pd.Series = texts if isinstance(texts, pd.Series) else texts.to_pandas()
    return series.reset_index(drop=True)


def _in_two_parts(patient: str, first: str, second: str) -> str:
    where = f"twice in {first!r}" if first == second else f"in {first!r} and in {second!r}"
    return (
        f"patient {patient!r} is {where}: a split has whole patients only. Run `hilum split STORE`."
    )


def check_fraction(fraction: float) -> None:
    """Raise an OptionError unless the fraction is above 0 and at most 1."""
    if not 0 < fraction <= 1:
        raise OptionError(
            f"fraction {fraction} is no fraction of the training patients: give one above 0, up to 1."
        )


def _from_json(content: Mapping[str, Any]) -> Split:
    return Split(
        kind=text(content["kind"]),
        seed=int(content["seed"]),
        parts={part: texts(content["parts"][part]) for part in (*PATIENT_PARTS, "official-test")},
        left_out=texts(content["left_out"]),
        fractions=tuple(float(fraction) for fraction in content["fractions"]),
        counts=count_tables(content["counts"]),
        notes=texts(content["notes"]),
    )
