"""Are leaks found? Films of a training set are planted in a test set, as they are and altered, under other names.

The test set has ``--films`` films. Nine in twenty of them are planted, in equal shares:

* patient overlap: another film of a training patient, under its own name;
* exact: a training film, byte for byte, as a new patient's;
* near: a training film, altered, as a new patient's: saved as JPEG of quality 30; resized by 0.75
  to 1.5; 2 % cut off every side; 10 % lighter or darker; or all four one after the other.

They are altered as files, at the size they come in, and prepared like every other film. The search
knows nothing of it. ``false_pairs`` are copies between patients that were not planted; a picture of
each goes below ``--out``, to be looked
at: it may be one person under two names. ``refused`` is what a command says that is given both
    sets.

``--scale N`` looks for copies among N phantoms instead, and says how long and how much memory that
took. Real films are taken from ``--data`` in NIH's layout, else from ``../shared/data``, else
phantoms are drawn.
Run: ``python benchmarks/planted_leaks.py --out leaks [--json]``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from altered_films import NEAR, Film
from hilum.catalog import Catalog, film_table
from hilum.duplicates import Copies, find_copies
from hilum.errors import DataError
from hilum.images.films import Films
from hilum.phantoms import PhantomOptions, write_phantoms
from hilum.sources import read_source
from hilum.splits import Split
from hilum.workflows.data.subsets import Subsets
from hilum.workflows.prepare.prepare import PrepareOptions, prepare

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
COPIED = ("exact", *NEAR)


@dataclass(frozen=True)
class Leaks:
    """Two sets, and what the second has of the first."""

    train: Catalog
    test: Catalog
    copies: pd.DataFrame
    """A row a planted copy: path in the test set, path in the training set, kind."""
    overlaps: frozenset[str]
    """Patients of both."""


def source_films(chosen: argparse.Namespace) -> tuple[Catalog, str]:
    """Return the films to plant among, and in words what they are."""
    data = chosen.data or (
        SHARED / "nih14" if (SHARED / "nih14").is_dir() and not chosen.phantoms else None
    )
    if data:
        return read_source("nih14", data), f"NIH ChestX-ray14 in {data}"
    folder = chosen.out / "phantoms"
    write_phantoms(folder, PhantomOptions(2 * chosen.films, max(64, chosen.size), chosen.seed))
    return read_source("chexpert", folder), "phantoms"


def plant(catalog: Catalog, chosen: argparse.Namespace) -> Leaks:
    """Divide the films by patient, write what is planted below ``--out``, and return both sets."""
    rng = np.random.default_rng(chosen.seed)
    each = round(chosen.films * 0.45 / (1 + len(COPIED)))
    own, others = divided(catalog.table, chosen.films - each * (1 + len(COPIED)), rng)
    moved = second_films(others).iloc[rng.permutation(len(second_films(others)))[:each]]
    train = others.drop(moved.index)
    originals = train["path"].to_numpy(object)[rng.permutation(len(train))[: each * len(COPIED)]]
    kinds = [COPIED[number % len(COPIED)] for number in range(len(originals))]
    names = [f"planted/{number:05d}.png" for number in range(len(originals))]
    for name, path, kind in zip(names, originals, kinds, strict=True):
        film = cv2.imread(str(catalog.root / path), cv2.IMREAD_GRAYSCALE)
        write_film(chosen.out / "files" / name, NEAR[kind](film, rng) if kind in NEAR else film)
    for path in (*train["path"], *own["path"], *moved["path"]):
        link(catalog.root / path, chosen.out / "files" / path)
    new = [(name, f"new {name}") for name in names]
    test = [*named(own), *named(moved), *new]
    copies = pd.DataFrame({"test": names, "train": originals, "kind": kinds})
    return Leaks(
        as_set(chosen.out, named(train)),
        as_set(chosen.out, test),
        copies,
        frozenset(map(str, moved["patient"])),
    )


def divided(
    table: pd.DataFrame, films: int, rng: np.random.Generator
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return about that many films of patients drawn by lot, and those of all other patients."""
    patients = table["patient"].unique()
    place = pd.Series(rng.permutation(len(patients)), index=patients)
    ordered = table.assign(place=table["patient"].map(place).to_numpy()).sort_values(
        "place", kind="stable"
    )
    chosen = ordered["place"] <= ordered["place"].iloc[max(0, films - 1)]
    return ordered[chosen], ordered[~chosen]


