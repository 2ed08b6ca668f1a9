"""MIMIC-CXR-JPG: tables of films, splits and studies' labels, joined; films in a folder for each study.

Johnson 2019, arXiv 1901.07042. Labels are those of CheXpert's or NegBio's labeler, one row a study,
with CheXpert's four states. The real tables may not be passed on: this was written to their published
description, and tested on tables that look like it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from hilum.catalog import Catalog, film_table
from hilum.counts import counted
from hilum.errors import DataError, choose
from hilum.findings import CHEXPERT, canonical
from hilum.sources import paths, tables, views
from hilum.sources.lookup import look_up

LABELERS = {"chexpert": "chexpert", "negbio": "negbio"}
SPLITS = {"train": "train", "validate": "val", "test": "test"}
KEYS = ("subject_id", "study_id")


@dataclass(frozen=True)
class MIMICOptions:
    """MIMIC-CXR-JPG."""

    labeler: str = "chexpert"
    """Whose labels: chexpert or negbio."""
    without_official_split: bool = False
    """Do not read the official split: its test films may then be trained on."""


Options = MIMICOptions


def read(root: Path, options: MIMICOptions) -> Catalog:
    """Join the tables by film and study, and check which films exist.

    Raises:
        OptionError: There is no such labeler.
        DataError: A table is missing or not the set's own, or two contradict each other.
    """
    labeler = choose(options.labeler, LABELERS, "labeler")
    films, skipped, notes = tables.read_csv(_table(root, "metadata"))
    tables.need_columns(films, ("dicom_id", *KEYS), "metadata")
    for column in ("dicom_id", *KEYS):
        tables.need_cells(films[column], "metadata")
        films[column] = films[column].str.strip()
    _refuse_forms(films, "metadata")
    paths.refuse_twice(films["dicom_id"], "metadata")
    patient, study = "p" + films["subject_id"], "s" + films["study_id"]
    front = "" if not (root / "files").is_dir() and any(root.glob("p1[0-9]")) else "files/"
    named = front + patient.str[:3] + "/" + patient + "/" + study + "/" + films["dicom_id"] + ".jpg"
    rows = pd.DataFrame({"path": named, "patient": patient, "study": patient + "/" + study})
    if "ViewPosition" in films:
        rows["view_position"], view_notes = views.views_of(films["ViewPosition"])
        notes += view_notes
    if options.without_official_split:
        notes += ("the official split is not read: its test films may be trained on",)
    else:
        rows["part"] = _parts(root, films)
    labels, label_notes = _labels(root, labeler, films)
    where = look_up(root, rows["path"].tolist())
    rows["path"] = where.paths
    findings = tuple(map(str, labels.columns))
    table = film_table(pd.concat([rows, labels], axis=1)[where.there], findings)
    rows_read = len(films) + sum(skipped.values())
    every = (*notes, *label_notes, *where.notes)
    excluded = skipped | where.excluded
    return Catalog("mimic", root, findings, table, rows_read, excluded, every, where.missing)


def _table(root: Path, kind: str, remedy: str = "") -> Path:
    """Return the table of a kind, whatever the release's number, packed or not."""
    form = re.compile(rf"mimic-cxr-\d+\.\d+\.\d+-{kind}\.csv(\.gz)?")
    there = sorted(entry for entry in root.iterdir() if form.fullmatch(entry.name))
    unpacked = [entry for entry in there if entry.suffix != ".gz"] or there
    if not unpacked:
        raise DataError(
            f"{root} is no whole MIMIC-CXR-JPG folder: looked for mimic-cxr-2.0.0-{kind}.csv or .csv.gz there{remedy}."
        )
    if len(unpacked) > 1:
        names = ", ".join(entry.name for entry in unpacked)
        raise DataError(f"{root} holds several tables of one kind ({names}): keep one.")
    return unpacked[0]


