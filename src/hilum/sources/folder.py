"""Any folder of films: a CSV whose columns are named by options, class folders, or no labels at all."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import pandas as pd

from hilum.catalog import Catalog, film_table
from hilum.counts import counted
from hilum.errors import DataError, OptionError
from hilum.findings import VOCABULARIES, canonical
from hilum.sources import paths, tables
from hilum.sources.archive.tree import is_dicom
from hilum.sources.class_folders import from_folder
from hilum.sources.folder_labels import NO_FINDING, refuse_reserved
from hilum.sources.folder_options import PARTS, FolderOptions, Join, Notes, flag
from hilum.sources.folder_table import from_table
from hilum.sources.lookup import look_up
from hilum.sources.masks import without_masks

Options = FolderOptions
PICTURES = (".png", ".jpg", ".jpeg")
"""Endings of films that are told by their names here, for opening each of a million takes long."""


def read(root: Path, options: FolderOptions) -> Catalog:
    """Read the table, or list the films, and check which exist.

    Findings of the vocabularies get their canonical spelling; other names stay findings of their
    own unless mapped.

    Raises:
        OptionError: Options that contradict each other or name nothing.
        DataError: The table or the folder is not what the options say; one line says why.
    """
    _check(options)
    rows, labels, excluded, notes = (
        from_table(root, options) if options.csv else from_folder(root, options)
    )
    rows_read = len(rows) + sum(excluded.values())
    films = look_up(root, rows["path"].tolist())
    _refuse_dicom(root, pd.Series(films.paths)[films.there].tolist(), options)
    rows["path"] = pd.Series(films.paths, rows.index, "string")
    excluded = excluded | films.excluded
    rows["patient"], patient_notes = _patients(rows, options)
    if rows.get("study") is None:
        rows["study"] = rows["path"]
    else:
        rows["study"] = rows["patient"] + "/" + rows["study"].fillna(rows["path"])
    refuse_reserved(labels)
    foreign_notes = _foreign_notes([name for name in labels if canonical(name) is None])
    table = film_table(
        pd.concat([rows, pd.DataFrame(labels, index=rows.index)], axis=1)[films.there],
        tuple(labels),
    )
    rowless_notes = _without_row(root, films.paths, options) if options.csv else ()
    notes = (*notes, *films.notes, *rowless_notes, *patient_notes, *foreign_notes)
    name = paths.dataset_name(options.dataset) if options.dataset else ""
    return Catalog(name, root, tuple(labels), table, rows_read, excluded, notes, films.missing)


def _without_row(root: Path, named: Sequence[str], options: FolderOptions) -> Notes:
    """Return a note on films on disk that the table does not name, where its paths begin."""
    start = f"{options.path_folder.strip('/')}/" if options.path_folder else ""
    there = [path for path in paths.find_films(root) if path.startswith(start)]
    others = sorted(set(without_masks(there)) - set(named))
    if not others:
        return ()
    count = counted(
        len(others), "film on disk has no row and is", "films on disk have no row and are"
    )
    return (
        f"{options.csv}: {count} left out, first {tables.show(others[0])}: rows with empty labels make films of them "
        "to pretrain on",
    )


def _refuse_dicom(root: Path, names: Sequence[str], options: FolderOptions) -> None:
    """Refuse DICOM files, whose names would stand in the store and whose headers nobody would judge.

    Raises:
        DataError: It counts them and names the command that reads them.
    """
    count = sum(not name.lower().endswith(PICTURES) and is_dicom(root / name) for name in names)
    if count:
        labels = f" with --label-table {options.csv} --label-key path" if options.csv else ""
        raise DataError(
            f"{counted(count, 'film is', 'films are')} DICOM, and names of such files may be people's: `hilum prepare "
            f"dicom ROOT`{labels} reads them and stores pseudonyms; `hilum prepare folder` takes PNG and JPEG."
        )


def _check(options: FolderOptions) -> None:
    options.check_labels()
    if options.csv and options.class_folders:
        raise OptionError(
            "--csv and --class-folders exclude each other: labels come from the table or the folders."
        )
    for name in (
        *options.film_columns(),
        "path_folder",
        "finding_columns",
        "label_column",
        "value_column",
    ):
        if getattr(options, name) and not options.csv:
            shown = tables.show(getattr(options, name))
            raise OptionError(f"{flag(name)} {shown} needs a table: give --csv, its file name.")
    if options.class_level < 0 or (options.class_level and not options.class_folders):
        raise OptionError(
            f"--class-level {options.class_level} counts folders from 1, with --class-folders: leave it out otherwise."
        )
    if options.patient_column and options.patient_pattern:
        raise OptionError(
            "--patient-column and --patient-pattern exclude each other: give one of them."
        )
    if not options.separator:
        raise OptionError(
            "--separator '' cannot separate classes: give the character between them, as '|'."
        )
    for word, part in options.split_values.items():
        if part not in ("", *PARTS.values()):
            raise OptionError(
                f"--split-values.{word} is {tables.show(part)}: allowed are {', '.join(dict.fromkeys(PARTS.values()))}."
            )
    if options.join and not options.csv:
        raise OptionError(
            f"--join {options.join} joins rows of a table: give --csv, its file name."
        )
    if options.join not in get_args(Join):
        raise OptionError(
            f"--join is {tables.show(options.join)}: allowed are any, majority and uncertain."
        )


def _patients(rows: pd.DataFrame, options: FolderOptions) -> tuple[pd.Series, Notes]:
    if options.patient_column:
        return rows["patient"], ()
    if not options.patient_pattern:
        note = "each film counts as a patient of its own: give --patient-column or --patient-pattern if some share one"
        return rows["path"].str.replace(r"\.[^./]+$", "", regex=True), (note,)
    shown = tables.show(options.patient_pattern)
    try:
        pattern = re.compile(options.patient_pattern)
    except re.error as error:
        raise OptionError(
            f"--patient-pattern {shown} is no regular expression: {error}."
        ) from error
    if pattern.groups != 1:
        raise OptionError(
            f"--patient-pattern {shown} has {counted(pattern.groups, 'group')}: put round brackets around the patient."
        )
    patients = rows["path"].str.extract(pattern, expand=False)
    missing = (patients.isna() | (patients == "")).to_numpy(bool)
    if missing.any():
        first = tables.show(rows["path"].iloc[int(missing.argmax())])
        raise DataError(
            f"--patient-pattern {shown} finds no patient in {counted(int(missing.sum()), 'path')}, "
            f"first {first}: mend the pattern."
        )
    return patients, ()


def _foreign_notes(findings: list[str]) -> Notes:
    """Return a note on findings outside the vocabularies, with what the first near miss may stand for."""
    if not findings:
        return ()
    normal = FolderOptions().absent_values
    known = [name for names in VOCABULARIES.values() for name in names]
    hints = (
        f"; if {name!r} is {near!r}, give {shlex.quote(f'--mapping.{name}')} {shlex.quote(near)}"
        for name in findings
        if (
            near := tables.near_miss(name, known)
            or (NO_FINDING if name.casefold() in normal else "")
        )
    )
    return (f"findings outside the vocabularies: {', '.join(findings)}{next(hints, '')}",)
