"""CheXpert in its own layout: train.csv and valid.csv (and the official test's table), uncertain labels, laterals.

Cells are empty (not mentioned), 1, 0 or -1 (uncertain) (Irvin 2019, arXiv 1901.07031). The official
test comes with CheXlocalize (Saporta 2022, doi 10.1038/s42256-022-00536-x): its table lacks sex,
age and view; what it lacks is null.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from hilum.catalog import Catalog, film_table
from hilum.counts import counted
from hilum.errors import DataError, OptionError, did_you_mean
from hilum.files import canonical_json, read_json
from hilum.findings import CHEXPERT, SYNONYMS, canonical
from hilum.options import take_fields
from hilum.sources import paths, tables, views
from hilum.sources.lookup import look_up
from hilum.sources.view_words import view_position

TABLES = {
    "train": ("train.csv",),
    "val": ("valid.csv", "val.csv", "val_labels.csv"),
    "test": ("test.csv", "test_labels.csv"),
}
"""Names of each split's table in the releases."""

PHANTOMS = "phantoms.json"
"""File of a folder of phantoms, with the options that drew them."""

OTHER_FOLDER = {"valid": "val", "val": "valid"}
"""CheXlocalize's tables name films in ``valid`` that are in ``val``."""

STUDY = "Study"
"""Column of tables that label studies: single readers, their majority or a labeler on the official
test."""

READERS = "groundtruth.csv"
"""The majority's labels: the file that marks a folder of such tables (cheXpert-test-set-labels)."""

PATH, SEX, AGE, LATERALITY, PROJECTION = "Path", "Sex", "Age", "Frontal/Lateral", "AP/PA"
_COLUMNS = (PATH, SEX, AGE, LATERALITY, PROJECTION, *CHEXPERT)
_BATCH = re.compile(r"CheXpert.*batch[ _-]*\d", re.IGNORECASE)
_FORM = r"(?:^|/)(?P<patient>patient\d+)/(?P<study>study\d+)/[^/]+$"


@dataclass(frozen=True)
class CheXpertOptions:
    """CheXpert, or a phantom data set."""

    dataset: str = ""
    """Name of the data set; by default chexpert, or phantoms with a hash of their options."""
    ignore_columns: tuple[str, ...] = ()
    """Columns of the tables that CheXpert's own lack and that are not read."""

    def __post_init__(self) -> None:
        """Take a single value for a list."""
        take_fields(self)


Options = CheXpertOptions


def read(root: Path, options: CheXpertOptions) -> Catalog:
    """Read the tables and check which films exist.

    ``valid.csv`` is the split ``test``, unless the official test's table is there too: then it is
    ``val``.

    Raises:
        OptionError: The data set's name has no letter.
        DataError: No table is there, or one is not the set's own; one line says why.
    """
    read_tables, unread = _tables(root)
    if not read_tables:
        raise DataError(_wrong_root(root))
    name = paths.dataset_name(options.dataset) if options.dataset else _usual_name(root)
    if "test" not in read_tables and "val" in read_tables:
        read_tables["test"] = read_tables.pop("val")
    cells = {part: tables.read_csv(path) for part, path in read_tables.items()}
    _check_ignored(options.ignore_columns, [table.cells for table in cells.values()])
    parts, notes = zip(
        *(
            _read_table(root, cells[part], path.name, part, options.ignore_columns)
            for part, path in read_tables.items()
        ),
        strict=True,
    )
    rows = pd.concat(parts, ignore_index=True)
    paths.refuse_twice(rows["path"], " and ".join(path.name for path in read_tables.values()))
    films = look_up(root, rows["path"].tolist())
    rows["path"] = films.paths
    excluded = dict(sum((Counter(table.excluded) for table in cells.values()), Counter[str]()))
    rows_read = len(rows) + sum(excluded.values())
    excluded |= films.excluded
    findings = tuple(name for name in CHEXPERT if name in rows)
    table = film_table(rows if films.there.all() else rows[films.there], findings)
    all_notes = (*unread, *(note for of_table in notes for note in of_table), *films.notes)
    return Catalog(name, root, findings, table, rows_read, excluded, all_notes, films.missing)


