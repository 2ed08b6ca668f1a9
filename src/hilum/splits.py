"""Splits: whole patients only, stratified by finding, with nested shares of the training patients, hashed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from hilum.catalog import PRESENT
from hilum.errors import DataError, OptionError, choose
from hilum.files import write_json
from hilum.stratify import GOLDEN, by_patient, divide

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
TEST_SHARE, VAL_SHARE = 0.2, 0.1
MIN_POSITIVES = 20
"""A source's own validation part needs that many positives of at least half of the findings that it states."""

FILE_NAME = "split.json"


@dataclass(frozen=True)
class Split:
    """Which patient is in which part.

    ``parts`` has patients under train (in the order that fractions are taken in), val and test, and film paths
    under official-test. ``left_out`` lists film paths that belong to no part, though their patient may.
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

    def patients(self, fraction: float = 1.0, draw: int = 0) -> tuple[str, ...]:
        """Return a share of the training patients; at one ``draw`` smaller shares lie within larger ones.

        The stored order is a circle of which every stretch has the findings in proportion; a draw is where to start
        on it, so the first draws of small shares have no patient in common.

        Raises:
            OptionError: The fraction is not above 0 and at most 1.
        """
        _check_fraction(fraction)
        train = self.parts["train"]
        start = int((draw * GOLDEN) % 1 * len(train))
        wanted = max(1, round(fraction * len(train)))
        return (train[start:] + train[:start])[:wanted]

    def rows(self, table: pd.DataFrame, part: str, fraction: float = 1.0, draw: int = 0) -> npt.NDArray[np.int64]:
        """Return the row numbers of a part's films, ascending.

        Args:
            table: A catalogue with the columns ``path`` and ``patient``, of the store that the split belongs to.
            part: One of PARTS.
            fraction: Share of the training patients, above 0 and at most 1; only for ``train``.
            draw: Which of several draws of that share, from 0.

        Raises:
            OptionError: An unknown part, or a fraction of another part than train.
            DataError: The table has patients that the split does not know, or a patient in two parts.
        """
        choose(part, PARTS, "part")
        if part != "train" and (fraction, draw) != (1.0, 0):
            raise OptionError(f"a fraction is a share of the training patients, not of {part!r}: leave it out.")
        if part == "all":
            return np.arange(len(table), dtype=np.int64)
        assigned = self.assign(table)
        chosen = (assigned == part).to_numpy()
        if part == "train" and (fraction, draw) != (1.0, 0):
            chosen = chosen & table["patient"].isin(self.patients(fraction, draw)).to_numpy()
        return np.flatnonzero(chosen).astype(np.int64)

    def assign(self, table: pd.DataFrame) -> pd.Series:
        """Return each film's part, indexed by row number; null where it is left out.

        Raises:
            DataError: The table has patients that the split does not know, or a patient in two parts.
        """
        place = {patient: part for part in PATIENT_PARTS for patient in self.parts[part]}
        paths, patients = table["path"].reset_index(drop=True), table["patient"].reset_index(drop=True)
        official, out = paths.isin(self.parts["official-test"]), paths.isin(self.left_out)
        assigned = patients.map(place).astype(object)
        both = official & assigned.notna()
        if both.any():
            raise DataError(_in_two_parts(str(patients[both].iloc[0]), str(assigned[both].iloc[0]), "official-test"))
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
            DataError: It is missing, is no split, has a patient in two parts or does not match its own hash.
        """
        path = folder / FILE_NAME if folder.is_dir() else folder
        content = _read_json(path)
        try:
            split = _from_json(content)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{path} is no split ({error!r:.60}): run `hilum split STORE`.") from error
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
        if content.get("sha256", split.hash) != split.hash:
            raise DataError(
                f"{path} does not match its own SHA-256, so it was changed by hand: run `hilum split STORE`, or "
                "remove its line 'sha256' to keep the change."
            )
        return split


def official_or_patient_split(table: pd.DataFrame, findings: Sequence[str], seed: int = 0) -> Split:
    """Return the source's own split where it has one, else one by patient.

    A part that the source lacks is carved from its training patients: test (20 %) and validation (10 %), the latter
    also where the source's own has fewer than 20 positives of most findings (its patients then train). A patient whom
    the source has in several parts stays in the first of test, val, train; its films in the others are left out.

    Args:
        table: A catalogue: path, patient, part and a column a finding.
        findings: The finding columns.
        seed: Of what is drawn.
    """
    own = _own_parts(table)
    keep_val = _enough_positives(table[(own == "val").to_numpy()], findings)
    if not keep_val:
        own = own.replace("val", "train")
    decided = own.map(PATIENT_PARTS.index).groupby(table["patient"].to_numpy()).max()
    astray = own.to_numpy() != np.array(PATIENT_PARTS)[decided.loc[table["patient"]].to_numpy()]
    named = {part: tuple(decided.index[decided == place]) for place, part in enumerate(PATIENT_PARTS)}
    official = bool(named["test"])
    shares = (0.0 if official else TEST_SHARE, 0.0 if keep_val else VAL_SHARE)
    test, val, train = divide(by_patient(table, findings, named["train"]), shares, seed)
    parts = {"train": train, "val": named["val"] or val, "test": named["test"] or test, "official-test": ()}
    left_out = tuple(sorted(table["path"][astray]))
    return _finish("official" if official else "patient", seed, parts, left_out, FRACTIONS, table)


