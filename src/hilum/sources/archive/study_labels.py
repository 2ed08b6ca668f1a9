"""Labels of a table that is keyed by accession number, study, image, patient or path, joined with an archive's films.

No line quotes a key: they are what the archive hides. Lines of the table are named instead.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from hilum.arrays import FloatArray
from hilum.counts import counted
from hilum.errors import DataError, OptionError
from hilum.findings import canonical
from hilum.sources import tables
from hilum.sources.archive.films import Film
from hilum.sources.class_names import refuse_all_present
from hilum.sources.folder_labels import (
    Findings,
    refuse_reserved,
    refuse_stated_twice,
    table_labels,
)
from hilum.sources.folder_options import FolderOptions, flag
from hilum.sources.joining import join_rows

TABLE = "the label table"
KEYS: dict[str, Callable[[Film], str]] = {
    "accession": lambda film: film.header.accession,
    "study": lambda film: film.header.study_uid,
    "image": lambda film: film.header.sop_uid,
    "patient": lambda film: film.header.patient_id,
    "path": lambda film: film.file,
}
"""What a row of the table may name."""
OF_STUDIES = ("accession", "study", "patient")
"""Keys whose labels are of a study and reach its frontal films."""
_COLUMNS = {
    "accession": ("accession", "accessionnumber", "accessionno", "accessionid", "accno", "acc"),
    "study": ("study", "studyinstanceuid", "studyuid", "studyid"),
    "image": ("image", "imageid", "sopinstanceuid", "sopuid", "imageuid", "instanceuid", "dicomid"),
    "patient": ("patient", "patientid", "patientnumber", "mrn", "pid", "subjectid"),
    "path": ("path", "file", "filename", "filepath", "dicompath"),
}
"""Usual names of the column with the key, letters alone."""
_FRONTAL = ("PA", "AP", "FRONTAL", None)


def labels_of(
    films: Sequence[Film],
    others: Sequence[Film],
    table: Path,
    key: str,
    key_column: str,
    label_views: str,
    options: FolderOptions,
) -> tuple[Findings, tuple[str, ...]]:
    """Return labels by finding, [N] each, and notes on what found no partner.

    Args:
        films: [N] that enter.
        others: Films that do not, to tell rows of those from rows of none.
        table: A CSV.
        key: One of KEYS.
        key_column: The column with it; by default one with a usual name.
        label_views: frontal or all: the films of a study that its labels reach.
        options: Which columns are labels, and their words.

    Raises:
        OptionError: No column is the key's, or none has labels.
        DataError: The table cannot be read, a key stands twice or is several patients', or no row
            finds a film.
    """
    cells = _cells(table)
    column = _key_column(list(map(str, cells.columns)), key, key_column)
    tables.need_cells(cells[column], TABLE)
    keys = cells[column].str.strip()
    labels, notes = _labels(cells, column, options)
    lines = [tables.line_of(cells, row) for row in range(len(cells))]
    twice = keys.duplicated().to_numpy(bool)
    if options.value_column and not options.join:
        refuse_stated_twice(keys, labels, cells, TABLE)
    elif twice.any() and not options.join:
        such = counted(int(twice.sum()), "such line")
        raise DataError(
            f"{TABLE}, line {lines[int(twice.argmax())]}: its {key} stands in an earlier line too ({such}) "
            ": keep one line each, or join them by --join any, majority or uncertain."
        )
    if twice.any():
        rows, labels, more = join_rows(
            pd.DataFrame({"path": keys}), labels, options.join or "any", TABLE
        )
        first = ~twice
        keys, lines = rows["path"], [line for line, one in zip(lines, first, strict=True) if one]
        notes += more
    refuse_all_present(labels, options, TABLE)
    places = _places(keys.tolist(), [KEYS[key](film) for film in films], key)
    _refuse_several_patients(films, places, lines, key)
    reached = np.full(len(films), -1, np.int64)
    for row, indices in enumerate(places):
        for index in indices:
            if key not in OF_STUDIES or label_views == "all" or films[index].view in _FRONTAL:
                reached[index] = row
    if not (reached >= 0).any():
        raise DataError(_no_match(keys.tolist(), films, key))
    of_others = _places(keys.tolist(), [KEYS[key](film) for film in others], key)
    notes += _counts(places, of_others, lines, reached)
    return {name: _reach(values, reached) for name, values in labels.items()}, notes


def _cells(table: Path) -> pd.DataFrame:
    try:
        return tables.read_csv(table).cells
    except DataError as error:
        # A quote that is never closed is shown with the cell that it opens.
        raise DataError(
            re.sub(
                r", takes in the rest of the file, .*?\. Mend",
                ", is open to the end: mend",
                str(error),
            )
        ) from None


def _key_column(columns: Sequence[str], key: str, named: str) -> str:
    if named:
        if named in columns:
            return named
        raise OptionError(f"--key-column {named!r} is not in {TABLE}: it has {', '.join(columns)}.")
    usual = [name for name in columns if re.sub(r"[^a-z]", "", name.casefold()) in _COLUMNS[key]]
    if len(usual) == 1:
        return usual[0]
    found = "several columns" if usual else "no column"
    raise OptionError(
        f"{TABLE} has {found} whose name says {key}: give --key-column, one of {', '.join(columns)}."
    )


def _labels(
    cells: pd.DataFrame, key: str, options: FolderOptions
) -> tuple[Findings, tuple[str, ...]]:
    """Return labels by finding, those of known findings where no option names columns."""
    notes: tuple[str, ...] = ()
    columns = options.finding_columns
    if not columns and not options.label_column:
        columns = tuple(str(name) for name in cells.columns if canonical(str(name)) and name != key)
        if not columns:
            there = ", ".join(str(name) for name in cells.columns if name != key)
            raise OptionError(
                f"no column of {TABLE} is a known finding: give --finding-columns or --label-column of {there}."
            )
        notes = (f"{TABLE}: labels are read from {', '.join(columns)}",)
    tables.need_columns(cells, columns, TABLE, "--finding-columns")
    for name in ("label_column", "value_column"):
        if column := getattr(options, name):
            tables.need_columns(cells, [column], TABLE, flag(name))
    if key in (*columns, options.label_column, options.value_column):
        raise OptionError(
            f"column {key!r} is the key and cannot be a label: leave it out of the labels."
        )
    named = FolderOptions(**{**vars(options), "finding_columns": columns})
    labels, more = table_labels(cells, named, TABLE)
    refuse_reserved(labels)
    return labels, (*notes, *more)


def _places(keys: Sequence[str], of_films: Sequence[str], key: str) -> list[list[int]]:
    """Return for each row of the table the films that its key names.

    A key is compared as it stands first; where that finds nothing, without what spreadsheets take
    from a number or add to it, if that fits one key of the films alone.
    """
    films: dict[str, list[int]] = defaultdict(list)
    for index, name in enumerate(of_films):
        if name:
            films[name].append(index)
    forms: dict[str, set[str]] = defaultdict(set)
    for name in films:
        for form in _forms(name, key):
            forms[form].add(name)
    claimed: dict[str, int] = defaultdict(int)
    for name in keys:
        for form in _forms(name, key):
            claimed[form] += 1
    places = []
    for name in keys:
        found = films.get(name, [])
        for form in _forms(name, key) if not found else ():
            if len(forms.get(form, ())) == 1 and claimed[form] == 1:
                found = films[next(iter(forms[form]))]
                break
        places.append(found)
    return places


def _forms(name: str, key: str) -> tuple[str, ...]:
    """Return other spellings of a key, the nearest first.

    >>> _forms("00123", "accession"), _forms("123.0", "accession"), _forms("./a/X.dcm", "path")
    (('123',), ('123',), ('a/x.dcm', 'x.dcm', 'x'))
    """
    if key == "path":
        path = re.sub(r"^(?:\./|/)+", "", name.replace("\\", "/")).casefold()
        last = path.rpartition("/")[2]
        bare = re.sub(r"\.(?:dcm|dicom|dic|ima)$", "", last)
        return tuple(dict.fromkeys((path, last, bare)))
    plain = re.sub(r"\.0+$", "", name.casefold()) if key != "study" and key != "image" else name
    return (plain.lstrip("0") or "0",)


def _refuse_several_patients(
    films: Sequence[Film], places: Sequence[Sequence[int]], lines: Sequence[int], key: str
) -> None:
    wrong = []
    for indices, line in zip(places, lines, strict=True):
        headers = [films[index].header for index in indices]
        if len({(film.patient_id, film.patient_id_issuer) for film in headers}) > 1:
            wrong.append(line)
    if wrong:
        such = counted(len(wrong), "such line")
        raise DataError(
            f"{TABLE}, line {wrong[0]}: its {key} is that of films of several patients ({such}): "
            "take these lines out, or name each film by --label-key image."
        )


def _reach(values: FloatArray, reached: np.ndarray) -> FloatArray:
    return np.where(reached >= 0, values[reached], np.nan).astype(np.float32)


def _no_match(keys: Sequence[str], films: Sequence[Film], key: str) -> str:
    fits = {
        other: sum(map(bool, _places(keys, [KEYS[other](film) for film in films], other)))
        for other in KEYS
        if other != key
    }
    best = max(fits, key=lambda other: fits[other])
    hint = (
        f" {fits[best]:,} of its {len(keys):,} lines name a film by --label-key {best}."
        if fits[best]
        else ""
    )
    rounded = sum(bool(re.fullmatch(r"\d(?:[.,]\d+)?[eE]\+?\d+", name)) for name in keys)
    rounded_note = (
        f" {rounded:,} keys were rounded by a spreadsheet, as 1.2E+11: export them as text."
        if rounded
        else ""
    )
    remedy = f"check --label-key and --key-column.{hint}{rounded_note}"
    return f"no line of {TABLE} names a film that enters by its {key}: {remedy}"


def _counts(
    places: Sequence[Sequence[int]],
    of_others: Sequence[Sequence[int]],
    lines: Sequence[int],
    reached: np.ndarray,
) -> tuple[str, ...]:
    found = sum(map(bool, places))
    films = counted(int((reached >= 0).sum()), "film")
    notes = [f"labels of {found:,} of {counted(len(places), 'line')} of {TABLE} reach {films}"]
    left_out = [row for row, found_films in enumerate(places) if not found_films and of_others[row]]
    nowhere = [
        row for row, found_films in enumerate(places) if not found_films and not of_others[row]
    ]
    for rows, whose in ((left_out, "films that were left out"), (nowhere, "no film")):
        if rows:
            are = counted(len(rows), f"line of {TABLE} is", f"lines of {TABLE} are")
            notes.append(f"{are} of {whose}, first line {lines[rows[0]]}")
    named = {index for indices in places for index in indices}
    laterals = sum(index in named and reached[index] < 0 for index in range(len(reached)))
    if laterals:
        have = counted(
            laterals, "lateral of a labelled study has", "laterals of labelled studies have"
        )
        notes.append(f"{have} no labels: `--label-views all` gives those of the study")
    unnamed = len(reached) - len(named)
    if unnamed:
        notes.append(
            f"{counted(unnamed, 'film has', 'films have')} no line in {TABLE} and no labels"
        )
    return tuple(notes)