def _usual_name(root: Path) -> str:
    """Return the set's default name; phantom sets have equal paths, so each gets a name of its own."""
    record = root / PHANTOMS
    if not record.is_file():
        return "chexpert"
    try:
        options = read_json(record)["options"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{record} is damaged: draw the phantoms again, or name the data set by --dataset."
        ) from error
    return f"phantoms-{hashlib.sha256(canonical_json(options)).hexdigest()[:8]}"


def _tables(root: Path) -> tuple[dict[str, Path], tuple[str, ...]]:
    """Return each split's table, and notes on tables that are not read beside another of the same split."""
    chosen: dict[str, Path] = {}
    folders = [root, *_batches(root)]
    notes: list[str] = []
    for part, names in TABLES.items():
        places = [folder / name for name in names for folder in folders]
        there = [path for path in places if path.is_file()]
        if there:
            chosen[part] = there[0]
            notes += [
                f"{path.name} is not read: {there[0].name} is there for the same split"
                for path in there[1:]
            ]
    return chosen, tuple(notes)


def _wrong_root(root: Path) -> str:
    looked = ", ".join(names[0] for names in TABLES.values())
    line = f"{root} is no CheXpert folder: looked for {looked} there."
    below = (
        path.parent
        for names in TABLES.values()
        for name in names
        for path in sorted(root.glob(f"*/{name}"))
    )
    if folder := next(below, None):
        return f"{line} Did you mean {str(folder)!r}?"
    if (root / READERS).is_file():
        return f"{line} {_studies_only(READERS)}"
    others = ", ".join(
        sorted(path.name for path in root.glob("train*.csv"))[:3]
    )  # of other labelers
    return f"{line} It has {others}: copy the one that you want to train.csv." if others else line


def _studies_only(name: str) -> str:
    return f"{name} labels studies, not films: use CheXlocalize's test_labels.csv and its films."


def _check_ignored(ignored: Sequence[str], every: Sequence[pd.DataFrame]) -> None:
    there = list(dict.fromkeys(str(column) for cells in every for column in cells.columns))
    for column in ignored:
        if column not in there:
            raise OptionError(
                f"--ignore-columns names {tables.show(column)}, which no table has.{did_you_mean(column, there)}"
            )
        if column == PATH:
            raise OptionError(f"--ignore-columns names {PATH!r}, without which no film is found.")