def second_films(table: pd.DataFrame) -> pd.DataFrame:
    """Return the second film of every patient who has one."""
    return table[table.groupby("patient").cumcount() == 1]


def named(table: pd.DataFrame) -> list[tuple[str, str]]:
    """Return path and patient of each film."""
    return [
        (str(path), str(patient))
        for path, patient in zip(table["path"], table["patient"], strict=True)
    ]


def as_set(out: Path, rows: Iterable[tuple[str, str]]) -> Catalog:
    """Return films as a catalogue."""
    table = pd.DataFrame(rows, columns=["path", "patient"])
    return Catalog(
        "leaks", out / "files", ("Finding",), film_table(table, ("Finding",)), len(table)
    )


def write_film(path: Path, film: Film) -> None:
    """Write a film as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), film)


def link(source: Path, path: Path) -> None:
    """Make a file known under another path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.symlink_to(source.resolve())


def prepared(leaks: Leaks, chosen: argparse.Namespace) -> Films:
    """Prepare both sets, each a part of its own, and open them as one pile."""
    folders = []
    for part, catalog in (("train", leaks.train), ("test", leaks.test)):
        folders.append(chosen.out / f"{part}-{chosen.size}")
        prepare(catalog, folders[-1], PrepareOptions(chosen.size, workers=chosen.workers))
        parts = dict.fromkeys(("train", "val", "test", "official-test"), ())
        Split(
            "patient", 0, {**parts, part: tuple(map(str, catalog.table["patient"].unique()))}
        ).save(folders[-1])
    return Films.open(folders)


def measure(chosen: argparse.Namespace) -> dict[str, Any]:
    """Plant, look, and return every figure."""
    catalog, words = source_films(chosen)
    leaks = plant(catalog, chosen)
    films = prepared(leaks, chosen)
    copies, cost = timed(films)
    found = recall(films, copies, leaks)
    near = [row for kind, row in found.items() if kind in NEAR]
    false = false_pairs(films, copies, leaks)
    draw_pairs(chosen.out / f"false-{chosen.size}", films, false)
    return {
        "data": words,
        "size": chosen.size,
        "train_films": len(leaks.train.table),
        "test_films": len(leaks.test.table),
        **cost,
        "found": found,
        "near_recall": sum(row["found"] for row in near)
        / max(1, sum(row["planted"] for row in near)),
        "false_pairs": false.to_dict("records"),
        "refused": refusals(films),
        "kermany": kermany(chosen),
    }


def timed(films: Films) -> tuple[Copies, dict[str, Any]]:
    """Return the copies, and what finding them cost."""
    began = time.perf_counter()
    copies = find_copies(films)
    seconds = time.perf_counter() - began
    cost = {
        "films": len(films),
        "seconds": round(seconds, 1),
        "peak_mib": peak_mib(),
        "candidates": copies.candidates,
    }
    return copies, {**cost, "pairs": len(copies.pairs), "notes": list(copies.notes)}