def patient_split(
    table: pd.DataFrame,
    findings: Sequence[str],
    seed: int = 0,
    test: float = TEST_SHARE,
    val: float = VAL_SHARE,
    fractions: Sequence[float] = FRACTIONS,
) -> Split:
    """Return a split by patient over all films but the source's own test part, which becomes a part of its own.

    Patients are stratified by their findings. Other films of patients in the official test are in no part.

    Args:
        table: A catalogue: path, patient, part and a column a finding.
        findings: The finding columns.
        seed: Of what is drawn.
        test: Share of the patients.
        val: Share of the patients.
        fractions: Shares of the training patients that will be used, written down with their size.

    Raises:
        OptionError: Shares outside 0 to 1, or together above 1, or a seed below 0.
    """
    if seed < 0:
        raise OptionError(f"--seed {seed} is below 0: give a whole number from 0.")
    for name, share in (("test", test), ("val", val)):
        if not 0 <= share <= 1:
            raise OptionError(f"--{name} {share} is no share of the patients: give a number from 0 to 1.")
    if test + val > 1 + 1e-9:
        raise OptionError(f"--test {test} and --val {val} together are above 1: leave patients to train on.")
    for fraction in fractions:
        _check_fraction(fraction)
    official = (_own_parts(table) == "test").to_numpy()
    astray = ~official & table["patient"].isin(table["patient"][official]).to_numpy()
    free = tuple(table["patient"][~official & ~astray].unique())
    parts = dict(
        zip(("test", "val", "train"), divide(by_patient(table, findings, free), (test, val), seed), strict=True)
    )
    parts["official-test"] = tuple(sorted(table["path"][official]))
    return _finish("patient", seed, parts, tuple(sorted(table["path"][astray])), tuple(sorted(set(fractions))), table)


def _own_parts(table: pd.DataFrame) -> pd.Series:
    """Each film's part by its source: test, val, or train also where it has none."""
    own = table["part"].astype(object).fillna("train").replace("official-test", "test").reset_index(drop=True)
    wrong = ~own.isin(PATIENT_PARTS)
    if wrong.any():
        raise ValueError(f"unknown part {own[wrong].iloc[0]!r} in the catalogue")
    return own


def _enough_positives(val: pd.DataFrame, findings: Sequence[str]) -> bool:
    """Whether validation films have enough positives of at least half of the findings that the films state."""
    labels = val[list(findings)].to_numpy(np.float32)
    stated = (~np.isnan(labels)).any(axis=0).sum()
    enough = ((labels == PRESENT).sum(axis=0) >= MIN_POSITIVES).sum()
    return bool(stated and 2 * enough >= stated)


def _finish(
    kind: str,
    seed: int,
    parts: Mapping[str, tuple[str, ...]],
    left_out: tuple[str, ...],
    fractions: tuple[float, ...],
    table: pd.DataFrame,
) -> Split:
    """Add what is counted."""
    split = Split(kind, seed, parts, left_out, fractions)
    assigned = split.assign(table).to_numpy()
    patients = table["patient"].reset_index(drop=True)
    counts = {
        part: {"films": int((assigned == part).sum()), "patients": int(patients[assigned == part].nunique())}
        for part in (*PATIENT_PARTS, "official-test")
    }
    notes = (f"{len(left_out)} films are in no part: their patients belong to another part",) if left_out else ()
    return Split(kind, seed, parts, left_out, fractions, counts, notes)


def _in_two_parts(patient: str, first: str, second: str) -> str:
    where = f"twice in {first!r}" if first == second else f"in {first!r} and in {second!r}"
    return f"patient {patient!r} is {where}: a split has whole patients only. Run `hilum split STORE`."


def _check_fraction(fraction: float) -> None:
    if not 0 < fraction <= 1:
        raise OptionError(f"fraction {fraction} is no share of the training patients: give one above 0, up to 1.")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing: run `hilum split STORE`.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read as JSON ({error!s:.60}): run `hilum split STORE`.") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} is no split (a {type(content).__name__}): run `hilum split STORE`.")
    return content


def _from_json(content: Mapping[str, Any]) -> Split:
    return Split(
        kind=_text(content["kind"]),
        seed=int(content["seed"]),
        parts={part: _texts(content["parts"][part]) for part in (*PATIENT_PARTS, "official-test")},
        left_out=_texts(content["left_out"]),
        fractions=tuple(float(fraction) for fraction in content["fractions"]),
        counts={
            part: {what: int(count) for what, count in counts.items()} for part, counts in content["counts"].items()
        },
        notes=_texts(content["notes"]),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.40} is no text")
    return value


def _texts(values: object) -> tuple[str, ...]:
    if not isinstance(values, list):
        raise TypeError(f"{values!r:.40} is no list")
    return tuple(map(_text, values))
