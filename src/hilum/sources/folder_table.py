"""A folder's table: columns named by options become films, splits and labels."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy.typing as npt
import pandas as pd

from hilum.counts import counted
from hilum.errors import DataError, OptionError, did_you_mean
from hilum.sources import paths, tables, views
from hilum.sources.class_names import refuse_all_present
from hilum.sources.folder_labels import Findings, refuse_stated_twice, table_labels
from hilum.sources.folder_options import FolderOptions, Notes, flag
from hilum.sources.joining import JOINED, join_rows

DESCRIBING = {
    "age_column": ("age", "patientage", "ageyears", "ageinyears", "ageatstudy"),
    "sex_column": ("sex", "gender", "patientsex", "patientgender"),
    "view_column": ("view", "viewposition", "projection", "appa", "position"),
}
"""Common names of columns that describe a patient or a film, in small letters alone."""


def from_table(
    root: Path, options: FolderOptions
) -> tuple[pd.DataFrame, Findings, dict[str, int], Notes]:
    """Return the films, labels by finding, rows left out by reason, and notes.

    Raises:
        OptionError: An option names what is not there.
        DataError: The table is not what the options say; one line says where.
    """
    path = _table_path(root, options.csv)
    cells, skipped, row_notes = tables.read_csv(path)
    _refuse_films_in_header(cells, path.name)
    for entry in fields(options):
        if entry.name.endswith("_column"):
            column = getattr(options, entry.name)
            tables.need_columns(cells, [column] if column else [], path.name, flag(entry.name))
    tables.need_columns(cells, options.finding_columns, path.name, "--finding-columns")
    tables.need_cells(cells[options.path_column], path.name)
    named, absolute_notes = paths.below_root(cells[options.path_column], root, elsewhere=True)
    rows = pd.DataFrame(
        {"path": _below(options.path_folder, paths.normal_paths(named, path.name), root)}
    )
    if not options.join and not options.value_column:
        remedy = "keep one row a film, or join its rows by --join any, majority or uncertain"
        paths.refuse_twice(rows["path"], path.name, remedy)
    used = {str(value) for value in vars(options).values() if isinstance(value, str)}
    notes = (
        *row_notes,
        *absolute_notes,
        *tables.nameless_note(cells, path.name, used | set(options.finding_columns)),
        *unmapped_columns(list(cells.columns), options),
    )
    for name, column in options.film_columns().values():
        if column:
            rows[name], more = _film_column(name, cells[column], path.name, options)
            notes += more
    labels, label_notes = table_labels(cells, options, path.name)
    notes = (*notes, *label_notes)
    if options.value_column and not options.join:
        refuse_stated_twice(rows["path"], labels, cells, path.name)
    count = len(rows)
    join_notes: Notes = ()
    if rows["path"].duplicated().any():
        rows, labels, join_notes = join_rows(rows, labels, options.join or "any", path.name)
        skipped = skipped | {JOINED: count - len(rows)}
    refuse_all_present(labels, options, path.name)
    return rows, labels, skipped, (*notes, *join_notes)


def _refuse_films_in_header(cells: pd.DataFrame, name: str) -> None:
    """Raise a DataError where the first line seems to be a row: a list of films without a header."""
    spaces = " ".join(map(str, cells.columns)).split()
    film = next((word for word in spaces if word.lower().endswith(paths.EXTENSIONS)), "")
    if not film:
        return
    example = ",".join(f"column{number}" for number in range(1, len(spaces) + 1))
    between = " and put commas between its columns" if len(spaces) > len(cells.columns) else ""
    raise DataError(
        f"{name} has no header, its first line names {tables.show(film)}: write one above it, such as "
        f"{example[:80]},{between} and name its columns by --path-column and the others."
    )


def _below(folder: str, named: pd.Series, root: Path) -> pd.Series:
    """Return a table's paths as paths below the root, where they begin in one of its folders."""
    if not folder:
        return named
    start = (root / folder).resolve()
    if not start.is_relative_to(root.resolve()) or not start.is_dir():
        there = sorted(entry.name for entry in root.iterdir() if entry.is_dir())
        raise OptionError(
            f"--path-folder {tables.show(folder)} is no folder below {root}: there are "
            f"{', '.join(map(tables.show, there[:8])) or 'none'}.{did_you_mean(folder, there)}"
        )
    return start.relative_to(root.resolve()).as_posix() + "/" + named


