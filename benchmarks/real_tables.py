"""The real tables in the torchxrayvision wheel: what Hilum reads of them, beside a count that does not use Hilum.

    pip download torchxrayvision==1.5.7 --no-deps
    python benchmarks/real_tables.py torchxrayvision-1.5.7-py3-none-any.whl --json

CheXpert's train.csv, NIH ChestX-ray14's Data_Entry_2017_v2020.csv and PadChest's table are unpacked, an empty file is
laid down for each film, and rows, patients, studies, views and the labels of every finding are counted by the csv
module alone and by ``hilum.read_source``. ``--keep FOLDER`` leaves the folders for ``read_chexpert.py``. Exit 1 where a
count differs.
"""

from __future__ import annotations

import argparse
import ast
import csv
import gzip
import io
import json
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hilum.catalog import Catalog
from hilum.sources import read_source

Row = dict[str, str]
Counts = dict[str, Any]
STATES = {"1.0": "present", "0.0": "absent", "-1.0": "uncertain", "": "not stated"}
NIH = {"Effusion": "Pleural Effusion", "Pleural_Thickening": "Pleural Thickening"}
"""NIH's names that Hilum spells otherwise."""
PADCHEST_VIEWS = {
    "PA": "PA",
    "AP": "AP",
    "AP_horizontal": "AP",
    "L": "LATERAL",
    "COSTAL": "not told",
    "EXCLUDE": "not told",
}
PADCHEST_NONE = {"normal", "unchanged", "exclude", "suboptimal study", ""}
CANONICAL = {
    "Cardiomegaly": "cardiomegaly",
    "Pneumothorax": "pneumothorax",
    "Pleural Effusion": "pleural effusion",
    "Pneumonia": "pneumonia",
    "Nodule": "nodule",
    "Atelectasis": "atelectasis",
    "Consolidation": "consolidation",
    "Pleural Thickening": "pleural thickening",
    "Emphysema": "emphysema",
    "Mass": "mass",
    "Edema": "pulmonary edema",
    "Fracture": "fracture",
}
"""PadChest's labels that Hilum spells as its vocabularies do, by their spelling there."""


def chexpert(rows: list[Row]) -> Counts:
    """Count CheXpert's table."""
    findings = list(rows[0])[5:]
    people = [row["Path"].split("/")[-3] for row in rows]
    views = Counter(
        "LATERAL"
        if row["Frontal/Lateral"] == "Lateral"
        else {"AP": "AP", "PA": "PA", "": "FRONTAL"}.get(row["AP/PA"], "not told")
        for row in rows
    )
    return {
        "rows": len(rows),
        "patients": len(set(people)),
        "studies": len(
            {(who, row["Path"].split("/")[-2]) for who, row in zip(people, rows, strict=True)}
        ),
        "views": dict(views),
        "findings": {name: dict(Counter(STATES[row[name]] for row in rows)) for name in findings},
    }


def nih14(rows: list[Row]) -> Counts:
    """Count NIH's table: what a film's list lacks is absent."""
    lists = [row["Finding Labels"].split("|") for row in rows]
    names = sorted({name for names in lists for name in names} - {"No Finding"})
    shown = Counter(name for names in lists for name in set(names))
    return {
        "rows": len(rows),
        "patients": len({row["Patient ID"] for row in rows}),
        "studies": len({(row["Patient ID"], row["Follow-up #"]) for row in rows}),
        "views": dict(Counter(row["View Position"] for row in rows)),
        "findings": {NIH.get(name, name): _two(shown[name], len(rows)) for name in names},
    }


def padchest(rows: list[Row]) -> Counts:
    """Count PadChest's table: a film states something where a list has a finding or ``normal``."""
    lists = [
        {str(item).strip() for item in ast.literal_eval(row["Labels"])}
        if row["Labels"].startswith("[")
        else set()
        for row in rows
    ]
    stating = sum("normal" in names or bool(names - PADCHEST_NONE) for names in lists)
    shown = Counter(name for names in lists for name in names - PADCHEST_NONE)
    return {
        "rows": len(rows),
        "patients": len({row["PatientID"] for row in rows}),
        "studies": len({(row["PatientID"], row["StudyID"]) for row in rows}),
        "views": dict(Counter(PADCHEST_VIEWS.get(row["Projection"], "not told") for row in rows)),
        "findings": {name: _two(count, stating) for name, count in sorted(shown.items())},
    }