def peak_mib() -> int:
    """Return the most memory that this process has had, in MiB; a new program's does not begin with its parent's."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) // 1024


def recall(films: Films, copies: Copies, leaks: Leaks) -> dict[str, dict[str, int]]:
    """Return how many of each kind were planted and found."""
    together = linked(films, copies)
    parts = Subsets(
        films, tuple(Split.load(store.folder) for store in films.stores)
    ).split_of_each()
    placed = pd.DataFrame({"patient": films.catalog["patient"], "part": parts}).drop_duplicates()
    twice = {name.split(":", 1)[1] for name in placed["patient"][placed["patient"].duplicated()]}
    found = {
        "patient overlap": {"planted": len(leaks.overlaps), "found": len(twice & leaks.overlaps)}
    }
    for kind, rows in leaks.copies.groupby("kind", sort=False):
        hits = sum(
            (one, other) in together for one, other in zip(rows["test"], rows["train"], strict=True)
        )
        found[str(kind)] = {"planted": len(rows), "found": hits}
    return found


def linked(films: Films, copies: Copies) -> set[tuple[str, str]]:
    """Return the paths of every two films of one group, both ways round."""
    path = films.catalog["path"].to_numpy(object)
    return {
        (path[one], path[other]) for group in copies.groups() for one in group for other in group
    }


def false_pairs(films: Films, copies: Copies, leaks: Leaks) -> pd.DataFrame:
    """Return the pairs between patients that nobody planted: rows, paths and correlation."""
    path = films.catalog["path"].to_numpy(object)
    origin = dict(zip(leaks.copies["test"], leaks.copies["train"], strict=True))
    person = dict(zip(path, films.catalog["patient"], strict=True))
    pairs = copies.pairs[~copies.pairs["same_patient"]]
    pairs = pairs.assign(one=path[pairs["first"]], other=path[pairs["second"]])
    truly = [
        person[origin.get(one, one)] != person[origin.get(two, two)]
        for one, two in pairs[["one", "other"]].values
    ]
    return pairs.loc[truly, ["first", "second", "one", "other", "correlation"]]


def draw_pairs(folder: Path, films: Films, pairs: pd.DataFrame) -> None:
    """Write a picture of each pair, the films side by side."""
    for first, second in zip(pairs["first"], pairs["second"], strict=True):
        write_film(
            folder / f"{first}-{second}.png", np.hstack(list(films.read(np.array([first, second]))))
        )


def refusals(films: Films) -> list[str]:
    """Return what is said of patients, and of copies, in two parts."""
    subsets = Subsets(films, tuple(Split.load(store.folder) for store in films.stores))
    said = []
    for refuse in (subsets.refuse_patient_in_two, subsets.refuse_copies_in_two):
        try:
            refuse()
        except DataError as error:
            said.append(str(error))
    return said


def kermany(chosen: argparse.Namespace) -> dict[str, int] | None:
    """Return how many byte-identical files Kermany's set has, and what is found; None where the set is not at hand."""
    root = SHARED / "kermany224"
    if chosen.phantoms or not root.is_dir():
        return None
    files = [path for path in root.rglob("*") if path.suffix in (".jpg", ".jpeg", ".png")]
    once = {hashlib.sha256(path.read_bytes()).digest() for path in files}
    catalog = read_source("folder", root, csv="manifest.csv", patient_column="group")
    store = chosen.out / f"kermany-{chosen.size}"
    prepare(catalog, store, PrepareOptions(chosen.size, workers=chosen.workers))
    pairs = find_copies(Films.open([store])).pairs
    kinds = {kind: int((pairs["kind"] == kind).sum()) for kind in ("exact", "near")}
    between = int((~pairs["same_patient"]).sum())
    return {
        "files": len(files),
        "byte_identical": len(files) - len(once),
        **kinds,
        "between_patients": between,
    }


def scale(chosen: argparse.Namespace) -> dict[str, Any]:
    """Draw and prepare phantoms, and return what it cost to look for copies among them."""
    drawn, store = chosen.out / "phantoms", chosen.out / f"phantoms-{chosen.size}"
    write_phantoms(
        drawn,
        PhantomOptions(chosen.scale, max(64, chosen.size), chosen.seed),
        workers=chosen.workers,
    )
    prepare(
        read_source("chexpert", drawn), store, PrepareOptions(chosen.size, workers=chosen.workers)
    )
    films = Films.open([store])
    copies, cost = timed(films)
    between = int((~copies.pairs["same_patient"]).sum())
    return {"data": "phantoms", "size": chosen.size, **cost, "pairs_between_patients": between}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, help="folder in the layout of NIH ChestX-ray14")
    parser.add_argument(
        "--phantoms", action="store_true", help="phantoms, even where there are real films"
    )
    parser.add_argument("--films", type=int, default=5000, help="films of the test set")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--scale", type=int, default=0, help="phantoms among which copies are looked for instead"
    )
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    cv2.setNumThreads(1)
    found = scale(chosen) if chosen.scale else measure(chosen)
    sys.stdout.write(
        json.dumps(found, indent=None if chosen.json else 1, ensure_ascii=False) + "\n"
    )


if __name__ == "__main__":
    main()
