"""What does the search for copies cost among a million films, and does it find what was planted there?

No public set has a million radiographs that could lie here, so new ones are mixed: each is the mean
of two real films that no other film has both of, each turned by up to 8 degrees, stretched by up to
10 %, shifted by up to 6 % of the edge and, half the time, mirrored. They are as alike as chests
are, and no two are copies. 400 of each of five kinds of altered copies are planted among them. All
go into one archive, are prepared by `hilum prepare medmnist` and searched.

``pairs_not_planted`` are false, though half the same picture where they have a real film in common:
pictures of the first hundred go below ``--out``. Memory is that of a process which does nothing but
search, before and at its peak; the store is mapped and counts as far as its pages are in memory.
Real films are taken from ``--data`` in NIH's layout, else from ``../shared/data``, else phantoms
are drawn.
Run: ``python benchmarks/million_films.py --out million [--json]``; a million films take 8 GB of
    disk.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import zipfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from altered_films import NEAR, Film
from hilum.images.films import Films
from hilum.sources import read_source
from hilum.workflows.prepare.prepare import PrepareOptions, prepare
from planted_leaks import draw_pairs, peak_mib, source_films, timed

BLOCK = 4096
EACH = 400
"""Copies of each kind that are planted, at most."""


def parents(count: int, films: int, rng: np.random.Generator) -> np.ndarray:
    """Return two different films for each of ``count`` mixed ones, no two pairs alike, int64 [count, 2]."""
    most = films * (films - 1) // 2
    if count > most // 2:
        raise SystemExit(
            f"{films} films make {most} pairs: at most half as many films can be mixed, not {count}"
        )
    codes = np.empty(0, np.int64)
    while len(codes) < count:
        drawn = np.sort(rng.integers(0, films, (2 * count, 2)), axis=1)
        drawn = drawn[drawn[:, 0] < drawn[:, 1]]
        codes = np.unique(np.concatenate([codes, drawn[:, 0] * films + drawn[:, 1]]))
    codes = rng.permutation(codes)[:count]
    return np.stack([codes // films, codes % films], axis=1)


def moved(film: Film, rng: np.random.Generator) -> Film:
    """Return the film turned, stretched, shifted and perhaps mirrored."""
    size = film.shape[0]
    middle = (size - 1) / 2
    matrix = cv2.getRotationMatrix2D((middle, middle), rng.uniform(-8, 8), rng.uniform(0.9, 1.1))
    matrix[:, 2] += rng.uniform(-0.06, 0.06, 2) * size
    if rng.random() < 0.5:
        film = film[:, ::-1]
    return cv2.warpAffine(
        np.ascontiguousarray(film), matrix, (size, size), borderMode=cv2.BORDER_REPLICATE
    )


def altered(film: Film, kind: str, rng: np.random.Generator) -> Film:
    """Return an altered copy at the film's own size."""
    found = NEAR[kind](film, rng)
    size = film.shape[0]
    return (
        found
        if found.shape == film.shape
        else cv2.resize(found, (size, size), interpolation=cv2.INTER_AREA)
    )


