"""Which films are copies of which: pairs, and the groups they join to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

PAIR_TYPES = {"first": "int64", "second": "int64", "kind": "string", "correlation": "float64", "same_patient": "bool"}
"""Columns of a table of pairs, with their types."""


@dataclass(frozen=True)
class Copies:
    """The copies among films.

    ``pairs`` has a row for each pair found, sorted: ``first`` < ``second`` (row numbers among the films), ``kind``
    ("exact": equal pixels; "near"), ``correlation`` of the aligned films (1 for exact ones) and ``same_patient``.
    Of films with equal pixels the first is paired with each other one, and stands for them in near pairs: `groups`
    has who belongs together.
    """

    films: int
    pairs: pd.DataFrame
    candidates: int = 0
    """Pairs that the hash proposed and that were looked at."""
    notes: tuple[str, ...] = ()
    """What the user should know: where a search was cut short."""

    def groups(self) -> list[NDArray[np.int64]]:
        """Return films that are copies of each other, directly or by way of others: rows ascending, groups by first."""
        first, second = self.pairs["first"].to_numpy(np.int64), self.pairs["second"].to_numpy(np.int64)
        return joined(self.films, first, second)


def joined(count: int, first: NDArray[np.int64], second: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return the groups of two or more that links make of ``count`` things: each ascending, in order of the first.

    >>> joined(6, np.array([4, 1]), np.array([1, 5]))
    [array([1, 4, 5])]
    """
    named = np.arange(count)
    while True:  # each pass gives both ends of every link the lower name; long chains halve by following names
        lower = np.minimum(named[first], named[second])
        before = named.copy()
        np.minimum.at(named, first, lower)
        np.minimum.at(named, second, lower)
        named = named[named]
        if np.array_equal(named, before):
            break
    linked = np.unique(np.concatenate([first, second]))
    order = linked[np.argsort(named[linked], kind="stable")]
    ends = np.flatnonzero(np.diff(named[order])) + 1
    return [group for group in np.split(order, ends) if len(group)]


def pair_table(rows: Iterable[tuple[int, int, str, float]], patients: NDArray[np.int64]) -> pd.DataFrame:
    """Return pairs as the table that `Copies` has.

    Args:
        rows: first, second, kind and correlation.
        patients: One number a patient, [N].
    """
    table = pd.DataFrame(list(rows), columns=["first", "second", "kind", "correlation"])
    table = table.sort_values(["first", "second"], ignore_index=True).astype({"first": "int64", "second": "int64"})
    first, second = table["first"].to_numpy(), table["second"].to_numpy()
    return table.assign(same_patient=patients[first] == patients[second]).astype(PAIR_TYPES)
