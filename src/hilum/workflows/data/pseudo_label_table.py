"""The table of pseudo-labels: cells that a model labelled, on disk and laid over films."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from hilum.arrays import FloatArray, Rows
from hilum.counts import counted
from hilum.errors import DataError
from hilum.files import replacing
from hilum.findings import positions
from hilum.images.films import Films
from hilum.images.table_hash import with_hash, without_hash
from hilum.training.run_folder import PSEUDO_LABELS
from hilum.workflows.data.subsets import Subsets

FORMAT = 1
RECORD = "format", "teacher", "round", "cuts", "options"
"""Keys of the record beside its hash."""
METADATA = b"hilum"
"""Key of the JSON that says of a table how it was made."""
COLUMNS = {
    "source": "string",
    "path": "string",
    "finding": "string",
    "value": "float32",
    "weight": "float32",
    "probability": "float32",
    "provenance": "string",
}
"""A row is one cell: a film, by its source and path, and a finding."""
NAME = ["source", "path"]
"""By which a film is known in a table of labels."""
PROVENANCES = ("pseudo", "uncertain")
"""Why a cell has a pseudo-label: its film has no label that is used, or an uncertain one."""


@dataclass(frozen=True)
class PseudoLabels:
    """Cells with a label that a model gave them, and how they were made."""

    cells: pd.DataFrame
    """Columns of COLUMNS; each cell once."""
    record: dict[str, Any] = field(default_factory=dict)
    """``format``, ``teacher`` (hash of its weights), ``round``, ``cuts`` by finding,
    ``options``."""

    def write(self, path: Path) -> None:
        """Write the table, replacing an older one of that place."""
        table = pa.Table.from_pandas(
            self.cells.astype(COLUMNS)[list(COLUMNS)], preserve_index=False
        )
        record = with_hash(table, {"format": FORMAT, **self.record})
        metadata = json.dumps(record, sort_keys=True, ensure_ascii=False, allow_nan=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as aside:
            pq.write_table(table.replace_schema_metadata({METADATA: metadata.encode()}), aside)

    def on(
        self, films: Films, findings: Sequence[str], subsets: Subsets | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """Return the cells among these films: targets, NaN where there is none, and weights, both [N, F].

        Args:
            films: N films.
            findings: F names.
            subsets: Of the films; loaded unless given.

        Raises:
            DataError: A film or finding is not among these, a film is none of their training films,
                or has another's name.
        """
        names = list(dict.fromkeys(self.cells["finding"]))
        columns = dict(zip(names, positions(names, findings), strict=True))
        for name, column in columns.items():
            if column is None:
                raise DataError(
                    f"pseudo-labels name {name!r}, which the stores lack: give the stores they are of."
                )
        training = self._training_films(films, Subsets.of(films) if subsets is None else subsets)
        rows, cells = (
            training["row"].to_numpy(np.int64),
            self.cells.iloc[training["line"].to_numpy()],
        )
        targets = np.full((len(films), len(findings)), np.nan, np.float32)
        weights = np.zeros_like(targets)
        at = rows, cells["finding"].map(columns).to_numpy(np.int64)
        targets[at] = cells["value"].to_numpy(np.float32)
        weights[at] = cells["weight"].to_numpy(np.float32)
        return targets, weights

    def _training_films(self, films: Films, subsets: Subsets) -> pd.DataFrame:
        """Return for each cell its ``line`` and the ``row`` of its training film.

        A film may be in two stores, and one of the splits may leave it out; of two training films
        the first counts.
        """
        known = films.catalog[[*NAME, "pixels"]].assign(row=range(len(films)))
        lines = self.cells[NAME].assign(line=range(len(self.cells)))
        matches = lines.merge(known, on=NAME)
        trained = matches[matches["row"].isin(subsets.rows("train"))]
        for known_lines, what in (
            (matches["line"], "no film"),
            (trained["line"], "no training film"),
        ):
            unknown = ~np.isin(np.arange(len(self.cells)), known_lines)
            if unknown.any():
                first = self.cells[unknown].iloc[0]
                raise DataError(
                    f"{int(unknown.sum())} pseudo-labels, first {first['source']}/{first['path']}, are of {what} of "
                    "the stores: give the stores and splits that they were made with."
                )
        refuse_two_of_a_name(matches)
        return trained.sort_values(["line", "row"]).drop_duplicates("line")[["line", "row"]]


def read_pseudo_labels(path: Path) -> PseudoLabels:
    """Read a table of pseudo-labels.

    Raises:
        DataError: There is none, it is damaged, or it is of a later version.
    """
    try:
        table = pq.read_table(path).select(list(COLUMNS))
        table.validate(full=True)  # that texts are texts
        if METADATA not in (table.schema.metadata or {}):
            raise DataError(
                f"{path} has no record of how its labels were made: give a table as `hilum pseudo-label` wrote it; one "
                "that was saved anew loses it."
            )
        record = without_hash(table, json.loads(table.schema.metadata[METADATA]), RECORD)
        version = record["format"]
        cells = table.to_pandas().astype(COLUMNS)
    except FileNotFoundError as error:
        raise DataError(
            f"{path} is not there: give a table that `hilum pseudo-label` wrote."
        ) from error
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
        pa.ArrowException,
    ) as error:
        raise DataError(
            f"{path} is no table of pseudo-labels, or damaged: give a {PSEUDO_LABELS} that `hilum pseudo-label` wrote."
        ) from error
    if not isinstance(version, int) or version > FORMAT:
        raise DataError(
            f"{path} was written by a later Hilum (format {version}): upgrade to read it."
        )
    shares = cells[["value", "probability"]].to_numpy(np.float32)
    weights = cells["weight"]
    faults = {
        "a null": bool(cells.isna().any(axis=None)),
        "a value or probability outside 0 to 1": not bool(((shares >= 0) & (shares <= 1)).all()),
        "a weight that is not above 0": not bool((np.isfinite(weights) & (weights > 0)).all()),
        "an unknown provenance": not bool(cells["provenance"].isin(PROVENANCES).all()),
        "a cell twice": bool(cells.duplicated([*NAME, "finding"]).any()),
    }
    for fault, present in faults.items():
        if present:
            raise DataError(f"{path} holds {fault}: make it again with `hilum pseudo-label`.")
    return PseudoLabels(cells, record)


def once(films: Films, rows: Rows) -> Rows:
    """Return the rows in rising order, of a film that stands in two stores the first: it is labelled once."""
    rising = np.sort(rows)
    return np.asarray(rising[~films.catalog[NAME].iloc[rising].duplicated().to_numpy(bool)])


def refuse_two_of_a_name(catalog: pd.DataFrame) -> None:
    """Raise a DataError if films of two stores have one name: a table of labels could not tell them apart."""
    named = catalog[[*NAME, "pixels"]].drop_duplicates()
    twice = named[named.duplicated(NAME)]
    if len(twice):
        raise DataError(
            f"{counted(len(twice), 'film')}, first {twice['path'].iloc[0]}, "
            f"{'is another' if len(twice) == 1 else 'are others'} in two stores of the source "
            f"{twice['source'].iloc[0]!r}: prepare one of them with another --dataset name."
        )
