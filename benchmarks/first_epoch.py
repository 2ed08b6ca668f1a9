"""How much slower is the first epoch of a run because every film's pixels are compared with their hash?

Each build prepares a store of the same phantoms in its own format. Then ``finetune`` for one epoch,
in a process of its own after a run on a few films (so that imports do not count), in turns for this
build and the one of ``--against``, ``--repeats`` times. Seconds are of the processor, user and
system, of all threads, from the first images that are read for training until the run ends; one
thread computes. ``ratio`` is this build's over the other's in the same round, an odd round beginning
with the other build.
Run: ``python benchmarks/first_epoch.py --json --against ../8a8bc99/src``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from million_rows import in_own_process, named, processor_seconds, spread
from said import say

WARM_FILMS = 60


def write(folder: Path, films: int, size: int) -> None:
    """Draw phantoms and prepare them as this build does, a few and ``films`` of them."""
    for name, count in (("warm", WARM_FILMS), ("films", films)):
        if (folder / name / "manifest.json").is_file():
            continue
        drawn = folder / f"{name}-phantoms"
        for command in (
            ["phantom", str(drawn), "--count", str(count), "--size", str(size)],
            ["prepare", "chexpert", str(drawn), "--out", str(folder / name), "--size", str(size)],
        ):
            subprocess.run(
                [sys.executable, "-m", "hilum", *command], check=True, capture_output=True
            )


def first_epoch(store: Path, out: Path, backbone: str) -> float:
    """Return the processor's seconds from the first images that are read until the run of one epoch ends."""
    finetune = named("workflows.train.finetune:finetune", "workflows.finetune:finetune")
    options, train = (
        named(f"workflows.train.options:{name}", f"workflows.options:{name}")
        for name in ("FinetuneOptions", "FinetuneTrainOptions")
    )
    fewest = {"min_steps": 0} if "min_steps" in train.__dataclass_fields__ else {}
    films_class = named("images.films:Films")
    read, began = films_class.read, []

    def noted(films: Any, rows: Any) -> Any:
        began.append(processor_seconds())
        return read(films, rows)

    films_class.read = noted
    try:
        finetune(
            options(
                data=(store,),
                out=out,
                backbone=backbone,
                train=train(epochs=1, accelerator="cpu", **fewest),
            )
        )
    finally:
        films_class.read = read
    return processor_seconds() - began[0]


def compare(chosen: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Measure both builds in turns."""
    builds = {"this": Path(__file__).resolve().parents[1] / "src", "against": chosen.against}
    sizes = "--films", str(chosen.films), "--size", str(chosen.size)
    for name, source in builds.items():
        in_own_process(folder / name, source, "--write", *sizes, script=__file__)
    seconds: dict[str, list[float]] = {name: [] for name in builds}
    for round_ in range(chosen.repeats):
        for name in list(builds) if round_ % 2 == 0 else list(builds)[::-1]:
            last = in_own_process(
                folder / name,
                builds[name],
                "--measure",
                "--backbone",
                chosen.backbone,
                script=__file__,
            )
            seconds[name].append(float(last))
        if not chosen.json:
            say(f"round {round_ + 1}: {seconds['this'][-1]:.2f} s, {seconds['against'][-1]:.2f} s")
    pairs = zip(seconds["this"], seconds["against"], strict=True)
    return {
        "films": chosen.films,
        "size": chosen.size,
        "backbone": chosen.backbone,
        "repeats": chosen.repeats,
        "seconds_this": spread(seconds["this"]),
        "seconds_against": spread(seconds["against"]),
        "ratio": spread([mine / theirs for mine, theirs in pairs]),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--films", type=int, default=1500)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--backbone", default="resnet10t")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--against", type=Path, help="src of another checkout, measured in turns")
    parser.add_argument(
        "--out", type=Path, help="keep the stores there, and use those that are there"
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--write", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.write:
        write(chosen.out, chosen.films, chosen.size)
        return
    if chosen.measure:
        with tempfile.TemporaryDirectory() as scratch:
            first_epoch(chosen.out / "warm", Path(scratch) / "warm", chosen.backbone)
            say(str(first_epoch(chosen.out / "films", Path(scratch) / "films", chosen.backbone)))
        return
    if chosen.against is None:
        parser.error("--against is needed: the src of the checkout to compare with")
    with tempfile.TemporaryDirectory() as scratch:
        result = compare(chosen, chosen.out or Path(scratch))
    say(json.dumps(result) if chosen.json else str(result))


if __name__ == "__main__":
    main()
