"""Copies in a split: patients with a picture in common count as one, and no picture is in two subsets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from hilum.arrays import Rows
from hilum.stratify import first_of_group

PRECEDENCE = ("train", "val", "test", "official-test")
"""Of a picture in two subsets, the film in the later one of these is kept."""


@dataclass(frozen=True)
class KnownCopies:
    """Films of a catalogue that are known to show the same picture."""

    pairs: Rows = field(default_factory=lambda: np.empty((0, 2), np.int64))
    """Rows of the catalogue, [M, 2]."""
    once: bool = False
    """Whether a picture is wanted once in a part; else later ones of the part stay in it."""


NO_COPIES = KnownCopies()


def joined(count: int, links: Rows) -> list[Rows]:
    """Return the groups of two or more that links, [M, 2], make of ``count`` things: in order of their first.

    >>> joined(6, np.array([[4, 1], [1, 5]]))
    [array([1, 4, 5])]
    """
    named = first_of_group(count, links)
    linked = np.unique(links)
    order = linked[np.argsort(named[linked], kind="stable")]
    ends = np.flatnonzero(np.diff(named[order])) + 1
    return [group for group in np.split(order, ends) if len(group) > 1]


def people(patients: pd.Series, copies: KnownCopies) -> pd.Series:
    """Return whom each film counts for, [N]: its patient, or of patients with a picture in common the first."""
    codes, names = pd.factorize(patients)
    first = first_of_group(len(names), codes[copies.pairs].astype(np.int64))
    return pd.Series(np.asarray(names)[first[codes]], dtype=object)


def members(
    patients: pd.Series, people_of_films: pd.Series, chosen: Sequence[str]
) -> tuple[str, ...]:
    """Return the patients who count for the people chosen, in their order."""
    table = pd.DataFrame(
        {"patient": patients.to_numpy(object), "person": people_of_films.to_numpy(object)}
    )
    named = table.drop_duplicates().groupby("person", sort=False)["patient"].agg(list)
    return tuple(str(patient) for person in chosen for patient in named[person])


def left_out(assigned: pd.Series, copies: KnownCopies) -> tuple[Rows, Rows]:
    """Return the rows that are left out of their split because of copies.

    Args:
        assigned: Each film's part, [N]; null where it has none.
        copies: The known copies.

    Returns: Rows whose picture is in a subset of higher rank, and rows whose picture is in their
        own subset already (none unless ``copies.once``).
    """
    rank = (
        assigned.map(dict(zip(PRECEDENCE, range(len(PRECEDENCE)), strict=True)))
        .fillna(-1)
        .to_numpy(np.int64)
    )
    lower, again = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for group in joined(len(rank), copies.pairs):
        highest = rank[group].max()
        lower.append(group[(rank[group] >= 0) & (rank[group] < highest)])
        if copies.once:
            again.append(group[rank[group] == max(highest, 0)][1:])
    return np.concatenate(lower), np.concatenate(again)
