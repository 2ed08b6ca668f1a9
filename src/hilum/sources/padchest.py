"""PadChest: one table of 160,861 films, labels as lists in cells, a folder of films for each archive.

Bustos 2020, arXiv 1901.07441. Labels come from Spanish reports, a quarter by physicians and the rest
by a network; what a film's list lacks is absent. There is no official split.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from hilum.arrays import FloatArray
from hilum.catalog import ABSENT, PRESENT, Catalog, film_table
from hilum.counts import counted
from hilum.errors import DataError, OptionError
from hilum.findings import canonical
from hilum.sources import paths, tables, views
from hilum.sources.lists import list_items
from hilum.sources.lookup import look_up_names

TABLE = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
NORMAL = "normal"
NO_FINDINGS = (NORMAL, "unchanged", "exclude", "suboptimal study")
"""Labels that are no finding; a film with none but the last three states nothing."""
NEEDED = ("ImageID", "ImageDir", "StudyID", "PatientID", "Projection", "Labels")


@dataclass(frozen=True)
class PadChestOptions:
    """PadChest."""

    table: str = ""
    """File name of the label table, .csv or .csv.gz; by default the release's own."""


Options = PadChestOptions


def read(root: Path, options: PadChestOptions) -> Catalog:
    """Read the table and list the image folders.

    Raises:
        OptionError: The table named by the option leaves the root.
        DataError: The table is missing or not the set's own; one line says why.
    """
    path = _table_path(root, options.table)
    cells, skipped, row_notes = tables.read_csv(path)
    tables.need_columns(cells, NEEDED, path.name)
    for column in ("ImageID", "StudyID", "PatientID"):
        tables.need_cells(cells[column], path.name)
    names = cells["ImageID"].str.strip()
    paths.refuse_twice(names, path.name)
    labels, label_notes = _labels(cells["Labels"], path.name)
    rows, notes = _describe(cells, path.name)
    numbered = [
        str(folder)
        for folder in cells["ImageDir"].dropna().str.strip().unique()
        if folder and "/" not in folder and ".." not in folder
    ]
    folders = [*numbered, *(f"images/{folder}" for folder in numbered), "images", ""]
    where = look_up_names(root, names.tolist(), folders)
    every = pd.concat([rows.assign(path=where.paths), labels], axis=1)
    findings = tuple(map(str, labels.columns))
    table = film_table(every[where.there], findings)
    rows_read = len(cells) + sum(skipped.values())
    all_notes = (*row_notes, *notes, *label_notes, *where.notes)
    excluded = skipped | where.excluded
    return Catalog("padchest", root, findings, table, rows_read, excluded, all_notes, where.missing)


def _table_path(root: Path, name: str) -> Path:
    if name and not (root / name).resolve().is_relative_to(root.resolve()):
        raise OptionError(
            f"table {tables.show(name)} leaves the root {root}: put the table below it."
        )
    for candidate in (name,) if name else (TABLE, f"{TABLE}.gz"):
        if (root / candidate).is_file():
            return root / candidate
    others = sorted(entry.name for entry in root.glob("*.csv*"))
    hint = f" Give --table if it is {', '.join(map(tables.show, others[:3]))}." if others else ""
    raise DataError(f"{root} is no PadChest folder: looked for {name or TABLE} there.{hint}")


def _describe(cells: pd.DataFrame, name: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return patient, study, view_position, sex and age of each row, and notes.

    A few of PadChest's StudyIDs stand for two patients, so a study is named by both.
    """
    patient = cells["PatientID"].str.strip()
    positions, notes = views.views_of(cells["Projection"])
    rows = pd.DataFrame({"patient": patient, "study": patient + "/" + cells["StudyID"].str.strip()})
    rows["view_position"] = positions
    if "PatientSex_DICOM" in cells:
        rows["sex"], more = tables.described(cells["PatientSex_DICOM"], tables.SEXES, name)
        notes += more
    if {"StudyDate_DICOM", "PatientBirth"} <= set(cells):
        rows["age"] = _years(cells["StudyDate_DICOM"].str[:4], cells["PatientBirth"])
    return rows, notes


def _years(taken: pd.Series, birth_year: pd.Series) -> npt.NDArray[np.float64]:
    """Return ages in years [N] from the years of film and birth, NaN where one is missing or none can be."""
    years = pd.to_numeric(taken, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    years = years - pd.to_numeric(birth_year, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    return np.where((years >= 0) & (years <= tables.OLDEST), years, np.nan)


def _labels(cells: pd.Series, name: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return a column a finding, [N, F], and a note on films that state nothing."""
    codes, lists = tables.parse_cells(cells, _items, name, "a list of labels, as in ['normal']")
    found = sorted({word for words in lists for word in words if word not in NO_FINDINGS})
    if not found:
        raise DataError(f"{name} names no finding in column {tables.show(cells.name)}.")
    place = {word: column for column, word in enumerate(found)}
    states = np.full((len(lists) + 1, len(found)), np.nan, np.float32)  # the last: empty cells
    for row, words in enumerate(lists):
        named = [place[word] for word in words if word in place]
        if named or NORMAL in words:
            states[row] = ABSENT
            states[row, named] = PRESENT
    labels: FloatArray = states[codes]
    nothing = int(np.isnan(labels[:, 0]).sum())
    note = f"{counted(nothing, 'film states', 'films state')} no finding: empty, or only {', '.join(NO_FINDINGS[1:])}"
    return pd.DataFrame(labels, columns=found), (note,) if nothing else ()


def _items(text: str) -> list[str] | None:
    """Return the labels of a cell in their one spelling, None where it is no list."""
    try:
        items = list_items(text)
    except ValueError:
        return None
    if items is None:
        return None
    return [canonical(item) or item.strip() for item in items if item.strip()]
