"""Catalog: one row a radiograph, as a source describes it, before any image is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from hilum.counts import counted
from hilum.errors import DataError

if TYPE_CHECKING:
    import pandas as pd  # only named here, so that the command line's help is spared the import

FILM_COLUMNS = ("path", "patient", "study", "view_position", "sex", "age", "part")
"""Columns that every catalogue has, before one column a finding.

path           POSIX path below the root, unique
patient        who; never empty
study          which visit of that patient; unique within the whole catalogue
view_position  PA, AP, FRONTAL (not said which), LATERAL, or null where it cannot be told
sex            M, F or null
age            years, or null
part           the source's own division: train, val, test, official-test, or null where it has none
"""

ARCHIVE_COLUMNS = ("study_order", "maker", "model")
"""Columns that the catalogue of a hospital's archive has beside them, after the findings.

study_order    which of the patient's studies by date, from 1, or null: the dates themselves are not kept
maker, model   of the device, or null
"""

PRESENT, ABSENT, UNCERTAIN = 1.0, 0.0, -1.0
"""Label values; NaN means not stated."""


Task = Literal["multi-class", "multi-label", "binary"]
"""How the findings of a set of MedMNIST go together: each film is of exactly one of them, of any, or
with or without the last."""


@dataclass(frozen=True)
class Archive:
    """Where the films of an archive whose names are private lie; never stored, and shown to nobody."""

    files: tuple[str, ...]
    """[N] the file of each row, below the root."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """File -> why it gives no row."""


@dataclass(frozen=True)
class Catalog:
    """What a source says about its films.

    ``table`` has FILM_COLUMNS and one float32 column a finding (1 present, 0 absent, -1 uncertain,
    NaN not stated). ``excluded`` counts the rows that the source's tables have and ``table`` lacks,
    by reason: ``rows_read == len(table) + sum(excluded.values())``.
    """

    source: str
    """The data set's name; empty where only the root folder is known, whose name may be private: then
    `prepare` names the set by that name's pseudonym."""
    root: Path
    findings: tuple[str, ...]
    table: pd.DataFrame
    rows_read: int
    excluded: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    """Paths of the rows that are not on disk, as far as the source knows them."""
    archive: Archive | None = None
    """Given where paths, patients and studies name people: `prepare` stores pseudonyms of them under
    the group's key, and the table has ARCHIVE_COLUMNS too."""
    reader: str = ""
    """``module:function`` that reads one of ``path``'s films into grey; empty: each is an image
    file."""
    task: Task | None = None
    """Where the set has its own task, by which `evaluate` measures it too; None otherwise."""

    def __post_init__(self) -> None:
        """Refuse a catalogue that breaks what everything downstream relies on.

        Raises:
            DataError: Nothing is left, a path stands twice, a patient is missing, or the counts do
                not add up.
        """
        expected = [*FILM_COLUMNS, *self.findings, *self.described]
        if list(self.table.columns) != expected:
            raise ValueError(
                f"catalogue columns are {list(self.table.columns)}, expected {expected}"
            )
        if self.table.empty:
            reasons = (
                ", ".join(f"{count} {reason}" for reason, count in self.excluded.items())
                or "no rows"
            )
            looked = "".join(f" {note}." for note in self.notes if note.startswith("not on disk: "))
            what = "row" if self.archive is None else "file"
            root = self.root if self.archive is None else "ROOT"  # whose name may be a person's
            raise DataError(
                f"no film is left of {counted(self.rows_read, what)} in {root}: "
                f"{reasons}. Check the root folder.{looked}"
            )
        if len(self.table) + sum(self.excluded.values()) != self.rows_read:
            raise ValueError("rows_read must equal the rows kept plus the rows excluded")
        twice = self.table["path"][self.table["path"].duplicated()]
        if len(twice):
            raise DataError(
                f"{counted(len(twice), 'path stands', 'paths stand')} twice in {self.root}, "
                f"first {twice.iloc[0]!r}: keep one row a film."
            )
        if self.table["patient"].isna().any():
            raise ValueError("every film needs a patient")

    @property
    def described(self) -> tuple[str, ...]:
        """The columns after the findings."""
        return () if self.archive is None else ARCHIVE_COLUMNS

    def files_of(self, rows: Sequence[int]) -> tuple[str, ...]:
        """Return the files of rows below the root, [n]: their paths, unless these are pseudonyms."""
        if self.archive is None:
            return tuple(self.table["path"].iloc[list(rows)])
        return tuple(self.archive.files[row] for row in rows)

    def labels(self) -> np.ndarray:
        """Return the labels, float32 [N, F]."""
        return self.table[list(self.findings)].to_numpy(np.float32)


def film_table(
    rows: pd.DataFrame, findings: Sequence[str], described: Sequence[str] = ()
) -> pd.DataFrame:
    """Return the rows with all catalogue columns, in order and of the right types; missing film columns become null."""
    table = rows.reindex(columns=[*FILM_COLUMNS, *findings, *described]).reset_index(drop=True)
    text = [name for name in FILM_COLUMNS if name != "age"]
    types = {
        **dict.fromkeys(text, "string"),
        "age": "float32",
        **dict.fromkeys(findings, "float32"),
    }
    types |= {name: "Int32" if name == "study_order" else "string" for name in described}
    return table.astype(types)