def _refuse_forms(cells: pd.DataFrame, name: str) -> None:
    """Refuse numbers of patients, studies and films that the set does not write so, such as 10000032.0.

    Raises:
        DataError: Names the first.
    """
    for column, form in (("dicom_id", r"[\w.-]+"), ("subject_id", r"\d+"), ("study_id", r"\d+")):
        if column not in cells:
            continue
        wrong = ~cells[column].str.strip().str.fullmatch(form).fillna(False).to_numpy(bool)
        if wrong.any():
            row = int(wrong.argmax())
            raise DataError(
                f"{name}, line {tables.line_of(cells, row)}: {tables.show(cells[column].iloc[row])} in column "
                f"{column!r} is not of MIMIC-CXR's form, as in 10000032 or 02aa804e-bde0afdd: take the release's own "
                "table."
            )


def _parts(root: Path, films: pd.DataFrame) -> pd.Series:
    """Return each film's official split.

    Raises:
        DataError: There is no table of it, or it lacks a film.
    """
    path = _table(root, "split", ", or give --without-official-split")
    cells = tables.read_csv(path).cells
    tables.need_columns(cells, ("dicom_id", "split"), path.name)
    names = cells["dicom_id"].str.strip()
    paths.refuse_twice(names, path.name)
    codes, values = tables.parse_cells(
        cells["split"],
        lambda text: SPLITS.get(text.casefold()),
        path.name,
        "train, validate or test",
    )
    split = pd.Series(tables.texts(codes, values), names.to_numpy(object))
    parts = films["dicom_id"].map(split)
    if parts.isna().any():
        first = films["dicom_id"][parts.isna()].iloc[0]
        raise DataError(
            f"{path.name} says nothing of {counted(int(parts.isna().sum()), 'film')} of the "
            f"metadata, first {tables.show(first)}, "
            "so they could be test films: take the release's own tables, or give --without-official-split."
        )
    return parts


def _labels(root: Path, labeler: str, films: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return each film's labels, those of its study, [N, F], and a note on films whose study has none.

    Raises:
        DataError: The table is not the labeler's, has a study twice, or gives it another patient.
    """
    path = _table(root, labeler)
    cells = tables.read_csv(path).cells
    tables.need_columns(cells, KEYS, path.name)
    _refuse_forms(cells, path.name)
    columns = {
        found: str(name) for name in cells.columns if (found := canonical(str(name))) in CHEXPERT
    }
    further = [name for name in cells.columns if name not in (*KEYS, *columns.values())]
    if further or not columns:
        shown = f"the unknown column {tables.show(further[0])}" if further else "no finding"
        raise DataError(f"{path.name} has {shown}: a finding is one of {', '.join(CHEXPERT)}.")
    studies = cells["study_id"].str.strip()
    paths.refuse_twice(studies, path.name)
    place = pd.Series(np.arange(len(studies)), studies.to_numpy(object))
    rows = films["study_id"].map(place).to_numpy(np.float64, na_value=np.nan)
    known = ~np.isnan(rows)
    if not known.any():
        raise DataError(
            f"{path.name} has labels of no study of the metadata: take tables of one release."
        )
    theirs = cells["subject_id"].str.strip().to_numpy(object)[rows[known].astype(int)]
    other = theirs != films["subject_id"].to_numpy(object)[known]
    if other.any():
        study = films["study_id"][known].iloc[int(other.argmax())]
        raise DataError(
            f"{path.name} and the metadata give study {tables.show(study)} to two patients: take tables of one release."
        )
    labels = {}
    for finding in CHEXPERT:
        if finding in columns:
            parsed = tables.parse_cells(
                cells[columns[finding]], tables.label, path.name, "a label: 1, 0, -1 or empty"
            )
            labels[finding] = np.full(len(films), np.nan, np.float32)
            labels[finding][known] = tables.numbers(*parsed)[rows[known].astype(int)]
    lost = int((~known).sum())
    note = f"{counted(lost, 'film is', 'films are')} of studies that {path.name} has no labels of"
    return pd.DataFrame(labels), (note,) if lost else ()
