"""``predictions-SUBSET.parquet``: a run's probabilities of films, with a hash."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from hilum.errors import RunError
from hilum.files import inside, replacing
from hilum.images.table_hash import with_hash, without_hash

IDENTITY = "model", "data", "rows"
"""Attributes of the table beside its hash."""
NAMES = "source", "path", "patient"
"""Columns beside the findings."""


def write_predictions(path: Path, table: pd.DataFrame, identity: Mapping[str, Any]) -> None:
    """Write probabilities of films, with what identifies their model and films as attributes."""
    kept = table.copy(deep=False)
    kept.attrs = dict(with_hash(_arrow(table), identity).items())
    with replacing(path) as aside:
        kept.to_parquet(aside, index=False)


def read_predictions(path: Path) -> pd.DataFrame:
    """Return saved probabilities, with their identity as attributes.

    Raises:
        RunError: There are none, or they are not what was written.
    """
    try:
        table = pd.read_parquet(inside(path.parent, path.name))
        record = {str(key): value for key, value in table.attrs.items()}
        table.attrs = dict(without_hash(_arrow(table), record, IDENTITY).items())
        _check(table)
    except Exception as error:
        # pyarrow, pandas and the file system each have their own errors for a damaged file.
        fault = " ".join(str(error).split())
        raise RunError(
            f"{path} cannot be read ({fault:.160}): run `hilum evaluate` again, which makes it anew."
        ) from error
    return table


def _check(table: pd.DataFrame) -> None:
    """Raise a KeyError or ValueError for columns that no predictions have."""
    for name in table:
        if name not in NAMES:
            probabilities = table[name]
            if probabilities.dtype.kind != "f" or not probabilities.between(0, 1).all():
                raise ValueError(f"{name!r:.40} holds what are no probabilities")
        elif name == "path" and not pd.api.types.is_string_dtype(table[name]):
            raise ValueError(f"{name} holds what are no texts")
    _ = table["path"]


def _arrow(table: pd.DataFrame) -> pa.Table:
    return pa.Table.from_pandas(table, preserve_index=False)
