"""Any folder of films: a CSV whose columns are named by options, class folders, or no labels at all."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from hilum.arrays import FloatArray
from hilum.catalog import ABSENT, FILM_COLUMNS, PRESENT, UNCERTAIN, Catalog, film_table
from hilum.errors import DataError, OptionError, did_you_mean
from hilum.findings import canonical
from hilum.options import take_fields
from hilum.sources import paths, tables, views
from hilum.sources.lookup import look_up

PARTS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
    "official-test": "test",
}
"""Names of splits in data sets, and their names here."""

DESCRIBING = {
    "age_column": ("age", "patientage", "ageyears", "ageinyears", "ageatstudy"),
    "sex_column": ("sex", "gender", "patientsex", "patientgender"),
    "view_column": ("view", "viewposition", "projection", "appa", "position"),
}
"""Common names of columns that describe a patient or a film, in small letters alone."""

RESERVED = (*FILM_COLUMNS, "pixels", "height", "width", "films")
"""Names that no finding can have: the catalogue's own columns."""

Findings = dict[str, FloatArray]
Notes = tuple[str, ...]


@dataclass(frozen=True)
class FolderOptions:
    """A folder of films with a CSV, with a folder for each class, or without labels."""

    dataset: str = ""
    """Name of the data set; by default that of its root folder."""
    csv: str = ""
    """File name of the table, below the root; without one every PNG and JPEG below the root is a
    film."""
    path_column: str = "path"
    """Column with the film's path, relative to the root."""
    patient_column: str = ""
    """Column with the patient; without it ``patient_pattern`` counts, else each film is a patient of
    its own."""
    patient_pattern: str = ""
    """Regular expression with one group that matches the patient in the path."""
    study_column: str = ""
    """Column with the visit; without it each film is a study of its own."""
    view_column: str = ""
    """Column with the projection: PA, AP, lateral, in any common spelling."""
    sex_column: str = ""
    """Column with M or F."""
    age_column: str = ""
    """Column with the age in years."""
    part_column: str = ""
    """Column with train, val or test."""
    finding_columns: tuple[str, ...] = ()
    """Columns with one finding each: 1, 0, -1 (uncertain) or empty, or the words below."""
    label_column: str = ""
    """Column with a film's classes; the other classes are absent, and all are unstated in an empty
    cell."""
    separator: str = "|"
    """Character between the classes of a cell."""
    class_folders: bool = False
    """Without a table: a film's folder is its class."""
    mapping: dict[str, str] = field(default_factory=dict)
    """Finding of a column or class, as in ``PNEUMONIA: Pneumonia``; an empty name leaves it out."""
    absent_values: tuple[str, ...] = ("normal", "no finding", "no_finding")
    """Classes that are no finding and mean that all findings are absent."""
    positive_values: tuple[str, ...] = ("yes", "true", "present", "positive")
    """Words for present in finding columns."""
    negative_values: tuple[str, ...] = ("no", "false", "absent", "negative")
    """Words for absent in finding columns."""
    uncertain_values: tuple[str, ...] = ("uncertain",)
    """Words for uncertain in finding columns."""

    def __post_init__(self) -> None:
        """Take a text for a path and a single value for a list; a TypeError refuses anything else."""
        take_fields(self)


Options = FolderOptions


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
        _from_table(root, options) if options.csv else _from_folder(root, options)
    )
    rows_read = len(rows) + sum(excluded.values())
    films = look_up(root, rows["path"].tolist())
    rows["path"] = pd.Series(films.paths, rows.index, "string")
    excluded = excluded | films.excluded
    rows["patient"], patient_notes = _patients(rows, options)
    if rows.get("study") is None:
        rows["study"] = rows["path"]
    else:
        rows["study"] = rows["patient"] + "/" + rows["study"].fillna(rows["path"])
    refuse_reserved(labels)
    foreign = [name for name in labels if canonical(name) is None]
    foreign_notes = (f"findings outside the vocabularies: {', '.join(foreign)}",) if foreign else ()
    table = film_table(
        pd.concat([rows, pd.DataFrame(labels, index=rows.index)], axis=1)[films.there],
        tuple(labels),
    )
    notes = (*notes, *films.notes, *patient_notes, *foreign_notes)
    name = paths.dataset_name(options.dataset or root.resolve().name)
    return Catalog(name, root, tuple(labels), table, rows_read, excluded, notes, films.missing)


