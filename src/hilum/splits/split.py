"""A split: which patient is in which part, with nested shares of the training patients, hashed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from hilum.errors import DataError, OptionError, choose
from hilum.files import write_json
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
        """Refuse a patient in two parts.

        Raises:
            DataError: A patient stands in two parts or twice in one.
        """
        place: dict[str, str] = {}
        for part in PATIENT_PARTS:
            for patient in self.parts[part]:
                if patient in place:
                    raise DataError(_in_two_parts(patient, place[patient], part))
                place[patient] = part

    @property
    def hash(self) -> str:
        """SHA-256 of the split's canonical JSON, in hex."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def patients(self, fraction: float = 1.0, subset_seed: int = 0) -> tuple[str, ...]:
        """Return a share of the training patients; at one ``subset_seed`` smaller fractions lie within larger ones.

        The stored order is a circle of which every stretch has the findings in proportion; a draw
        is where to start on it, so the first draws of small shares have no patient in common.

        Raises:
            OptionError: The fraction is not above 0 and at most 1.
        """
        check_fraction(fraction)
        train = self.parts["train"]
        start = int((subset_seed * GOLDEN) % 1 * len(train))
        wanted = max(1, round(fraction * len(train)))
        return (train[start:] + train[:start])[:wanted]

    def rows(
        self, table: pd.DataFrame, part: str, fraction: float = 1.0, subset_seed: int = 0
    ) -> npt.NDArray[np.int64]:
        """Return the row numbers of a part's films, ascending.

        Args:
            table: A catalogue with the columns ``path`` and ``patient``, of the store that the
                split belongs to.
            part: One of PARTS.
            fraction: Share of the training patients, above 0 and at most 1; only for ``train``.
            subset_seed: Seed of the labelled subset, from 0.

        Raises:
            OptionError: An unknown part, or a fraction of another part than train.
            DataError: The table has patients that the split does not know, or a patient in two
                parts.
        """
        choose(part, PARTS, "part")
        if part != "train" and (fraction, subset_seed) != (1.0, 0):
            raise OptionError(
                f"a fraction is a share of the training patients, not of {part!r}: leave it out."
            )
        if part == "all":
            return np.arange(len(table), dtype=np.int64)
        assigned = self.assign(table)
        chosen = (assigned == part).to_numpy()
        if part == "train" and (fraction, subset_seed) != (1.0, 0):
            chosen = chosen & table["patient"].isin(self.patients(fraction, subset_seed)).to_numpy()
        return np.flatnonzero(chosen).astype(np.int64)

    def assign(self, table: pd.DataFrame) -> pd.Series:
        """Return each film's part, indexed by row number; null where it is left out.

        Raises:
            DataError: The table has patients that the split does not know, or a patient in two
                parts.
        """
        place = {patient: part for part in PATIENT_PARTS for patient in self.parts[part]}
        paths, patients = (
            table["path"].reset_index(drop=True),
            table["patient"].reset_index(drop=True),
        )
        official, out = paths.isin(self.parts["official-test"]), paths.isin(self.left_out)
        assigned = patients.map(place).astype(object)
        both = official & assigned.notna()
        if both.any():
            raise DataError(
                _in_two_parts(
                    str(patients[both].iloc[0]), str(assigned[both].iloc[0]), "official-test"
                )
            )
        unknown = assigned.isna() & ~official & ~out
        if unknown.any():
            first, count = patients[unknown].iloc[0], patients[unknown].nunique()
            raise DataError(
                f"{count} patients of the catalogue, first {first!r}, are in no part of {FILE_NAME}: "
                "it belongs to another store. Run `hilum split STORE`."
            )
        assigned[official] = "official-test"
        assigned[out] = None
        return assigned

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
            DataError: It is missing, is no split, has a patient in two parts or does not match its
                own hash.
        """
        path = folder / FILE_NAME if folder.is_dir() else folder
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


def _in_two_parts(patient: str, first: str, second: str) -> str:
    where = f"twice in {first!r}" if first == second else f"in {first!r} and in {second!r}"
    return (
        f"patient {patient!r} is {where}: a split has whole patients only. Run `hilum split STORE`."
    )


def check_fraction(fraction: float) -> None:
    """Raise an OptionError unless the fraction is above 0 and at most 1."""
    if not 0 < fraction <= 1:
        raise OptionError(
            f"fraction {fraction} is no share of the training patients: give one above 0, up to 1."
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