def planted(count: int, rng: np.random.Generator) -> pd.DataFrame:
    """Return which film is to be a copy of which earlier one, and how: ``copy``, ``original``, ``kind``."""
    each = min(EACH, count // 10 // len(NEAR))
    places = rng.permutation(count)[: 2 * each * len(NEAR)].reshape(-1, 2)
    kinds = np.repeat(list(NEAR), each)
    return pd.DataFrame({"copy": places.max(axis=1), "original": places.min(axis=1), "kind": kinds})


def write_archive(
    path: Path, films: np.ndarray, of: np.ndarray, copies: pd.DataFrame, seed: int
) -> None:
    """Write the mixed films in MedMNIST's form, block by block."""
    size, copied = (
        films.shape[1],
        {row.copy: (row.original, row.kind) for row in copies.itertuples(index=False)},
    )

    def mixed(place: int) -> Film:
        rng = np.random.default_rng((seed, place))
        if place in copied:
            original, kind = copied[place]
            return altered(mixed(original), kind, rng)
        first, second = (moved(films[row], rng).astype(np.uint16) for row in of[place])
        return ((first + second + 1) // 2).astype(np.uint8)

    with zipfile.ZipFile(path, "w") as archive:
        with archive.open("train_images.npy", "w", force_zip64=True) as file:
            head = {"descr": "|u1", "fortran_order": False, "shape": (len(of), size, size)}
            np.lib.format.write_array_header_1_0(file, head)
            for start in range(0, len(of), BLOCK):
                block = [mixed(place) for place in range(start, min(start + BLOCK, len(of)))]
                file.write(np.stack(block).tobytes())
        with archive.open("train_labels.npy", "w") as file:
            np.lib.format.write_array(file, np.zeros((len(of), 1), np.uint8))


def search(store: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the pairs that are found, and what that cost."""
    cv2.setNumThreads(1)
    films = Films.open([store])
    before = peak_mib()
    found, cost = timed(films)
    return found.pairs, {**cost, "mib_before": before}


def in_common(of: np.ndarray, pairs: pd.DataFrame) -> int:
    """Return how many pairs have one of the films that they are mixed of in common: they are half the same picture."""
    first, second = of[pairs["first"]], of[pairs["second"]]
    return int((first[:, :, None] == second[:, None, :]).any(axis=(1, 2)).sum())


def measure(chosen: argparse.Namespace) -> dict[str, Any]:
    """Mix, plant, prepare and look; return every figure."""
    catalog, words = source_films(chosen)
    source, store = (
        chosen.out / f"source-{chosen.size}",
        chosen.out / f"mixed-{chosen.count}-{chosen.size}-{chosen.seed}",
    )
    prepare(catalog, source, PrepareOptions(chosen.size, workers=chosen.workers))
    films, rng = Films.open([source]), np.random.default_rng(chosen.seed)
    of, copies = parents(chosen.count, len(films), rng), planted(chosen.count, rng)
    of[copies["copy"]] = of[copies["original"]]
    archive = chosen.out / f"{store.name}.npz"
    if not archive.is_file():
        aside = chosen.out / f".{archive.name}.part"
        write_archive(aside, films.read(np.arange(len(films))), of, copies, chosen.seed)
        aside.rename(archive)
    began = time.perf_counter()
    prepare(
        read_source("medmnist", archive), store, PrepareOptions(chosen.size, workers=chosen.workers)
    )
    took = time.perf_counter() - began
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        pairs, cost = process.submit(search, store).result()
    known = dict(
        zip(zip(copies["original"], copies["copy"], strict=True), copies["kind"], strict=True)
    )
    names = [tuple(pair) for pair in pairs[["first", "second"]].to_numpy().tolist()]
    hits = pd.Series([known[pair] for pair in names if pair in known], dtype=object).value_counts()
    others = pairs[[pair not in known for pair in names]]
    draw_pairs(chosen.out / "not-planted", Films.open([store]), others.head(100))
    return {
        "data": f"mixed from {len(films):,} films of {words}",
        "size": chosen.size,
        "prepared_in_seconds": round(took, 1),
        **cost,
        "found": {kind: {"planted": int(count), "found": int(hits.get(kind, 0))} for kind, count in
                  copies["kind"].value_counts(sort=False).items()},
        "pairs_not_planted": len(others),
        "of_these_with_a_film_in_common": in_common(of, others),
    }  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=1_000_000, help="films to mix")
    parser.add_argument("--data", type=Path, help="folder in the layout of NIH ChestX-ray14")
    parser.add_argument(
        "--phantoms", action="store_true", help="of phantoms, even where there are real films"
    )
    parser.add_argument(
        "--films",
        type=int,
        default=2000,
        help="half as many phantoms as are drawn, without real films",
    )
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    cv2.setNumThreads(1)
    chosen.out.mkdir(parents=True, exist_ok=True)
    found = measure(chosen)
    sys.stdout.write(
        json.dumps(found, indent=None if chosen.json else 1, ensure_ascii=False) + "\n"
    )


if __name__ == "__main__":
    main()
