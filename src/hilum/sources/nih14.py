"""NIH ChestX-ray14 in its own layout: one label table, two official lists, images in one or twelve folders.

Findings are mined from reports (Wang 2017, arXiv 1705.02315): each film has a list of findings, and
what it does not list is absent. "No Finding" states all 14 as absent and is no column.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from hilum.arrays import FloatArray
from hilum.catalog import Catalog, film_table
from hilum.counts import counted
from hilum.errors import DataError, OptionError, did_you_mean
from hilum.findings import NIH14, canonical
from hilum.sources import paths, tables, views
from hilum.sources.lookup import fold, look_up_names, stem

TABLES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")
LISTS = {
    "train": ("train_val_list.txt", "train_val_list_NIH.txt"),
    "test": ("test_list.txt", "test_list_NIH.txt"),
}
"""Names of the official lists, as the paper's and as the box gives them now."""
NO_FINDING = "No Finding"
_NIH_NAME = re.compile(r"\d{8}_\d{3}")
_SEX_COLUMNS = ("Patient Gender", "Patient Sex")


@dataclass(frozen=True)
class NIH14Options:
    """NIH ChestX-ray14."""

    table: str = ""
    """File name of the label table; by default Data_Entry_2017_v2020.csv, else Data_Entry_2017.csv."""
    without_official_split: bool = False
    """Read no official list: films of the official test may then be trained on."""


Options = NIH14Options


def read(root: Path, options: NIH14Options) -> Catalog:
    """Read the label table and the official lists, and list the image folders.

    Films of the official test list are the split ``test``, those of the other list ``train``.

    Raises:
        OptionError: The table named by the option leaves the root.
        DataError: The table is missing or not the set's own; one line says why.
    """
    path = _table_path(root, options.table)
    rows, skipped, row_notes = tables.read_csv(path)
    sex = next((name for name in _SEX_COLUMNS if name in rows), _SEX_COLUMNS[0])
    needed = (
        "Image Index",
        "Finding Labels",
        "Follow-up #",
        "Patient ID",
        "Patient Age",
        sex,
        "View Position",
    )
    tables.need_columns(rows, needed, path.name)
    for column in ("Image Index", "Finding Labels", "Follow-up #", "Patient ID"):
        tables.need_cells(rows[column], path.name)
    names = rows["Image Index"].str.strip()
    _refuse_folders(names, path.name)
    paths.refuse_twice(names, path.name)
    films, notes = _describe(rows, sex, path.name)
    films["part"], part_notes = _parts(root, names, options.without_official_split)
    labels = pd.DataFrame(_labels(rows["Finding Labels"], path.name), columns=list(NIH14))
    where = look_up_names(root, names.tolist(), _image_folders(root))
    table = film_table(
        pd.concat([films.assign(path=where.paths), labels], axis=1)[where.there], NIH14
    )
    rows_read = len(rows) + sum(skipped.values())
    notes = (*row_notes, *notes, *part_notes, *where.notes)
    excluded = skipped | where.excluded
    return Catalog("nih14", root, NIH14, table, rows_read, excluded, notes, where.missing)


def _table_path(root: Path, name: str) -> Path:
    if name and not (root / name).resolve().is_relative_to(root.resolve()):
        raise OptionError(
            f"table {tables.show(name)} leaves the root {root}: put the table below it."
        )
    for candidate in (name,) if name else TABLES:
        if (root / candidate).is_file():
            return root / candidate
    looked = name or " or ".join(TABLES)
    below = next((table.parent.name for table in sorted(root.glob("*/Data_Entry_2017*.csv"))), None)
    hint = f" Did you mean {str(root / below)!r}?" if below else ""
    raise DataError(f"{root} is no NIH ChestX-ray14 folder: looked for {looked} there.{hint}")


def _image_folders(root: Path) -> list[str]:
    """Folders that may hold the films: one archive's folder, twelve, or the root."""
    numbered = sorted(entry.name for entry in root.glob("images_*") if entry.is_dir())
    return ["images", *(f"{name}/images" for name in numbered), *numbered, ""]


def _refuse_folders(names: pd.Series, name: str) -> None:
    wrong = names.str.contains(r"[/\\]|^\.\.?$", regex=True).to_numpy(bool)
    if wrong.any():
        row = int(wrong.argmax())
        value = tables.show(names.iloc[row])
        raise DataError(
            f"{name}, line {tables.line_of(names, row)}: path {value} leaves the root or names a folder: "
            "'Image Index' holds file names only."
        )


