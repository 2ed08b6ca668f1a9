"""VinDr-CXR: 18,000 DICOM films from two hospitals, each read by three radiologists who drew boxes.

Nguyen 2022, doi 10.1038/s41597-022-01498-w. Every training film has the readings of three of
seventeen radiologists; the test films of PhysioNet's release have those of five, made one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from hilum.arrays import FloatArray
from hilum.catalog import ABSENT, PRESENT, Catalog, film_table
from hilum.counts import counted
from hilum.errors import DataError, choose
from hilum.findings import canonical
from hilum.sources import tables
from hilum.sources.archive.described_films import described_films
from hilum.sources.joining import JOINED, join_rows
from hilum.sources.lookup import look_up_names

TRAIN = ("train.csv", "annotations_train.csv", "annotations/annotations_train.csv")
TEST = ("annotations_test.csv", "annotations/annotations_test.csv")
FOLDERS = ("train", "test", "")
NO_FINDING = "no finding"
READERS = 3
"""Radiologists who read each training film."""


@dataclass(frozen=True)
class VinDrOptions:
    """VinDr-CXR."""

    join: Literal["majority", "any", "uncertain"] = "majority"
    """How the three readers make one label: majority (present where two of them name it), any
    (present where one does) or uncertain (where they differ)."""


Options = VinDrOptions


def read(root: Path, options: VinDrOptions) -> Catalog:
    """Read the tables of readers, and each film's header.

    Raises:
        OptionError: There is no such way to join.
        DataError: A table is missing or not the set's own; one line says why.
    """
    choose(options.join, dict.fromkeys(("majority", "any", "uncertain")), "--join")
    readings, skipped, notes = _readings(root)
    read_rows = len(readings) + sum(skipped.values())
    films, labels, more = _joined(readings, options.join)
    names = films["path"].tolist()
    where = look_up_names(root, [f"{name}.dicom" for name in names], FOLDERS)
    if not where.there.any():  # converted films, under the challenge's other ending
        where = look_up_names(root, [f"{name}.dcm" for name in names], FOLDERS)
    there = where.there
    paths = [path for path, exists in zip(where.paths, there, strict=True) if exists]
    described, no_header = described_films(root, paths)
    known = films[there].reset_index(drop=True)
    rows = described.assign(
        path=paths, patient=known["path"], study=known["path"], part=known["part"]
    )
    table = film_table(
        pd.concat([rows, pd.DataFrame(labels)[there].reset_index(drop=True)], axis=1), tuple(labels)
    )
    excluded = skipped | {JOINED: len(readings) - len(films)} | where.excluded
    patients = ("VinDr-CXR names no patients: each film counts as a patient of its own",)
    every = (*notes, *more, *where.notes, *no_header, *patients)
    return Catalog("vindr", root, tuple(labels), table, read_rows, excluded, every, where.missing)


def _readings(root: Path) -> tuple[pd.DataFrame, dict[str, int], tuple[str, ...]]:
    """Return one row a box or a film without one: path (the film's name), reader, finding, part."""
    parts = {"train": _first(root, TRAIN), "test": _first(root, TEST)}
    if parts["train"] is None:
        raise DataError(f"{root} is no VinDr-CXR folder: looked for {' or '.join(TRAIN)} there.")
    found: list[pd.DataFrame] = []
    excluded: dict[str, int] = {}
    notes: tuple[str, ...] = ()
    for part, path in parts.items():
        if path is None:
            continue
        cells, skipped, more = tables.read_csv(path)
        tables.need_columns(
            cells, ("image_id", "class_name", *(("rad_id",) if part == "train" else ())), path.name
        )
        tables.need_cells(cells["image_id"], path.name)
        tables.need_cells(cells["class_name"], path.name)
        found.append(
            pd.DataFrame(
                {
                    "path": cells["image_id"].str.strip(),
                    "reader": cells["rad_id"].str.strip() if "rad_id" in cells else "consensus",
                    "finding": cells["class_name"].str.strip(),
                    "part": "official-test" if part == "test" else None,
                }
            )
        )
        for name, count in skipped.items():
            excluded[name] = excluded.get(name, 0) + count
        notes += more
    return pd.concat(found, ignore_index=True), excluded, notes


def _first(root: Path, names: tuple[str, ...]) -> Path | None:
    return next((root / name for name in names if (root / name).is_file()), None)


def _joined(
    readings: pd.DataFrame, how: str
) -> tuple[pd.DataFrame, dict[str, FloatArray], tuple[str, ...]]:
    """Return one row a film, its labels by finding [N], and notes.

    A reader who drew no box of a finding says that it is absent.
    """
    spelt = {name: canonical(name) or name for name in readings["finding"].unique()}
    findings = sorted({name for name in spelt.values() if name.casefold() != NO_FINDING})
    if not findings:
        raise DataError("the tables of readers name no finding: take the set's own.")
    codes, keys = pd.factorize(readings["path"] + "\n" + readings["reader"].fillna(""))
    votes = readings.assign(code=codes).drop_duplicates("code", ignore_index=True)[["path", "part"]]
    labels = {name: np.full(len(keys), ABSENT, np.float32) for name in findings}
    named = readings["finding"].map(spelt)
    for name, values in labels.items():
        values[codes[(named == name).to_numpy(bool)]] = PRESENT
    readers = votes[votes["part"].isna()].groupby("path").size()
    notes: tuple[str, ...] = ()
    if odd := int((readers != READERS).sum()):
        notes = (
            f"{counted(odd, 'training film was', 'training films were')} not read by {READERS} radiologists",
        )
    films, joined, more = join_rows(votes, labels, how, "readers")
    return films, joined, (*notes, *more)
