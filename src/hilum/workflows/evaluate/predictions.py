"""``predictions-SUBSET.parquet``: a run's probabilities of films, with the hash of what it holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from hilum.errors import RunError
from hilum.files import replacing
from hilum.images.catalog_table import columns_hash

CONTENT = "content_sha256"
"""Attribute of the table; those of 0.1.0 have none."""


def write_predictions(path: Path, table: pd.DataFrame, identity: Mapping[str, Any]) -> None:
    """Write probabilities of films, with what identifies their model and films as attributes."""
    kept = table.copy(deep=False)
    kept.attrs = dict(identity.items())
    kept.attrs[CONTENT] = _hash(table)
    with replacing(path) as aside:
        kept.to_parquet(aside, index=False)


def read_predictions(path: Path) -> pd.DataFrame:
    """Return saved probabilities, with their identity as attributes.

    Raises:
        RunError: There are none, or they are not what was written.
    """
    try:
        table = pd.read_parquet(path)
        expected = table.attrs.pop(CONTENT, None)
        if expected is not None and expected != _hash(table):
            raise ValueError("they do not match their own SHA-256")
    except Exception as error:
        # pyarrow, pandas and the file system each have their own errors for a damaged file.
        fault = " ".join(str(error).split())
        raise RunError(
            f"{path} cannot be read ({fault:.80}): run `hilum evaluate` again, which makes it anew."
        ) from error
    return table


def _hash(table: pd.DataFrame) -> str:
    return columns_hash(pa.Table.from_pandas(table, preserve_index=False))
