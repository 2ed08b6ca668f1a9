"""RSNA Pneumonia Detection Challenge of 2018: one table of boxes, a folder of DICOM films taken from ChestX-ray14.

Shih 2019, doi 10.1148/ryai.2019180041. A film with a box shows an opacity; the table of classes says
of the others whether they are normal. The stage's test films have no labels and are not read.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from hilum.catalog import ABSENT, PRESENT, Catalog, film_table
from hilum.errors import DataError
from hilum.sources import tables
from hilum.sources.archive.described_films import described_films
from hilum.sources.joining import JOINED
from hilum.sources.lookup import look_up_names

TABLE = "stage_2_train_labels.csv"
CLASSES = "stage_2_detailed_class_info.csv"
FOLDERS = ("stage_2_train_images", "")
OPACITY, NORMAL = "Lung Opacity", "No Finding"
STATES = {"normal": PRESENT, "no lung opacity / not normal": ABSENT, "lung opacity": ABSENT}
"""Whether a class of the second table means that nothing was found."""


@dataclass(frozen=True)
class RSNAOptions:
    """RSNA Pneumonia Detection Challenge."""


Options = RSNAOptions


def read(root: Path, options: RSNAOptions) -> Catalog:  # noqa: ARG001 - sources have options
    """Read the tables, and each film's header.

    Raises:
        DataError: A table is missing or not the set's own; one line says why.
    """
    if not (root / TABLE).is_file():
        raise DataError(f"{root} is no folder of the RSNA challenge: looked for {TABLE} there.")
    cells, skipped, notes = tables.read_csv(root / TABLE)
    tables.need_columns(cells, ("patientId", "Target"), TABLE)
    tables.need_cells(cells["patientId"], TABLE)
    target = tables.numbers(*tables.parse_cells(cells["Target"], _target, TABLE, "0 or 1"))
    films = pd.DataFrame({"name": cells["patientId"].str.strip(), "target": target})
    both = films.groupby("name", sort=False)["target"].nunique() > 1
    if both.any():
        raise DataError(
            f"{TABLE}: rows of {tables.show(both.idxmax())} say both 0 and 1 ({int(both.sum())} such films): take the "
            "challenge's own table."
        )
    several = len(films)
    films = films.drop_duplicates("name", ignore_index=True)
    labels = {OPACITY: films["target"].to_numpy(np.float32)}
    if (root / CLASSES).is_file():
        labels[NORMAL] = _normal(root / CLASSES, films["name"])
    else:
        notes += (f"{CLASSES} is not there: which films are normal is not known",)
    where = look_up_names(root, (films["name"] + ".dcm").tolist(), FOLDERS)
    there = where.there
    paths = [path for path, exists in zip(where.paths, there, strict=True) if exists]
    described, more = described_films(root, paths)
    names = films["name"][there].reset_index(drop=True)
    rows = described.assign(path=paths, patient=names, study=names)
    shown = pd.DataFrame(labels)[there].reset_index(drop=True)
    table = film_table(pd.concat([rows, shown], axis=1), tuple(labels))
    joined = {JOINED: several - len(films)} if several > len(films) else {}
    excluded = skipped | joined | where.excluded
    origin = (
        "films are taken from NIH ChestX-ray14, whose patients the challenge does not name: each film counts as a "
        "patient of its own; do not train on one set and test on the other",
    )
    every = (*notes, *where.notes, *more, *origin)
    rows_read = several + sum(skipped.values())
    return Catalog("rsna", root, tuple(labels), table, rows_read, excluded, every, where.missing)


def _target(text: str) -> float | None:
    return {"0": ABSENT, "1": PRESENT, "0.0": ABSENT, "1.0": PRESENT}.get(text)


def _normal(path: Path, names: pd.Series) -> np.ndarray:
    """Return whether each film is normal, float32 [N]; NaN where the table does not have it."""
    cells = tables.read_csv(path).cells
    tables.need_columns(cells, ("patientId", "class"), CLASSES)
    codes, values = tables.parse_cells(
        cells["class"],
        lambda text: STATES.get(text.casefold()),
        CLASSES,
        f"one of {', '.join(STATES)}",
    )
    states = pd.Series(
        tables.numbers(codes, values), cells["patientId"].str.strip().to_numpy(object)
    )
    return names.map(states[~states.index.duplicated()]).to_numpy(np.float32)
