"""What does a film file cost that asks its decoder for far more time or memory than its bytes?

Makes some 70 such files (`bomb_files.py`) and decodes each in a fresh process of the kind that `prepare`,
`predict`, `explain` and `hilum.load` share. Each is

* read: its pixels were asked for and there is room for them;
* refused: one short reason;
* or a fault: the process died, hung, or took more than 2 s of processor time or 512 MB.

Then all go through `hilum prepare`, `hilum predict`, `hilum explain` and the Python door together: each must give the
same reason for the same file, and the sound films between them must be read. Exit 1 where any of it fails.

Run: ``python benchmarks/film_bombs.py [--seconds 2] [--json]``. Three minutes on one core, 1 GB of disk.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

import hilum
from bomb_files import write_bombs
from hilum.catalog import Catalog, film_table
from hilum.images.decoding.decoder import READER, Decoder
from hilum.images.enhance import Preparation
from hilum.images.read import UnreadableFilm
from hilum.phantoms import PhantomOptions, write_phantoms
from hilum.sources import read_source
from hilum.workflows.inference.options import ExplainOptions
from hilum.workflows.prepare.prepare import PrepareOptions, prepare
from hilum.workflows.train.options import FinetuneOptions, FinetuneTrainOptions
from said import say

SIZE, LIMIT_MB = 32, 512
EXPLAINED = 10
"""Bombs that also go through `explain`."""


@dataclass(frozen=True)
class Cost:
    """What became of a bomb, and what it cost the process that decoded it."""

    name: str
    outcome: str
    """``read``, or the reason."""
    seconds: float
    """Of the process's own processor time: other programs may share the machine."""
    waited: float
    """Seconds by the clock."""
    megabytes: float
    """At most at any time, the process itself included."""


def decoding_processes() -> list[int]:
    """Return this process's children."""
    return [
        int(child)
        for thread in Path("/proc/self/task").iterdir()
        for child in (thread / "children").read_text().split()
    ]


def peak(process: int) -> float:
    """Return the most memory that a process ever had, in MB."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(re.findall(r"VmHWM:\s*(\d+)", status)[0]) / 1024


def processor_seconds(process: int) -> float:
    """Return the processor time that a process has had."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cost(name: str, film: Path, sound: Path) -> Cost:
    """Decode a film in a new process."""
    with Decoder(Preparation(SIZE), READER) as decoder:
        list(decoder.films([sound]))
        (process,) = decoding_processes()
        used, began = processor_seconds(process), time.perf_counter()
        (decoded,) = decoder.films([film])
        waited = time.perf_counter() - began
        outcome = str(decoded) if isinstance(decoded, UnreadableFilm) else "read"
        alive = decoding_processes() == [process]
        seconds, most = float("nan"), float("nan")
        if alive:
            seconds, most = processor_seconds(process) - used, peak(process)
        return Cost(name, outcome, seconds, waited, most)


def small_run(folder: Path) -> Path:
    """Return a run of the smallest network on a few phantoms."""
    write_phantoms(folder / "phantoms", PhantomOptions(60, 64, 0, prevalence="even"))
    store, run = folder / "store", folder / "run"
    prepare(read_source("chexpert", folder / "phantoms"), store, PrepareOptions(SIZE, workers=1))
    train = FinetuneTrainOptions(min_steps=0, epochs=1, batch_size=16, accelerator="cpu")
    hilum.finetune(FinetuneOptions(data=(store,), out=run, backbone="test_resnet", train=train))
    return run


def reasons(films: list[Path], run: Path, folder: Path) -> dict[str, dict[str, str]]:
    """Return by door and film why it could not be read; ``read`` where it could."""
    paths = [str(film) for film in films]
    doors: dict[str, dict[str, str]] = {}
    plain = [path for path in paths if "#" not in path]  # sets have a source of their own
    rows = film_table(pd.DataFrame({"path": plain, "patient": plain}), ())
    catalog = Catalog("bombs", Path("/"), (), rows, len(plain))
    prepare(catalog, folder / "bombs", PrepareOptions(SIZE))
    failed = pd.read_csv(folder / "bombs" / "failures.csv").set_index("path")["reason"]
    doors["prepare"] = {path: failed.get(path, "read") for path in plain}
    result = hilum.predict(run, films, folder / "predictions.csv", "cpu")
    doors["predict"] = {path: result.failed.get(path, "read") for path in paths}
    some = [films[0], *films[1 :: max(1, len(films) // EXPLAINED)]]
    explained = hilum.explain(run, some, ExplainOptions(out=folder / "heatmaps", device="cpu"))
    doors["explain"] = {str(film): explained.failed.get(str(film), "read") for film in some}
    model, doors["python"] = hilum.load(run, "cpu"), {}
    for film in films:
        try:
            model.predict(film)
            doors["python"][str(film)] = "read"
        except hilum.DataError as error:
            doors["python"][str(film)] = str(error).removeprefix(f"{film} could not be read: ")
    return doors


def main() -> None:
    """Print each bomb's outcome and cost; exit 1 where one costs too much or a door differs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=2.0, help="allowed for each")
    parser.add_argument("--only", default="", help="bombs whose names begin so")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        sound = folder / "sound.png"
        cv2.imwrite(str(sound), np.random.default_rng(0).integers(0, 256, (90, 80), np.uint8))
        (folder / "files").mkdir()
        costs, films, faults = [], [sound], []
        for name, film in write_bombs(folder / "files", chosen.only):
            spent = cost(name, film, sound)
            costs.append(spent)
            films.append(film)
            clock = f"{spent.seconds:.2f} s ({spent.waited:.2f} by the clock)"
            say(f"{name}: {spent.outcome}; {clock}, {spent.megabytes:.0f} MB")
            if not (spent.seconds <= chosen.seconds and spent.megabytes <= LIMIT_MB):
                faults.append(f"{name} costs {spent.seconds:.2f} s and {spent.megabytes:.0f} MB")
            if spent.outcome.startswith("decoder"):
                faults.append(f"{name}: {spent.outcome}")
        doors = reasons(films, small_run(folder), folder)
        expected = {str(film): spent.outcome for film, spent in zip(films[1:], costs, strict=True)}
        expected[str(sound)] = "read"
        for door, found in doors.items():
            for film, reason in found.items():
                if reason != expected[film]:
                    faults.append(f"{door}, {Path(film).name}: {reason}, not {expected[film]}")
    for fault in faults:
        say(f"FAULT {fault}")
    most = max(costs, key=lambda one: one.seconds), max(costs, key=lambda one: one.megabytes)
    read = sum(one.outcome == "read" for one in costs)
    summary: dict[str, Any] = {
        "bombs": len(costs),
        "read": read,
        "refused": len(costs) - read,
        "faults": faults,
        "slowest": asdict(most[0]),
        "largest": asdict(most[1]),
        "compared": {door: len(found) for door, found in doors.items()},
        "this_process_mb": peak(os.getpid()),
    }
    if chosen.json:
        say(json.dumps(summary))
    else:
        say(f"{len(costs)} bombs, {read} read, {len(faults)} faults")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
