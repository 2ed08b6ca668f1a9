"""A small set for docs/small-sets.md: the first patients of NIH ChestX-ray14 with 616 films between them.

Writes a folder in the data set's own layout: the label table and both official lists cut to these
films, and the images. Small sets are where a tool must be honest: few patients with each
finding, so wide intervals. Research use only, not a medical device.

Run: ``python benchmarks/small_set.py OUT [--root ../shared/data/nih14] [--films 616]``, then
    hilum prepare nih14 OUT --out OUT/store --size 64
    hilum split OUT/store
    hilum finetune --data OUT/store --backbone resnet10t --train.epochs 5 --out OUT/first
    hilum finetune --data OUT/store --backbone resnet10t --train.seed 1 --out OUT/second
    hilum evaluate OUT/first --data OUT/store --against OUT/second

Where the data set is not there it says so and ends with 0: nothing was made.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parents[2] / "shared" / "data" / "nih14"
TABLE, LISTS, IMAGES = (
    "Data_Entry_2017_v2020.csv",
    ("train_val_list.txt", "test_list.txt"),
    "images",
)


def first_patients(table: pd.DataFrame, films: int) -> pd.DataFrame:
    """Return the rows of the first whole patients that have at least so many films between them."""
    patients = table["Patient ID"]
    sizes = table.groupby("Patient ID", sort=False).size().cumsum()
    enough = min(int((sizes < films).sum()) + 1, len(sizes))
    return table[patients.isin(sizes.index[:enough])]


def write(root: Path, out: Path, films: int) -> pd.DataFrame:
    """Write the cut folder and return its table."""
    table = pd.read_csv(root / TABLE, dtype=str)
    there = {path.name for path in (root / IMAGES).iterdir()}
    kept = first_patients(table[table["Image Index"].isin(there)], films)
    (out / IMAGES).mkdir(parents=True)
    kept.to_csv(out / TABLE, index=False)
    names = set(kept["Image Index"])
    for listed in LISTS:
        lines = [name for name in (root / listed).read_text().split() if name in names]
        (out / listed).write_text("".join(f"{name}\n" for name in lines))
    for name in kept["Image Index"]:
        shutil.copyfile(root / IMAGES / name, out / IMAGES / name)
    return kept


def main() -> None:
    """Write the folder and print its counts."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--root", type=Path, default=ROOT)
    parser.add_argument("--films", type=int, default=616)
    options = parser.parse_args()
    if not (options.root / TABLE).is_file():
        print(f"skipped: {options.root} has no {TABLE}")
        return
    kept = write(options.root, options.out, options.films)
    print(f"{options.out}: {len(kept)} films of {kept['Patient ID'].nunique()} patients")


if __name__ == "__main__":
    main()