def refuse_reserved(findings: Iterable[str]) -> None:
    """Refuse findings with the name of one of the catalogue's own columns.

    Raises:
        OptionError: Names the first.
    """
    for name in findings:
        if name.casefold() in RESERVED:
            raise OptionError(
                f"finding {name!r} has a name that the catalogue uses itself: rename it by --mapping."
            )


def _check(options: FolderOptions) -> None:
    if options.finding_columns and options.label_column:
        raise OptionError(
            "--finding-columns and --label-column exclude each other: give the one that the table has."
        )
    if options.csv and options.class_folders:
        raise OptionError(
            "--csv and --class-folders exclude each other: labels come from the table or the folders."
        )
    for name in (*_film_columns(options), "finding_columns", "label_column"):
        if getattr(options, name) and not options.csv:
            shown = tables.show(getattr(options, name))
            raise OptionError(f"{_flag(name)} {shown} needs a table: give --csv, its file name.")
    if options.patient_column and options.patient_pattern:
        raise OptionError(
            "--patient-column and --patient-pattern exclude each other: give one of them."
        )
    if not options.separator:
        raise OptionError(
            "--separator '' cannot separate classes: give the character between them, as '|'."
        )


def _flag(name: str) -> str:
    """Return an option as the command line writes it."""
    return f"--{name.replace('_', '-')}"


def _film_columns(options: FolderOptions) -> dict[str, tuple[str, str]]:
    """Return, by option, the catalogue's column that it fills and the table's column, which may be empty."""
    return {
        "patient_column": ("patient", options.patient_column),
        "study_column": ("study", options.study_column),
        "view_column": ("view_position", options.view_column),
        "sex_column": ("sex", options.sex_column),
        "age_column": ("age", options.age_column),
        "part_column": ("part", options.part_column),
    }


def _from_table(
    root: Path, options: FolderOptions
) -> tuple[pd.DataFrame, Findings, dict[str, int], Notes]:
    path = _table_path(root, options.csv)
    cells, skipped, row_notes = tables.read_csv(path)
    for entry in fields(options):
        if entry.name.endswith("_column"):
            column = getattr(options, entry.name)
            tables.need_columns(cells, [column] if column else [], path.name, _flag(entry.name))
    tables.need_columns(cells, options.finding_columns, path.name, "--finding-columns")
    tables.need_cells(cells[options.path_column], path.name)
    named, absolute_notes = paths.below_root(cells[options.path_column], root)
    rows = pd.DataFrame({"path": paths.clean_paths(named, path.name)})
    used = {str(value) for value in vars(options).values() if isinstance(value, str)}
    notes = (
        *row_notes,
        *absolute_notes,
        *tables.nameless_note(cells, path.name, used | set(options.finding_columns)),
        *unmapped_columns(list(cells.columns), options),
    )
    for name, column in _film_columns(options).values():
        if column:
            rows[name], more = _film_column(name, cells[column], path.name)
            notes += more
    labels, label_notes = _table_labels(cells, options, path.name)
    return rows, labels, skipped, (*notes, *label_notes)


def unmapped_columns(columns: Sequence[str], options: FolderOptions) -> Notes:
    """Return a note on columns that seem to hold age, sex or view position and that no option names.

    >>> unmapped_columns(["path", "Patient Age", "SEX"], FolderOptions(csv="films.csv"))
    ("columns that seem to hold age and sex are not read: give --age-column 'Patient Age' --sex-column SEX",)
    """
    used = {options.path_column, options.label_column, *options.finding_columns}
    used.update(column for _, column in _film_columns(options).values())
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
    given = " ".join(f"{_flag(name)} {shlex.quote(column)}" for name, column in missing.items())
    return (f"columns that seem to hold {listed} are not read: give {given}",)


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
    name: str, cells: pd.Series, table: str
) -> tuple[pd.Series | npt.NDArray[Any], Notes]:
    """Return one of the catalogue's columns, and notes."""
    if name == "patient":
        tables.need_cells(cells, table)
        return cells.str.strip(), ()
    if name == "part":
        allowed = "a part: train, val or test"
        return tables.texts(
            *tables.parse_cells(cells, lambda text: PARTS.get(text.casefold()), table, allowed)
        ), ()
    if name == "age":
        return tables.ages(cells, table)
    if name == "study":
        return cells.str.strip(), ()
    if name == "view_position":
        return views.views_of(cells)
    return tables.described(cells, tables.SEXES, table)


