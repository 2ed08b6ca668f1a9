"""Processor time of reading CheXpert with its films, beside `pandas.read_csv` and one walk of the tree."""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import pandas as pd

from hilum.sources import read_source


def walk(folder: str) -> int:
    """Return the number of files below a folder, by one `os.scandir` a folder."""
    files = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            files += walk(entry.path) if entry.is_dir() else 1
    return files


def lay_down(table: Path, root: Path) -> None:
    """Make an empty file for each row of ``train.csv``, where the table says."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "train.csv").write_bytes(table.read_bytes())
    for path in pd.read_csv(table)["Path"]:
        film = root / path.partition("/")[2]
        film.parent.mkdir(parents=True, exist_ok=True)
        film.touch()


def main() -> None:
    """Measure both in turns; the least of each counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, help="CheXpert's folder")
    parser.add_argument("--lay-down", type=Path, help="its train.csv: make ROOT of empty films")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if given.lay_down:
        lay_down(given.lay_down, given.root)
    ours, theirs = [], []
    for _ in range(given.turns):
        start = time.process_time()
        pd.read_csv(given.root / "train.csv")
        walk(str(given.root))
        theirs.append(time.process_time() - start)
        start = time.process_time()
        catalog = read_source("chexpert", given.root)
        ours.append(time.process_time() - start)
    result = {
        "rows_read": catalog.rows_read,
        "films": len(catalog.table),
        "patients": int(catalog.table["patient"].nunique()),
        "studies": int(catalog.table["study"].nunique()),
        "views": catalog.table["view_position"].value_counts().to_dict(),
        "present": {name: int((catalog.table[name] == 1).sum()) for name in catalog.findings},
        "hilum_s": round(min(ours), 2),
        "pandas_and_walk_s": round(min(theirs), 2),
        "ratio": round(min(ours) / min(theirs), 2),
    }
    print(json.dumps(result) if given.json else "\n".join(f"{k}: {v}" for k, v in result.items()))


if __name__ == "__main__":
    main()
