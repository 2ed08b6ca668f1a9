"""Divides patients: by the source's own parts, or by lot, stratified by finding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from hilum.arrays import BoolArray
from hilum.catalog import PRESENT
from hilum.counts import counted
from hilum.errors import OptionError
from hilum.splits.copies import NO_COPIES, KnownCopies, left_out, members, people
from hilum.splits.split import FRACTIONS, PATIENT_PARTS, Split, check_fraction
from hilum.stratify import by_patient, divide

TEST_SHARE, VAL_SHARE = 0.2, 0.1
MIN_POSITIVES = 20
"""A source's own validation set needs that many positives of at least half of the findings that it
states."""


def official_or_patient_split(
    table: pd.DataFrame, findings: Sequence[str], seed: int = 0, copies: KnownCopies = NO_COPIES
) -> Split:
    """Return the source's own split where it has one, else one by patient.

    A subset that the source lacks is drawn from its training patients: test (20 %) and validation
    (10 %), the latter also where the source's own has fewer than 20 positives of most findings (its
    patients then train). A patient whom the source has in several subsets stays in the first of test,
    val, train; its films in the others are left out, and so is a film that has a copy in a subset
    before its own in that order.

    Args:
        table: A catalogue: path, patient, part and a column a finding.
        findings: The finding columns.
        seed: Of what is drawn.
        copies: Films that show the same picture: where parts are drawn, their patients count as
            one.
    """
    own = _own_parts(table)
    keep_val = _enough_positives(table[(own == "val").to_numpy()], findings)
    if not keep_val:
        own = own.replace("val", "train")
    decided = own.map(PATIENT_PARTS.index).groupby(table["patient"].to_numpy()).max()
    astray = own.to_numpy() != np.array(PATIENT_PARTS)[decided.loc[table["patient"]].to_numpy()]
    named = {
        part: tuple(decided.index[decided == place]) for place, part in enumerate(PATIENT_PARTS)
    }
    official = bool(named["test"])
    shares = (0.0 if official else TEST_SHARE, 0.0 if keep_val else VAL_SHARE)
    test, val, train = _divided(
        table, findings, table["patient"].isin(named["train"]), shares, seed, copies
    )
    parts = {
        "train": train,
        "val": named["val"] or val,
        "test": named["test"] or test,
        "official-test": (),
    }
    return _finish(
        "official" if official else "patient", seed, parts, astray, FRACTIONS, table, copies
    )


def patient_split(
    table: pd.DataFrame,
    findings: Sequence[str],
    seed: int = 0,
    test: float = TEST_SHARE,
    val: float = VAL_SHARE,
    fractions: Sequence[float] = FRACTIONS,
    copies: KnownCopies = NO_COPIES,
) -> Split:
    """Return a split by patient; the source's own test films are the subset official-test.

    Patients are stratified by their findings; those with a picture in common count as one. Other
    films of patients in the official test are in no subset.

    Args:
        table: A catalogue: path, patient, part and a column a finding.
        findings: The finding columns.
        seed: Of what is drawn.
        test: Fraction of the patients.
        val: Fraction of the patients.
        fractions: Fractions of the training patients that will be used, written down with their size.
        copies: Films that show the same picture.

    Raises:
        OptionError: Shares outside 0 to 1, or together above 1, or a seed below 0.
    """
    if seed < 0:
        raise OptionError(f"--seed {seed} is below 0: give a whole number from 0.")
    for name, share in (("test", test), ("val", val)):
        if not 0 <= share <= 1:
            raise OptionError(
                f"--{name} {share} is no share of the patients: give a number from 0 to 1."
            )
    if test + val > 1 + 1e-9:
        raise OptionError(
            f"--test {test} and --val {val} together are above 1: leave patients to train on."
        )
    for fraction in fractions:
        check_fraction(fraction)
    official = (_own_parts(table) == "test").to_numpy()
    person = people(table["patient"], copies)
    astray = ~official & person.isin(person[official]).to_numpy()
    divided = _divided(table, findings, pd.Series(~official & ~astray), (test, val), seed, copies)
    parts = dict(zip(("test", "val", "train"), divided, strict=True))
    parts["official-test"] = tuple(sorted(table["path"][official]))
    return _finish("patient", seed, parts, astray, tuple(sorted(set(fractions))), table, copies)


def _divided(
    table: pd.DataFrame,
    findings: Sequence[str],
    chosen: pd.Series,
    shares: Sequence[float],
    seed: int,
    copies: KnownCopies,
) -> list[tuple[str, ...]]:
    """Return the patients of the chosen films in parts, a part for each share and one for the rest."""
    films = table[chosen.to_numpy(bool)]
    person = people(table["patient"], copies)[chosen.to_numpy(bool)]
    pool = by_patient(films.assign(patient=person.to_numpy()), findings, tuple(person.unique()))
    return [members(films["patient"], person, part) for part in divide(pool, shares, seed)]


def _own_parts(table: pd.DataFrame) -> pd.Series:
    """Each film's part by its source: test, val, or train also where it has none."""
    own = (
        table["part"]
        .astype(object)
        .fillna("train")
        .replace("official-test", "test")
        .reset_index(drop=True)
    )
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
    astray: BoolArray,
    fractions: tuple[float, ...],
    table: pd.DataFrame,
    copies: KnownCopies,
) -> Split:
    """Leave out what belongs to no part, and add what is counted."""
    paths, patients = table["path"].to_numpy(object), table["patient"].reset_index(drop=True)
    assigned = Split(kind, seed, parts, tuple(paths[astray]), fractions).assign(table)
    lower, again = left_out(assigned, copies)
    assigned.iloc[np.concatenate([lower, again])] = None
    out = tuple(sorted({*paths[astray], *paths[lower], *paths[again]}))
    counts = {
        part: {
            "films": int((assigned == part).sum()),
            "patients": int(patients[(assigned == part).to_numpy()].nunique()),
        }
        for part in (*PATIENT_PARTS, "official-test")
    }
    return Split(
        kind, seed, parts, out, fractions, counts, _notes(int(astray.sum()), len(lower), len(again))
    )


def _notes(astray: int, lower: int, again: int) -> tuple[str, ...]:
    """Return why films are in no subset."""
    reasons = (
        (
            astray,
            "its patient belongs to another subset",
            "their patients belong to another subset",
        ),
        (lower, "another subset has a copy of it", "another subset has a copy of each"),
        (again, "its subset has a copy of it already", "their subset has a copy of each already"),
    )
    return tuple(
        f"{counted(count, 'film is', 'films are')} in no subset: {one if count == 1 else many}"
        for count, one, many in reasons
        if count
    )