def _table_labels(
    cells: pd.DataFrame, options: FolderOptions, table: str
) -> tuple[Findings, Notes]:
    if options.label_column:
        column = cells[options.label_column]
        classes = [None if pd.isna(cell) else str(cell).split(options.separator) for cell in column]
        return _class_labels(classes, options, f"column {options.label_column!r}")
    _check_mapping(options, options.finding_columns)
    listed = {
        PRESENT: options.positive_values,
        ABSENT: options.negative_values,
        UNCERTAIN: options.uncertain_values,
    }
    words = {word.strip().casefold(): value for value, names in listed.items() for word in names}
    labels: Findings = {}
    for column_name in options.finding_columns:
        finding = _finding(column_name, options.mapping)
        if finding in labels:
            raise OptionError(
                f"two columns are the finding {finding!r}, the second {column_name!r}: leave one out."
            )
        if finding:
            parsed = tables.parse_cells(
                cells[column_name],
                lambda text: words.get(text.casefold(), tables.label(text)),
                table,
                _ALLOWED,
            )
            labels[finding] = tables.numbers(*parsed)
    if labels:
        return labels, ()
    return labels, ("no labels: give --finding-columns or --label-column if the table has any",)


_ALLOWED = "a label: 1, 0, -1 or empty; name other words by --positive-values, --negative-values or --uncertain-values"


def _class_labels(
    classes: list[list[str] | None], options: FolderOptions, where: str
) -> tuple[Findings, Notes]:
    """Return labels from each film's classes (None: not stated), and a note on the classes that mean no finding."""
    cleaned = [
        None if names is None else [name.strip() for name in names if name.strip()]
        for names in classes
    ]
    seen = sorted({name for names in cleaned for name in names or ()})
    _check_mapping(options, seen)
    absent = {word.casefold() for word in options.absent_values}
    normal = [name for name in seen if name.casefold() in absent and name not in options.mapping]
    finding = {name: _finding(name, options.mapping) for name in seen if name not in normal}
    findings = sorted({name for name in finding.values() if name})
    if not findings:
        raise DataError(
            f"{where} names no finding, only {', '.join(map(tables.show, seen[:5])) or 'empty cells'}."
        )
    labels = {name: np.zeros(len(cleaned), np.float32) for name in findings}
    for row, names in enumerate(cleaned):
        for column in labels.values() if not names else ():
            column[row] = np.nan
        for name in names or ():
            if target := finding.get(name):
                labels[target][row] = PRESENT
    notes = tuple(
        f"{name!r} in {where} means that {', '.join(findings)} are absent and is no finding itself"
        for name in normal
    )
    return labels, notes


def _check_mapping(options: FolderOptions, names: Iterable[str]) -> None:
    for foreign in options.mapping:
        if foreign not in names:
            there = ", ".join(map(tables.show, list(names)[:10])) or "none"
            hint = did_you_mean(foreign, names)
            raise OptionError(
                f"--mapping names {tables.show(foreign)}, which does not occur: there are {there}.{hint}"
            )


def _finding(name: str, mapping: Mapping[str, str]) -> str:
    """Return the finding that a column or class is, or an empty text for one that is left out."""
    finding = mapping.get(name, name).strip()
    return canonical(finding) or finding


def _from_folder(
    root: Path, options: FolderOptions
) -> tuple[pd.DataFrame, Findings, dict[str, int], Notes]:
    films = paths.find_films(root)
    if not films:
        raise DataError(
            f"{root} holds no film: looked for {', '.join(paths.EXTENSIONS)} there and below."
        )
    rows = pd.DataFrame({"path": pd.Series(films, dtype="string")})
    if not options.class_folders:
        return (
            rows,
            {},
            {},
            ("no labels: give --csv for a table, or --class-folders if folders name the classes",),
        )
    above = [film.split("/")[:-1] for film in films]
    if not all(above):
        raise DataError(
            f"{root} holds films outside class folders, first {tables.show(films[above.index([])])}."
        )
    parts = [
        next((PARTS[name.casefold()] for name in names if name.casefold() in PARTS), None)
        for names in above
    ]
    rows["part"] = np.array(parts, object)
    named = ("folders called train, val or test give the split",) if any(parts) else ()
    labels, notes = _class_labels([names[-1:] for names in above], options, "the class folders")
    return rows, labels, {}, (*named, *notes)


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
            f"--patient-pattern {shown} has {pattern.groups} groups: put round brackets around the patient."
        )
    patients = rows["path"].str.extract(pattern, expand=False)
    missing = (patients.isna() | (patients == "")).to_numpy(bool)
    if missing.any():
        first = tables.show(rows["path"].iloc[int(missing.argmax())])
        raise DataError(
            f"--patient-pattern {shown} finds no patient in {int(missing.sum())} paths, "
            f"first {first}: mend the pattern."
        )
    return patients, ()