def _read_table(
    root: Path, table: tables.Table, name: str, part: str, ignored: Sequence[str]
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return one table's rows with the catalogue's columns, and notes."""
    cells = table.cells.drop(columns=[column for column in ignored if column in table.cells])
    left_out = [column for column in table.cells if column not in cells]
    notes = (
        *table.notes,
        *tables.nameless_note(cells, name),
        *(
            (f"{name}: columns passed over: {', '.join(map(tables.show, left_out))}",)
            if left_out
            else ()
        ),
    )
    cells = _renamed(cells, name)
    tables.need_columns(cells, (PATH,), name)
    tables.need_cells(cells[PATH], name)
    named, absolute_notes = paths.below_root(cells[PATH], root)
    rows, batch_notes = _paths(root, named, name)
    labels = {
        finding: tables.numbers(
            *tables.parse_cells(cells[finding], tables.label, name, "a label: 1, 0, -1 or empty")
        )
        for finding in CHEXPERT
        if finding in cells
    }
    if not labels:
        raise DataError(f"{name} has no column of a finding: {', '.join(CHEXPERT)}.")
    described, described_notes = _describe(cells, name)
    return rows.assign(part=part, **described, **labels), (
        *notes, *absolute_notes, *batch_notes, *described_notes,
    )  # fmt: skip


def _renamed(cells: pd.DataFrame, name: str) -> pd.DataFrame:
    """Rename columns to the set's spelling; further ones are refused, since a misspelt finding would be lost.

    Raises:
        DataError: A column that CheXpert's tables do not have; the line says whether it is near to
            one of theirs, or names the option that leaves it out.
    """
    if STUDY in cells and PATH not in cells:
        raise DataError(
            f"{name} has a column {STUDY!r} and none called {PATH!r}. {_studies_only(name)}"
        )
    known = {column.casefold(): column for column in _COLUMNS}
    names: dict[str, str] = {}
    further: list[str] = []
    for column in map(str, cells.columns):
        if tables.is_nameless(column):
            continue
        spelt = known.get(column.casefold()) or canonical(column)
        if spelt not in _COLUMNS:
            further.append(column)
            continue
        if spelt in names.values():
            raise DataError(
                f"{name} has two columns for {spelt}, the second {tables.show(column)}: keep one of them."
            )
        names[column] = spelt
    lacking = [column for column in _COLUMNS if column not in names.values()]
    for column in further:
        if near := tables.near_miss(column, [*_COLUMNS, *(key for key in SYNONYMS)]):
            meant = canonical(near) or near
            raise DataError(
                f"{name} has the unknown column {tables.show(column)}. Did you mean {meant!r}? Rename it in the table, "
                f"or leave it out by --ignore-columns {shlex.quote(column)[:80]} if it is no {meant}."
            )
    if further:
        hint = did_you_mean(PATH, further) if PATH in lacking else ""
        listed, given = (
            ", ".join(map(tables.show, further[:8])),
            " ".join(shlex.quote(column) for column in further),
        )
        raise DataError(
            f"{name} has {counted(len(further), 'column')} that CheXpert's tables lack: {listed}. A finding is one of "
            f"{', '.join(CHEXPERT)}; leave others out by --ignore-columns {given}.{hint}"
        )
    return cells.rename(columns=names)


def _paths(root: Path, cells: pd.Series, name: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return path, patient and study of each row, and notes.

    Paths begin with the release's folder (``CheXpert-v1.0-small/train/…``), which is ROOT itself
    whatever its name now.
    """
    cleaned = paths.clean_paths(cells, name)
    # By Arrow, in a tenth of pandas' time for 223,414 rows.
    groups = pc.extract_regex(pa.array(cleaned, pa.string()), _FORM)
    patient, study = (
        tables.as_text(pc.struct_field(groups, group)) for group in ("patient", "study")
    )
    wrong = patient.isna().to_numpy(bool)
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(
            f"{name}, line {tables.line_of(cells, row)}: path {tables.show(cells.iloc[row])} is not of CheXpert's form "
            "…/patient00001/study1/view1_frontal.jpg."
        )
    for first in _missing_folders(root, cleaned):
        cleaned = cleaned.where(~cleaned.str.startswith(first), cleaned.str.slice(len(first)))
    for folder, other in OTHER_FOLDER.items():
        if not (root / folder).is_dir() and (root / other).is_dir():
            cleaned = cleaned.str.replace(f"^{folder}/", f"{other}/", regex=True)
    cleaned, notes = _in_batches(root, cleaned, patient)
    return pd.DataFrame(
        {"path": cleaned, "patient": patient, "study": patient + "/" + study}
    ), notes


def _in_batches(
    root: Path, cleaned: pd.Series, patients: pd.Series
) -> tuple[pd.Series, tuple[str, ...]]:
    """Return the paths with the download's batch folder in front where it alone has that patient, and a note.

    The full release comes as ``CheXpert-v1.0 batch 2 (train 1)/patient00001/…``, beside a table that says
    ``CheXpert-v1.0/train/patient00001/…``.
    """
    places: dict[tuple[str, str], list[str]] = {}
    for batch in (folder.name for folder in _batches(root)):
        for below, part in (("", "train"), ("train/", "train"), ("valid/", "valid")):
            if (root / batch / below).is_dir():
                for entry in os.scandir(root / batch / below):
                    places.setdefault((part, entry.name), []).append(f"{batch}/{below}")
    if not places:
        return cleaned, ()
    parts = cleaned.str.extract(r"^(train|valid)/")[0]
    fronts = [
        found[0] if len(found := places.get((part, who), [])) == 1 else ""
        for part, who in zip(parts.fillna("").tolist(), patients.tolist(), strict=True)
    ]
    moved = pd.Series(fronts, cleaned.index, "string")
    in_batch = (moved != "").to_numpy(bool)
    for part in ("train", "valid"):
        if (root / part).is_dir():
            in_batch &= (parts.fillna("") != part).to_numpy(bool)
    if not in_batch.any():
        return cleaned, ()
    rest = cleaned.str.replace(r"^(?:train|valid)/", "", regex=True)
    note = (
        f"{counted(int(in_batch.sum()), 'film lies', 'films lie')} in the download's batch "
        f"folders, as in {str(moved[in_batch].iloc[0])!r}"
    )
    return cleaned.where(~in_batch, moved + rest), (note,)


def _batches(root: Path) -> list[Path]:
    return sorted(entry for entry in root.iterdir() if _BATCH.search(entry.name) and entry.is_dir())


def _missing_folders(root: Path, cleaned: pd.Series) -> list[str]:
    """Return the first folders, as ``CheXpert-v1.0-small/``, that are not below the root."""
    firsts = pc.struct_field(
        pc.extract_regex(pa.array(cleaned, pa.string()), r"^(?P<first>[^/]+/)"), "first"
    )
    return [
        first
        for first in map(str, pc.unique(firsts).to_pylist())
        if not re.match(r"(patient\d+|valid|val)/$", first) and not (root / first).is_dir()
    ]


def _describe(
    cells: pd.DataFrame, name: str
) -> tuple[dict[str, npt.NDArray[np.generic]], tuple[str, ...]]:
    """Return view_position, sex and age where the table has them, and notes."""
    columns: dict[str, npt.NDArray[np.generic]] = {}
    notes: tuple[str, ...] = ()
    if SEX in cells:
        columns["sex"], notes = tables.described(cells[SEX], tables.SEXES, name)
    if AGE in cells:
        columns["age"], age_notes = tables.ages(cells[AGE], name)
        notes += age_notes
    positions, view_notes = _views(cells)
    return {**columns, "view_position": positions}, (*notes, *view_notes)


def _views(cells: pd.DataFrame) -> tuple[npt.NDArray[np.object_], tuple[str, ...]]:
    """Return each film's view position: laterals by their own column or file name, frontals by the projection.

    A film that is called frontal by one column and LL by the other (17 of CheXpert's) cannot be told.
    """
    sides = (
        cells[LATERALITY]
        if LATERALITY in cells
        else cells[PATH].str.extract(r"_([A-Za-z]+)\.[A-Za-z]+$")[0].rename(PATH)
    )
    projections = cells.get(PROJECTION, pd.Series(None, cells.index, dtype="string"))
    stated = (projections.notna() & ~projections.str.lower().isin(tables.UNSTATED)).to_numpy(bool)
    side, projection = _each(sides), _each(projections)
    positions = projection.copy()
    positions[projection == "LATERAL"] = None
    positions[~stated] = side[~stated]
    positions[(side == "LATERAL") | (pd.isna(side) & (projection == "LATERAL"))] = "LATERAL"
    return positions, views.untold(cells.get(PROJECTION, sides), pd.isna(positions))


def _each(cells: pd.Series) -> npt.NDArray[np.object_]:
    """Return each cell's view position, [N]."""
    codes, words = pd.factorize(cells)
    known = [view_position(str(word)) for word in words]
    return np.array([*known, None], object)[codes]
