"""How much of the machine `prepare` turns into prepared films.

Against it stand n independent processes that do nothing but decode and enhance the same files: no
store, no hashes, no table, no split. Their clocks start when all are ready, and their speeds are
added, so that none waits for the slowest; the clock of `prepare` starts before its first process
does and stops when the store, flushed, with its split, is there. The two take turns (A B, B A, …)
on files that lie in the page cache; each pair gives a ratio, and the medians are
reported:

* ``efficiency``: enhancement `paper` at 224 px,
* ``efficiency_none``: no enhancement at 224 px,

each with ``_spread`` (least and greatest ratio). Run: ``python benchmarks/prepare_speed.py --json
[--workers N] [--data FOLDER]``. About three minutes on 2 cores.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SIZE = 224
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def find_files(data: Path | None, scratch: Path) -> tuple[list[Path], str]:
    """Return film files, and in words what they are."""
    roots = [data] if data else [SHARED / "nih14-1024", SHARED / "kermany224"]
    files = [
        sorted(file for file in root.rglob("*") if file.suffix in (".png", ".jpg", ".jpeg"))
        for root in roots
    ]
    if any(files):
        # The few large originals lie spread among the many small ones, as in no order of their own.
        large, small = (files[0], files[1]) if len(files) == 2 else ([], files[0])
        every = max(1, len(small) // max(1, len(large)))
        mixed = [
            file
            for place, film in enumerate(small)
            for file in [*large[place // every :][: place % every == 0], film]
        ]
        return mixed, " and ".join(
            f"{len(found)} films of {root}" for found, root in zip(files, roots, strict=True)
        )
    from hilum.phantoms import PhantomOptions, write_phantoms

    write_phantoms(scratch / "phantoms", PhantomOptions(count=600, size=512))
    return sorted(
        (scratch / "phantoms").rglob("view*.jpg")
    ), "600 phantoms of 512 px (no real films at hand)"


def decode_and_enhance(enhance: str) -> None:
    """Be one independent process: the paths come as JSON on standard input, a second line is the start."""
    import cv2

    from hilum.images.enhance import Preparation
    from hilum.images.read import read_grey

    cv2.setNumThreads(1)
    preparation = Preparation(SIZE, enhance)
    paths = [Path(path) for path in json.loads(sys.stdin.readline())]
    print("ready", flush=True)
    sys.stdin.readline()
    began = time.perf_counter()
    for path in paths:
        preparation.apply(read_grey(path))
    print(len(paths) / (time.perf_counter() - began), flush=True)


def time_bare(files: Sequence[Path], workers: int, enhance: str) -> float:
    """Return the films a second of n independent processes together."""
    command = [sys.executable, __file__, "--bare", enhance]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(workers)
    ]
    for number, process in enumerate(processes):
        process.stdin.write(json.dumps([str(file) for file in files[number::workers]]) + "\n")
        process.stdin.flush()
    for process in processes:
        process.stdout.readline()
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    rates = [float(process.communicate()[0]) for process in processes]
    if any(process.returncode for process in processes):
        raise SystemExit("an independent process failed")
    return sum(rates)


def time_prepare(files: Sequence[Path], workers: int, enhance: str, out: Path) -> float:
    """Return the films a second of `prepare`, from nothing to a whole store."""
    import pandas as pd

    from hilum.catalog import Catalog, film_table
    from hilum.workflows.prepare.prepare import PrepareOptions, prepare

    root = files[0].parent
    rows = {"path": [file.name for file in files], "patient": [file.stem for file in files]}
    catalog = Catalog(
        "benchmark", root, ("Edema",), film_table(pd.DataFrame(rows), ("Edema",)), len(files)
    )
    shutil.rmtree(out, ignore_errors=True)
    began = time.perf_counter()
    result = prepare(catalog, out, PrepareOptions(SIZE, enhance, workers=workers))
    seconds = time.perf_counter() - began
    if result.rows_kept != len(files):
        raise SystemExit(f"only {result.rows_kept} of {len(files)} films were prepared")
    return len(files) / seconds


def measure(
    files: Sequence[Path], workers: int, enhance: str, pairs: int, out: Path
) -> dict[str, Any]:
    """Return the paired ratios, and films a second of both."""
    bare, whole = [], []
    for pair in range(pairs):
        for turn in ("bare", "prepare") if pair % 2 else ("prepare", "bare"):
            if turn == "bare":
                bare.append(time_bare(files, workers, enhance))
            else:
                whole.append(time_prepare(files, workers, enhance, out))
    ratios = [ours / alone for alone, ours in zip(bare, whole, strict=True)]
    return {
        "median": round(statistics.median(ratios), 4),
        "spread": [round(min(ratios), 4), round(max(ratios), 4)],
        "films": len(files),
        "bare": round(statistics.median(bare), 1),
        "prepare": round(statistics.median(whole), 1),
    }


def choose(files: Sequence[Path], count: int) -> list[Path]:
    """Return so many files: evenly spread where there are more, again and again where there are fewer."""
    if count < len(files):
        return [files[place * len(files) // count] for place in range(count)]
    return [files[place % len(files)] for place in range(count)]


def link(files: Sequence[Path], root: Path) -> list[Path]:
    """Return links to the files, so that one that stands twice has two names."""
    root.mkdir()
    links = [root / f"{number:06d}{file.suffix}" for number, file in enumerate(files)]
    for name, file in zip(links, files, strict=True):
        name.symlink_to(file.resolve())
    return links


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="end with one JSON line")
    parser.add_argument("--data", type=Path, help="folder of PNG and JPEG films")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--films", type=int, default=400, help="films a block with `paper`")
    parser.add_argument(
        "--films-none", type=int, default=12000, help="films a block without enhancement"
    )
    parser.add_argument("--bare", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bare:
        decode_and_enhance(options.bare)
        return
    with tempfile.TemporaryDirectory() as folder:
        files, words = find_files(options.data, Path(folder))
        print(f"{words}; {options.workers} workers, {options.pairs} pairs", file=sys.stderr)
        result: dict[str, Any] = {
            "data": words,
            "workers": options.workers,
            "pairs": options.pairs,
            "size": SIZE,
        }
        for enhance, count in (("paper", options.films), ("none", options.films_none)):
            chosen = link(choose(files, count), Path(folder) / enhance)
            time_bare(chosen, options.workers, "none")  # into the page cache
            found = measure(chosen, options.workers, enhance, options.pairs, Path(folder) / "store")
            key = "efficiency" if enhance == "paper" else f"efficiency_{enhance}"
            result |= {
                key: found["median"],
                f"{key}_spread": found["spread"],
                f"films_per_second_{enhance}": found,
            }
            print(f"{enhance}: {found}", file=sys.stderr)
    print(json.dumps(result) if options.json else f"efficiency {result['efficiency']}")


if __name__ == "__main__":
    main()