def _two(present: int, stating: int) -> dict[str, int]:
    counts = {"present": present, "absent": stating - present}
    return {name: count for name, count in counts.items() if count}


SETS: dict[str, tuple[str, str, Callable[[list[Row]], Counts], Callable[[Row], str]]] = {
    "chexpert": (
        "chexpert_train.csv.gz",
        "train.csv",
        chexpert,
        lambda row: row["Path"].partition("/")[2],
    ),
    "nih14": (
        "Data_Entry_2017_v2020.csv.gz",
        "Data_Entry_2017_v2020.csv",
        nih14,
        lambda row: f"images/{row['Image Index']}",
    ),
    "padchest": (
        "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv.gz",
        "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv",
        padchest,
        lambda row: f"{row['ImageDir']}/{row['ImageID']}",
    ),
}
"""Source -> its table in the wheel, the table's own name, its count, and the place of a row's film."""


def table_rows(content: bytes) -> Iterator[Row]:
    """Yield a table's rows by the csv module."""
    yield from csv.DictReader(io.StringIO(content.decode("utf-8"), newline=""))


def by_hilum(catalog: Catalog) -> Counts:
    """Count a catalogue in the same words."""
    table = catalog.table
    words = {1.0: "present", 0.0: "absent", -1.0: "uncertain"}
    findings = {}
    for name in catalog.findings:
        states = table[name].map(words).fillna("not stated").value_counts()
        findings[name] = {str(state): int(count) for state, count in states.items()}
    views = table["view_position"].astype(object).fillna("not told").value_counts()
    return {
        "rows": catalog.rows_read,
        "patients": int(table["patient"].nunique()),
        "studies": int(table["study"].nunique()),
        "views": {str(view): int(count) for view, count in views.items()},
        "findings": findings,
    }


def differences(ours: Counts, plain: Counts) -> list[str]:
    """Return what differs, in words."""
    found = [
        f"{name}: {ours[name]} by Hilum, {plain[name]} by the csv module"
        for name in ("rows", "patients", "studies", "views")
        if ours[name] != plain[name]
    ]
    mine, theirs = ours["findings"], plain["findings"]
    for name in sorted({*mine, *theirs}):
        counts = dict(theirs.get(name, {}))
        if mine.get(name, {}) != counts:
            found.append(f"{name}: {mine.get(name)} by Hilum, {counts or None} by the csv module")
    return found


def compare(source: str, archive: zipfile.ZipFile, root: Path) -> Counts:
    """Lay a set down below ``root``, count it twice, and return the counts with what differs."""
    packed, name, count, place = SETS[source]
    content = gzip.decompress(archive.read(f"torchxrayvision/data/{packed}"))
    rows = list(table_rows(content))
    root.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(content)
    folders: set[Path] = set()
    for row in rows:
        film = root / place(row)
        if film.parent not in folders:
            film.parent.mkdir(parents=True, exist_ok=True)
            folders.add(film.parent)
        film.touch()
    options = {"without_official_split": True} if source == "nih14" else {}
    catalog = read_source(source, root, **options)
    plain, ours = count(rows), by_hilum(catalog)
    if source == "padchest":
        unstated = len(rows) - max(sum(states.values()) for states in plain["findings"].values())
        for states in plain["findings"].values():
            states["not stated"] = unstated
        spelt = {there: here for here, there in CANONICAL.items()}
        plain["findings"] = {spelt.get(n, n): states for n, states in plain["findings"].items()}
    return {
        **{key: ours[key] for key in ("rows", "patients", "studies", "views")},
        "findings": len(ours["findings"]),
        "labels": {name: sum(s.get(name, 0) for s in ours["findings"].values())
                   for name in ("present", "absent", "uncertain", "not stated")},
        "excluded": catalog.excluded,
        "notes": list(catalog.notes),
        "differences": differences(ours, plain),
    }  # fmt: skip


def main() -> None:
    """Count each set twice; exit with 1 where a count differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--keep", type=Path, help="leave the folders of the sets here")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    result = {}
    with tempfile.TemporaryDirectory() as scratch, zipfile.ZipFile(given.wheel) as archive:
        for source in given.sets:
            result[source] = compare(source, archive, (given.keep or Path(scratch)) / source)
    if given.json:
        print(json.dumps(result))
    else:
        for source, counts in result.items():
            print(source, *(f"  {key}: {value}" for key, value in counts.items()), sep="\n")
    raise SystemExit(any(counts["differences"] for counts in result.values()))


if __name__ == "__main__":
    main()
