"""The view positions of a table's rows, from its words; see `hilum.sources.view_words`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from hilum.counts import counted
from hilum.sources.tables import show
from hilum.sources.view_words import view_position


def views_of(cells: pd.Series) -> tuple[npt.NDArray[np.object_], tuple[str, ...]]:
    """Return each row's view position [N], null where it cannot be told, and a note that counts and names those."""
    codes, words = pd.factorize(cells)
    known = [view_position(str(word)) for word in words]
    views = np.array([*known, None], object)[codes]
    return views, untold(cells, pd.isna(views))


def untold(cells: pd.Series, rows: npt.NDArray[np.bool_]) -> tuple[str, ...]:
    """Return a note on the rows [N] whose view cannot be told, with their words and how many of each."""
    if not rows.any():
        return ()
    counts = cells[rows].fillna("").str.strip().value_counts()
    named = [f"{count:,} {show(str(word)) if word else 'empty'}" for word, count in counts.items()]
    more = f" and {len(named) - 6} other words" if len(named) > 6 else ""
    return (
        f"the view of {counted(int(rows.sum()), 'film')} cannot be told from column {show(cells.name)}: "
        f"{', '.join(named[:6])}{more}; `--views frontal` leaves {'it' if rows.sum() == 1 else 'them'} out",
    )
