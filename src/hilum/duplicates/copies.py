"""Copies among films: pairs, and the groups that they form."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hilum.splits.copies import joined

PAIR_TYPES = {
    "first": "int64",
    "second": "int64",
    "kind": "string",
    "correlation": "float64",
    "same_patient": "bool",
}
"""Columns of a table of pairs, with their types."""


@dataclass(frozen=True)
class Copies:
    """The copies among films.

    ``pairs`` has a row for each pair found, sorted: ``first`` < ``second`` (row numbers among the
    films), ``kind`` ("exact": equal pixels; "near"), ``correlation`` of the aligned films (1 for
    exact ones) and ``same_patient``. Of films with equal pixels the first is paired with each other
    one, and represents them in near pairs; `groups` joins them.
    """

    films: int
    pairs: pd.DataFrame
    candidates: int = 0
    """Pairs that the hash proposed and alignment compared."""
    notes: tuple[str, ...] = ()
    """Notes for the user: where the search was cut short."""

    def groups(self) -> list[NDArray[np.int64]]:
        """Return films that are copies of each other, directly or by way of others: rows ascending, groups by first."""
        return joined(self.films, self.pairs[["first", "second"]].to_numpy(np.int64))


def pair_table(
    rows: Iterable[tuple[int, int, str, float]], patients: NDArray[np.int64]
) -> pd.DataFrame:
    """Return pairs as the table that `Copies` has.

    Args:
        rows: first, second, kind and correlation.
        patients: One number a patient, [N].
    """
    table = pd.DataFrame(list(rows), columns=["first", "second", "kind", "correlation"])
    table = table.sort_values(["first", "second"], ignore_index=True).astype(
        {"first": "int64", "second": "int64"}
    )
    first, second = table["first"].to_numpy(), table["second"].to_numpy()
    return table.assign(same_patient=patients[first] == patients[second]).astype(PAIR_TYPES)