def _describe(rows: pd.DataFrame, sex: str, name: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return patient, study, view_position, sex and age of each row, and notes."""
    patient, visit = rows["Patient ID"].str.strip(), rows["Follow-up #"].str.strip()
    positions, view_notes = views.views_of(rows["View Position"])
    sexes, sex_notes = tables.described(rows[sex], tables.SEXES, name)
    years, age_notes = tables.ages(rows["Patient Age"], name)
    films = pd.DataFrame({"patient": patient, "study": patient + "-" + visit})
    films = films.assign(view_position=positions, sex=sexes, age=years)
    return films, (*view_notes, *sex_notes, *age_notes)


def _labels(cells: pd.Series, name: str) -> FloatArray:
    """Return labels [N, F], 1 or 0."""
    codes, values = tables.parse_cells(
        cells, lambda text: _states(text, name), name, "a list of findings"
    )
    return np.stack(values)[codes]


def _states(text: str, name: str) -> FloatArray:
    """Return one cell's labels, [F]."""
    states = np.zeros(len(NIH14), np.float32)
    for word in text.split("|"):
        if word.strip() == NO_FINDING:
            continue
        finding = canonical(word)
        if finding not in NIH14:
            allowed = ", ".join((*NIH14, NO_FINDING))
            hint = did_you_mean(word, (*NIH14, NO_FINDING))
            raise DataError(
                f"{name}: unknown finding {tables.show(word)}: allowed are {allowed}.{hint}"
            )
        states[NIH14.index(finding)] = 1
    return states


def _parts(
    root: Path, names: pd.Series, without: bool
) -> tuple[npt.NDArray[np.object_], tuple[str, ...]]:
    """Return each row's split by the official lists, null where neither names it, and notes.

    Raises:
        DataError: No list of the official test is there, a list is of other films, or a film is in
            both.
    """
    parts = np.full(len(names), None, object)
    if without:
        return parts, ("official lists are not read: films of the official test may be trained on",)
    known = {_bare(name): name for name in names}
    lists, notes, test_listed = {}, [], False
    for part, files in LISTS.items():
        there = [file for file in files if (root / file).is_file()]
        listed = _read_list(root / there[0]) if there else []
        lists[part] = {known[bare] for name in listed if (bare := _bare(name)) in known}
        if listed and not lists[part] and not _NIH_NAME.match(_bare(listed[0])):
            raise DataError(
                f"{there[0]} names no film of the label table, first {tables.show(listed[0])}: take the set's own "
                "list, or give --without-official-split."
            )
        if lost := len(set(listed)) - len(lists[part]):
            notes.append(
                f"{counted(lost, 'name')} of {there[0]} {'is' if lost == 1 else 'are'} not in the label table"
            )
        notes += [f"{file} is not read: {there[0]} is there" for file in there[1:]]
        test_listed = bool(listed)  # the last one
        if not listed:
            notes.append(f"official list {files[0]} is not there")
    if not test_listed:
        near = sorted(path.name for path in root.glob("*list*.txt"))
        seen = f" There is {', '.join(map(tables.show, near[:4]))}." if near else ""
        raise DataError(
            f"{root} has no list of the official test films, {' or '.join(LISTS['test'])}, so they would be trained "
            f"on: put it there, or give --without-official-split.{seen}"
        )
    both = lists["train"] & lists["test"]
    if both:
        raise DataError(
            f"{counted(len(both), 'film is', 'films are')} in both official lists, first "
            f"{tables.show(min(both))}: keep one."
        )
    for part, named in lists.items():
        parts[names.isin(named).to_numpy(bool)] = part
    unlisted = pd.isna(parts)
    if (
        lists["train"] and unlisted.any()
    ):  # of the test, if that list was cut, and would be trained on
        raise DataError(
            f"{counted(int(unlisted.sum()), 'film is', 'films are')} in no official list, first "
            f"{tables.show(str(names[unlisted].iloc[0]))}: are both lists whole? Take those films out "
            "of the table, or give --without-official-split."
        )
    return parts, tuple(notes)


def _bare(name: str) -> str:
    """Return a film's name without folders and ending, in small letters."""
    return fold(stem(name.replace("\\", "/").rpartition("/")[2]))


def _read_list(path: Path) -> list[str]:
    try:
        return re.findall(r"[^\s,;]+", path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no UTF-8 text: it must hold one file name a line.") from error