def unmapped_columns(columns: Sequence[str], options: FolderOptions) -> Notes:
    """Return a note on columns that seem to hold age, sex or view position and that no option names.

    >>> unmapped_columns(["path", "Patient Age", "SEX"], FolderOptions(csv="films.csv"))
    ("columns that seem to hold age and sex are not read: give --age-column 'Patient Age' --sex-column SEX",)
    """
    used = {options.path_column, options.label_column, *options.finding_columns}
    used.update(column for _, column in options.film_columns().values())
    missing: dict[str, str] = {}
    for option, names in DESCRIBING.items():
        for column in columns:
            letters = re.sub(r"[^a-z]", "", column.casefold())
            if letters in names and column not in used and not getattr(options, option):
                missing.setdefault(option, column)
    if not missing:
        return ()
    held = [option.removesuffix("_column") for option in missing]
    listed = " and ".join(filter(None, (", ".join(held[:-1]), held[-1])))
    given = " ".join(f"{flag(name)} {shlex.quote(column)}" for name, column in missing.items())
    return (f"columns that seem to hold {listed} are not read: give {given}",)


_ROUNDED = r"\d(?:[.,]\d+)?[eE]\+?\d+"
_NOBODY = ("unknown", "unk", "anonymous", "anonymized", "anonymised", "-", "?", "x", "xxx")


def patient_notes(patients: pd.Series) -> Notes:
    """Return notes on patients that may be one under two names, and on names that may be of several.

    >>> patient_notes(pd.Series(["007", "7", "8"]))[0][:76]
    "2 patients differ from others in letter case, zeros or '.0' alone, as '007' "
    """
    names = pd.Series(patients.unique(), dtype="string")
    alike = (
        names.str.casefold()
        .str.replace(r"^(\d+)\.0+$", r"\1", regex=True)
        .str.replace(r"(?<!\d)0+(?=\d)", "", regex=True)
    )
    again = alike.duplicated(keep=False)
    notes = []
    if again.any():
        first, second = names[alike == alike[again].iloc[0]].iloc[:2]
        notes.append(
            f"{counted(int(again.sum()), 'patient')} differ from others in letter case, zeros or '.0' alone, as "
            f"{first!r} and {second!r}: each counts as a patient of its own; write every patient one way"
        )
    rounded = names[names.str.fullmatch(_ROUNDED)]
    if len(rounded):
        notes.append(
            f"{counted(len(rounded), 'patient')} {'is' if len(rounded) == 1 else 'are'} called by a number that a "
            f"spreadsheet has rounded, first {rounded.iloc[0]!r}: several patients may count as one; export that "
            "column as text"
        )
    nobody = patients[patients.str.casefold().isin(_NOBODY)]
    if nobody.duplicated().any():
        notes.append(
            f"{counted(len(nobody), 'film is', 'films are')} of the patient {nobody.iloc[0]!r}, who counts as one"
        )
    return tuple(notes)


def _table_path(root: Path, name: str) -> Path:
    path = root / name
    if not path.resolve().is_relative_to(root.resolve()):
        raise OptionError(
            f"--csv {tables.show(name)} leaves the root {root}: put the table below it."
        )
    if not path.is_file():
        there = sorted(table.name for table in root.glob("*.csv"))
        hint = did_you_mean(name, there)
        raise DataError(
            f"{root} has no table {tables.show(name)}: it has {', '.join(there[:5]) or 'no CSV'}.{hint}"
        )
    return path


def _film_column(
    name: str, cells: pd.Series, table: str, options: FolderOptions
) -> tuple[pd.Series | npt.NDArray[Any], Notes]:
    """Return one of the catalogue's columns, and notes."""
    words = options.unstated()
    if name == "patient":
        tables.need_cells(cells, table, words)
        patients = cells.str.strip()
        return patients, patient_notes(patients)
    if name == "part":
        allowed = "a split: train, val or test; name other words by --split-values, as --split-values.fold5 test"
        parts, there = options.parts(), {tables.fold(str(word)) for word in cells.dropna().unique()}
        for word in options.split_values:
            if tables.fold(word) not in there:
                shown = ", ".join(map(tables.show, cells.dropna().unique()[:8]))
                raise OptionError(
                    f"--split-values names {tables.show(word)}, which column {cells.name!r} has not: it has {shown}."
                )
        codes, values = tables.parse_cells(
            cells, lambda text: parts.get(tables.fold(text)), table, allowed, words - parts.keys()
        )
        return tables.texts(codes, [value or None for value in values]), ()
    if name == "age":
        return tables.ages(cells, table)
    if name == "study":
        visits = cells.str.strip()
        return visits.mask(tables.unstated_rows(visits, words)), ()
    if name == "view_position":
        return views.views_of(cells)
    return tables.described(cells, tables.SEXES, table)
