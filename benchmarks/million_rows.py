"""How much processor time and memory does a store of a million films take before the first forward pass?

Each build writes a store of ``--films`` rows in its own format, with ``--patients`` patients,
studies, 14 findings with nulls, view, sex, age, long paths, pixel hashes and an official test of 2 %
of the patients. Its images are a sparse file, so the disk holds little beside the table. Beside it is
a model that was trained on the films of the split ``train`` (eight tenths) and 100 films of ``test``.

Each step runs in a process of its own, after the same step on 400 films (so that imports do not
count), in turns for this build and the one of ``--against``:

open         ``Films.open`` of the store
split        then: the split is read and checked, rows of train, of a tenth of it, and of val
first_batch  ``finetune`` from its start to the first images that it reads
evaluate     ``evaluate --split test`` from its start to the first images that it reads

Seconds are of the processor, user and system, of all threads. ``mib`` is the peak of the whole
process, ``mib_more`` how much that is above its memory before the step. ``total`` adds the seconds
of ``first_batch`` and ``evaluate``, each of which opens and splits the store itself, and takes the
larger memory. What a step returns is hashed, and must be the same in both builds.
Run: ``python benchmarks/million_rows.py --json --against ../8a8bc99/src``.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from said import say

STEPS = ("open", "split", "first_batch", "evaluate")
FINDINGS = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Enlarged Cardiomediastinum",
    "Fracture",
    "Lung Lesion",
    "Lung Opacity",
    "No Finding",
    "Pleural Effusion",
    "Pleural Other",
    "Pneumonia",
    "Pneumothorax",
    "Support Devices",
)
SIZE = 16
WARM_FILMS = 400
SEEN_TEST_FILMS = 100


def film_rows(films: int, patients: int, seed: int = 0) -> pd.DataFrame:
    """Return the catalogue's rows, sorted by patient as the public sets are; some patients have many films."""
    rng = np.random.default_rng(seed)
    patient = np.sort(np.floor(patients * rng.random(films) ** 1.5).astype(np.int64))
    first = np.flatnonzero(np.diff(patient, prepend=-1))
    within = np.arange(films) - np.repeat(first, np.diff(first, append=films))
    study = within // 2 + 1
    view = np.where(within % 2 == 0, "frontal", "lateral")
    official = rng.random(patients) < 0.02
    rows = pd.DataFrame(
        {
            "path": [
                f"chest-radiographs/images_{p // 5000:03d}/patient{p:07d}/study{s}/view{w + 1}_{v}.jpg"
                for p, s, w, v in zip(patient, study, within, view, strict=True)
            ],
            "patient": [f"patient{p:07d}" for p in patient],
            "study": [f"patient{p:07d}/study{s}" for p, s in zip(patient, study, strict=True)],
            "view_position": np.where(
                view == "lateral", "LATERAL", rng.choice(["PA", "AP"], films)
            ),
            "sex": np.array(["M", "F", None], object)[rng.integers(0, 21, patients) // 10][patient],
            "age": np.where(rng.random(films) < 0.02, np.nan, rng.integers(18, 95, films)),
            "part": np.where(official[patient], "test", None),
        }
    )
    for finding, rate in zip(FINDINGS, np.geomspace(0.4, 0.01, len(FINDINGS)), strict=True):
        labels = np.where(rng.random(films) < rate, 1.0, 0.0)
        labels[rng.random(films) < 0.3] = np.nan
        labels[rng.random(films) < 0.03] = -1
        rows[finding] = labels
    return rows


def write_rows(folder: Path, films: int, patients: int) -> None:
    """Write a store of that many films, its split, and a run with a model that has seen the split's films."""
    from torch import nn

    from hilum.bundle.description import Description
    from hilum.bundle.model_folder import Model, save_model
    from hilum.catalog import Catalog, film_table
    from hilum.files import write_json
    from hilum.images.enhance import Preparation, pixel_hash
    from hilum.images.films import Films
    from hilum.images.store import HEADER_BYTES, MANIFEST, ShardEntry
    from hilum.nn.backbones import Backbone
    from hilum.splits import Split

    joined, seen_films = (
        named(f"bundle.training_manifest:{name}", f"bundle.seen:{name}")
        for name in ("joined", "seen_films")
    )
    make_manifest, shard_header, shard_name, stored_table, write_failures, write_table = (
        named(f"images.store_writing:{name}", f"images.store:{name}")
        for name in (
            *("make_manifest", "shard_header", "shard_name"),
            *("stored_table", "write_failures", "write_table"),
        )
    )
    split = named("workflows.prepare.split:split", "workflows.split:split")
    split_options = named(
        "workflows.prepare.split:SplitOptions", "workflows.split_options:SplitOptions"
    )
    write_manifest = named("images.store_writing:write_manifest", "images.store:write_json")
    store, table = folder / "store", film_table(film_rows(films, patients), FINDINGS)
    store.mkdir(parents=True)
    catalog = Catalog("synthetic", folder, FINDINGS, table, films)
    with (store / shard_name(0)).open("wb") as file:
        file.write(shard_header(films, SIZE))
        file.truncate(file.tell() + films * SIZE**2)
    images = np.memmap(store / shard_name(0), np.uint8, "r+", HEADER_BYTES, (films, SIZE, SIZE))
    numbers = np.arange(films, dtype=np.int64)
    # Some patients have a film twice.
    twice = np.flatnonzero(table["patient"].to_numpy()[1:] == table["patient"].to_numpy()[:-1])[
        :: max(films // 200, 1)
    ]
    numbers[twice + 1] = numbers[twice]
    images[:, 0, :8] = numbers[:, None].view(np.uint8)  # a film differs from others by its number
    images.flush()
    pixels = [pixel_hash(image) for image in images]
    write_table(store, stored_table(table, pixels, [(2048, 2500)] * films))
    write_failures(store, [])
    shards = [ShardEntry(file=shard_name(0), films=films, sha256="0" * 64)]
    manifest = make_manifest(catalog, Preparation(SIZE), shards, {}, {})
    write_manifest(store if write_manifest is not write_json else store / MANIFEST, manifest)
    split(store, split_options(test=0.1, val=0.1))

    opened, divided = Films.open([store]), Split.load(store)
    test = divided.rows(opened.stores[0].catalog, "test")
    test = test[: min(SEEN_TEST_FILMS, len(test) // 2)]
    train = divided.rows(opened.stores[0].catalog, "train")
    rows = opened.catalog.iloc[np.concatenate([train, test])]
    with suppress(ImportError):  # 8a8bc99 hashed names without a key
        seen_films = partial(
            seen_films, key=importlib.import_module("hilum.group_key").made_key(store)
        )
    seen = joined(seen_films(rows))
    backbone = Backbone("test_resnet", SIZE)
    description = Description(
        "test_resnet",
        SIZE,
        Preparation(SIZE).to_json(),
        "supervised",
        FINDINGS,
        dict.fromkeys(FINDINGS, 0.5),
        training_data={"stores": []},
    )
    head = nn.Linear(backbone.out_features, len(FINDINGS))
    save_model(folder / "run" / "model", Model(description, backbone, head, seen))
    write_json(folder / "run" / "metrics.json", {"training": {}})


class FirstImagesError(Exception):
    """The step has come to the first images that it reads: its rows are known."""

    def __init__(self, rows: np.ndarray) -> None:
        super().__init__("the first images are read")
        self.rows = rows


def named(*places: str) -> Any:
    """Return the first of ``module:name`` that this build has: modules moved since 8a8bc99."""
    for place in places:
        module, name = place.split(":")
        try:
            return getattr(importlib.import_module(f"hilum.{module}"), name)
        except (ImportError, AttributeError):
            continue
    raise SystemExit(f"this build has none of {', '.join(places)}")


def until_images(action: Callable[[], Any]) -> np.ndarray:
    """Run until images are read, and return which."""
    films_class = named("images.films:Films")
    read = films_class.read

    def stop(_: Any, rows: np.ndarray) -> np.ndarray:
        raise FirstImagesError(np.asarray(rows))

    films_class.read = stop
    try:
        action()
    except FirstImagesError as first:
        return first.rows
    finally:
        films_class.read = read
    raise SystemExit("no image was read")


def prepared(step: str, folder: Path, scratch: Path) -> Callable[[], list[np.ndarray]]:
    """Return a step's action, which returns arrays that the builds must agree on."""
    films_class, store = named("images.films:Films"), folder / "store"
    if step == "open":
        return lambda: [np.array([len(films_class.open([store]))])]
    if step == "split":
        parts_class = named(
            "workflows.data.subsets:Subsets",
            "workflows.data.subsets:Parts",
            "workflows.parts:Parts",
        )
        films = films_class.open([store])

        def divide() -> list[np.ndarray]:
            parts = parts_class.of(films)
            return [parts.rows("train"), parts.rows("train", 0.1), parts.rows("val")]

        return divide
    if step == "first_batch":
        finetune = named("workflows.train.finetune:finetune", "workflows.finetune:finetune")
        options, train = (
            named(f"workflows.train.options:{name}", f"workflows.options:{name}")
            for name in ("FinetuneOptions", "FinetuneTrainOptions")
        )
        asked = options(
            data=(store,),
            out=scratch,
            backbone="test_resnet",
            train=train(epochs=1, accelerator="cpu"),
        )
        return lambda: [until_images(lambda: finetune(asked))]
    evaluate = named("workflows.evaluate.evaluate:evaluate", "workflows.evaluate:evaluate")
    options = named(
        "workflows.evaluate.options:EvaluateOptions", "workflows.options:EvaluateOptions"
    )
    fields = options.__dataclass_fields__
    leave_out = "exclude_training_images" if "exclude_training_images" in fields else "drop_seen"
    chosen = options(data=store, device="cpu", **{leave_out: True})
    return lambda: [until_images(lambda: evaluate(folder / "run", chosen))]


def processor_seconds() -> float:
    """Return user and system seconds of all threads of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def memory_mib(key: str) -> float:
    """Return VmRSS (now) or VmHWM (peak) of this process in MiB."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status[key].split()[0]) / 1024


def measure_step(step: str, folder: Path) -> dict[str, Any]:
    """Measure a step in this process, after the same step on a few films."""
    with tempfile.TemporaryDirectory() as scratch:
        prepared(step, folder / "warm", Path(scratch) / "warm")()
        action = prepared(step, folder / "rows", Path(scratch) / "run")
        # A peak before the step is forgotten; what the step frees again counts.
        Path("/proc/self/clear_refs").write_text("5")
        before, began = memory_mib("VmRSS"), processor_seconds()
        arrays = action()
        seconds, peak = processor_seconds() - began, memory_mib("VmHWM")
    digest = hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()
    return {"seconds": seconds, "mib": peak, "mib_more": peak - before, "answer": digest}


def in_own_process(folder: Path, source: Path, *arguments: str, script: str = __file__) -> str:
    """Run a script with the build whose ``src`` is given, with one thread; return its last line."""
    environment = {**os.environ, "PYTHONPATH": str(source.resolve()), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, script, "--out", str(folder), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} with {source} failed:\n{done.stderr}")
    return "".join(done.stdout.splitlines()[-1:])


def spread(values: list[float]) -> dict[str, float]:
    """Return median, least and greatest."""
    return {
        "median": round(statistics.median(values), 4),
        "min": round(min(values), 4),
        "max": round(max(values), 4),
    }


def with_total(steps: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return one round's measurements with their total."""
    whole = [steps["first_batch"], steps["evaluate"]]
    total = {
        "seconds": sum(step["seconds"] for step in whole),
        **{key: max(step[key] for step in whole) for key in ("mib", "mib_more")},
    }
    return {**steps, "total": total}


def compare(chosen: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Measure every step ``--repeats`` times, in turns for the builds."""
    builds = {"this": Path(__file__).resolve().parents[1] / "src"}
    if chosen.against is not None:
        builds["against"] = chosen.against
    for name, source in builds.items():
        sizes = "--films", str(chosen.films), "--patients", str(chosen.patients)
        in_own_process(folder / name, source, "--write", *sizes)
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in builds}
    for repeat in range(chosen.repeats):
        measured: dict[str, dict[str, Any]] = {name: {} for name in builds}
        for number, step in enumerate(STEPS):
            order = list(builds) if (repeat + number) % 2 == 0 else list(builds)[::-1]
            for name in order:
                last = in_own_process(folder / name, builds[name], "--measure", step)
                measured[name][step] = json.loads(last)
            if len({measured[name][step]["answer"] for name in builds}) > 1:
                raise SystemExit(f"{step} returns something else in the two builds")
            if not chosen.json:
                shown = {name: round(measured[name][step]["seconds"], 2) for name in builds}
                say(f"round {repeat + 1}, {step}: processor seconds {shown}")
        for name in builds:
            rounds[name].append(with_total(measured[name]))
    result: dict[str, Any] = {
        "films": chosen.films,
        "patients": chosen.patients,
        "repeats": chosen.repeats,
    }
    for step in (*STEPS, "total"):
        figures: dict[str, Any] = {
            f"{key}_{name}": spread([one[step][key] for one in rounds[name]])
            for name in builds
            for key in ("seconds", "mib", "mib_more")
        }
        if chosen.against is not None:
            pairs = list(zip(rounds["this"], rounds["against"], strict=True))
            for key in ("seconds", "mib", "mib_more"):
                ratios = [mine[step][key] / max(theirs[step][key], 1e-9) for mine, theirs in pairs]
                figures[f"{key}_ratio"] = spread(ratios)
        result[step] = figures
    return result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--films", type=int, default=1_000_000)
    parser.add_argument("--patients", type=int, default=300_000)
    parser.add_argument("--against", type=Path, help="src of another checkout, measured in turns")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--out", type=Path, help="keep the store there, and use it if it is there already"
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--measure", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--write", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.measure:
        say(json.dumps(measure_step(chosen.measure, chosen.out)))
        return
    if chosen.write:
        for name, films, patients in (
            ("warm", WARM_FILMS, WARM_FILMS // 3),
            ("rows", chosen.films, chosen.patients),
        ):
            if not (chosen.out / name / "run" / "metrics.json").is_file():
                write_rows(chosen.out / name, films, patients)
        return
    with tempfile.TemporaryDirectory() as scratch:
        result = compare(chosen, chosen.out or Path(scratch))
    if chosen.json:
        say(json.dumps(result))
        return
    for step in (*STEPS, "total"):
        for key, value in result[step].items():
            say(f"{step} {key}: {value['median']:.3g} ({value['min']:.3g} to {value['max']:.3g})")


if __name__ == "__main__":
    main()
