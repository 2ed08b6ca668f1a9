"""How long pretraining takes to reach a quality: this build's recipe, an earlier build, and lightly, in turns.

From the same films, cores, network, batch and seeds: today's recipe for a share of the time T, the
recipe of an earlier build (``--against SRC``, with a store that this build writes) and MoCo and
SimCLR by the public ``lightly`` package with its own loader for T. Every contestant is a process of
its own; they take turns from moment to moment. At each moment a linear probe is fitted to the
features of the same films and scored on others of other patients (``--scored train``, a third of
the training patients, to choose by; ``test`` for the result). Seconds are processor seconds of
training alone, loaders included, which other work on the machine disturbs less than the clock, and
the clock's are reported beside. How many steps T allows is measured first, in turns.

Run: ``python benchmarks/time_to_quality.py --data ../shared/data/nih14 --against ../old/src --out
quality --json``. The same command goes on where a killed one was. Research use only, not a medical
device.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hilum.arrays import Rows
from hilum.augment.crops import whole_film
from hilum.augment.ops import grey
from hilum.classifier.probes import LinearProbe
from hilum.images.films import Films
from hilum.labels import LabelOptions
from hilum.metrics.ranking import auroc
from hilum.nn.backbones import Backbone
from hilum.workflows.data.subsets import Subsets, truth_of
from hilum.workflows.data.targets import training_labels
from hilum.workflows.train.online_probe import PENALTY, patient_slice

HERE = Path(__file__).resolve().parent
OURS = {"method": "moco", "options": {}, "train": {"sizes": [48], "lr": 1e-3}}
"""This build's recipe, chosen with --scored train (docs/methods.md); with --bf16 in the precision that the
processor computes in hardware."""
THEN = {"method": "moco", "options": {}, "train": {"size": 64, "lr": 1e-3}}
"""The recipe of 8a8bc99: its defaults."""
FEWEST = 20
"""Positive patients among the scored that a finding needs."""
PILOT = 30
"""Steps by which the cost of one is measured."""


@dataclass
class Contestant:
    """A recipe that is trained for ``steps``, and what was measured at its moments."""

    name: str
    spec: dict[str, Any]
    path: str
    budget: float
    rows: list[dict[str, Any]] = field(default_factory=list)
    process: subprocess.Popen[str] | None = None

    def start(self, spec: Mapping[str, Any]) -> None:
        """Start its process, which trains up to its first moment."""
        threads = str(spec["threads"])
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "quality_worker.py"), json.dumps(spec)],
            env={**os.environ, "PYTHONPATH": self.path, "OMP_NUM_THREADS": threads},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if spec["quiet"] else None,
            text=True,
        )

    def go_on(self) -> None:
        """Let it train up to its next moment."""
        if self.process is None or self.process.stdin is None:
            raise ValueError("it has not begun")
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def heard(self) -> dict[str, Any]:
        """Wait for its next moment and return it."""
        if self.process is None or self.process.stdout is None:
            raise ValueError("it has not begun")
        for line in self.process.stdout:
            if line.startswith("{"):
                moment: dict[str, Any] = json.loads(line)
                return moment
        raise SystemExit(f"{self.name} ended early: run again without --quiet to see why")

    def stop(self) -> None:
        """End its process."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


class Probe:
    """A linear probe on the features of fixed films."""

    def __init__(self, store: Path, scored: str, most: int) -> None:
        self.films = Films.open((store,))
        subsets, seed = Subsets.of(self.films), 0
        training = subsets.rows("train")
        if scored == "train":
            parts = patient_slice(training, self.films.patient_codes[training], most, seed)
            self.fitted, self.scored = parts
        else:
            self.fitted, self.scored = training[:most], subsets.rows(scored)
        targets, weights = training_labels(self.films, LabelOptions())
        truth, counts = truth_of(self.films, self.scored, LabelOptions().unstated)
        positives = [
            len(np.unique(self.films.patient_codes[self.scored[(column >= 0.5) & known]]))
            for column, known in zip(truth.T, counts.T, strict=True)
        ]
        least = min(FEWEST, sorted(positives)[-1])
        self.taken = [number for number, count in enumerate(positives) if count >= least]
        self.targets, self.weights = (
            torch.from_numpy(cells[self.fitted][:, self.taken]) for cells in (targets, weights)
        )
        self.truth, self.counts = truth[:, self.taken], counts[:, self.taken]

    def __call__(self, weights: Path, backbone: str, size: int, kind: str) -> float:
        """Return the mean AUROC over findings of the features that these weights give."""
        network = Backbone(backbone, size)
        network.network.load_state_dict(torch.load(weights, weights_only=True))
        network.eval()
        known, asked = (
            self._features(network, rows, size, kind) for rows in (self.fitted, self.scored)
        )
        scores = LinearProbe(known, self.targets, self.weights, PENALTY)(asked).numpy()
        columns = zip(self.truth.T, self.counts.T, scores.T, strict=True)
        return float(
            np.mean([auroc(truth[cells], column[cells]) for truth, cells, column in columns])
        )

    @torch.inference_mode()
    def _features(self, network: Backbone, rows: Rows, size: int, kind: str) -> torch.Tensor:
        """Return the features [n, D] of whole films, each contestant's standardised as it was trained."""
        parts = []
        for block in np.array_split(rows, max(1, len(rows) // 256)):
            images = torch.from_numpy(self.films.read(block)).unsqueeze(1)
            if kind == "lightly":
                images = (torch.nn.functional.interpolate(grey(images), size) - 0.5) / 0.25
            else:
                images = whole_film(images, size)
            parts.append(network(images))
        return torch.cat(parts).clone()


class Benchmark:
    """All runs below one folder."""

    def __init__(self, chosen: argparse.Namespace) -> None:
        self.chosen, self.out = chosen, Path(chosen.out).resolve()
        self.store = self.prepared("store", str(HERE.parent / "src"))
        films = Films.open((self.store,))
        self.rows = Subsets.of(films).rows("train")
        files = [Path(str(name)) for name in films.columns(["path"], self.rows)["path"]]
        # CheXpert's table writes its own folder's name before each file.
        here = [name if (chosen.data / name).exists() else Path(*name.parts[1:]) for name in files]
        (self.out / "files.json").write_text(json.dumps(list(map(str, here))))

    def prepared(self, name: str, path: str) -> Path:
        """Return a store of the films that a build wrote, with the split of seed 0."""
        store = self.out / name
        if (store / "done").is_file():
            return store
        command = [sys.executable, "-m", "hilum"]
        size = str(self.chosen.size)
        for words in (
            (
                "prepare",
                self.chosen.source,
                str(self.chosen.data),
                "--size",
                size,
                "--out",
                str(store),
            ),
            ("split", str(store), "--seed", "0", "--test", "0.2", "--val", "0.1"),
        ):
            subprocess.run(
                [*command, *words],
                check=True,
                env={**os.environ, "PYTHONPATH": path},
                stdout=sys.stderr,
            )
        (store / "done").touch()
        return store

    @cached_property
    def probe(self) -> Probe:
        """The probe that all are measured by."""
        return Probe(self.store, self.chosen.scored, self.chosen.probe_films)

    def contestants(self) -> list[Contestant]:
        """Return who takes part."""
        chosen, here = self.chosen, f"{HERE.parent / 'src'}:{HERE}"
        precision = {"precision": "bf16-mixed"} if chosen.bf16 else {}
        ours = json.loads(chosen.recipe) if chosen.recipe else OURS
        ours = {**ours, "train": {**ours["train"], **precision}, "store": str(self.store)}
        full = chosen.seconds
        names = [Contestant("this build", {**ours, "kind": "hilum"}, here, full * chosen.share)]
        if chosen.against:
            path = str(Path(chosen.against).resolve())
            store = self.prepared("store-then", path)
            self._same_films(store)
            spec = {**THEN, "kind": "hilum", "store": str(store)}
            names.append(Contestant("earlier build", spec, path, full))
        for method in chosen.lightly:
            spec = {"kind": "lightly", "method": method, "options": {}, "train": {}}
            spec |= {
                "files": str(self.out / "files.json"),
                "root": str(Path(chosen.data).resolve()),
            }
            names.append(Contestant(f"lightly {method}", spec, here, full))
        return names

    def _same_films(self, store: Path) -> None:
        """Check that another build's split has the same training patients."""
        ours, theirs = (
            set(json.loads((path / "split.json").read_text())["parts"]["train"])
            for path in (self.store, store)
        )
        if ours != theirs:
            raise SystemExit(f"{store} has another split: {len(ours ^ theirs)} patients differ")

    def spec(
        self, one: Contestant, steps: int, seed: int, folder: Path, moments: Sequence[int]
    ) -> dict[str, Any]:
        """Return what a contestant's process is told."""
        chosen = self.chosen
        spec = {
            **one.spec,
            "backbone": chosen.backbone,
            "size": chosen.size,
            "seed": seed,
            "steps": steps,
            "moments": list(moments),
            "out": str(folder),
            "threads": chosen.threads,
            "log_every": 10,
            "checkpoint_every": moments[0],
            "quiet": chosen.quiet,
        }
        spec["train"] = {"batch_size": chosen.batch, **spec["train"]}
        return spec

    def step_seconds(self, everyone: Sequence[Contestant]) -> dict[str, float]:
        """Return the processor seconds of a step of each: the lesser of two pilots, which took turns."""
        kept = self.out / "step-seconds.json"
        if kept.is_file():
            known: dict[str, float] = json.loads(kept.read_text())
            return known
        shutil.rmtree(self.out / "pilot", ignore_errors=True)  # of a benchmark that was killed
        tried: dict[str, list[float]] = {one.name: [] for one in everyone}
        for turn in range(2):
            for one in everyone:
                folder = self.out / "pilot" / f"{one.name.replace(' ', '-')}-{turn}"
                thirds = [PILOT * part // 6 for part in range(1, 7)]
                one.start(self.spec(one, PILOT, 0, folder, thirds))
                seconds = []
                for _ in thirds:
                    seconds.append(one.heard()["cpu"])
                    one.go_on()
                one.stop()
                # The first steps of each size also build what later ones use again.
                parts = np.diff([0.0, *seconds]).reshape(3, 2)[:, 1]
                tried[one.name].append(float(parts.mean()) / (PILOT / 6))
        shutil.rmtree(self.out / "pilot")
        best = {name: min(seconds) for name, seconds in tried.items()}
        kept.write_text(json.dumps(best))
        return best

    def run(self) -> dict[str, Any]:
        """Train and measure everyone; return all figures."""
        everyone = self.contestants()
        cost = self.step_seconds(everyone)
        runs: dict[str, dict[str, list[dict[str, Any]]]] = {one.name: {} for one in everyone}
        for seed in range(self.chosen.seeds):
            self._seed(seed, everyone, cost)
            for one in everyone:
                runs[one.name][str(seed)] = one.rows
        return {
            "seconds": self.chosen.seconds,
            "share": self.chosen.share,
            "threads": self.chosen.threads,
            "backbone": self.chosen.backbone,
            "size": self.chosen.size,
            "batch": self.chosen.batch,
            "bf16": self.chosen.bf16,
            "scored": self.chosen.scored,
            "films": len(self.rows),
            "scored_films": len(self.probe.scored),
            "findings": len(self.probe.taken),
            "step_seconds": cost,
            "runs": runs,
            "summary": summary(runs),
        }

    def _seed(self, seed: int, everyone: Sequence[Contestant], cost: Mapping[str, float]) -> None:
        count = self.chosen.moments
        try:
            for one in everyone:
                every = max(1, round(one.budget / cost[one.name] / count))
                moments = [every * number for number in range(1, count + 1)]
                folder = self.out / f"{one.name.replace(' ', '-')}-{seed}"
                kept = folder / "moments.json"
                one.rows = json.loads(kept.read_text()) if kept.is_file() else []
                left = moments[len(one.rows) :]
                one.process = None
                if left:
                    one.start(
                        {**self.spec(one, moments[-1], seed, folder, moments), "moments": left}
                    )
            while waiting := [one for one in everyone if len(one.rows) < count]:
                for one in waiting:
                    self._moment(one, self.out / f"{one.name.replace(' ', '-')}-{seed}", seed)
        finally:
            for one in everyone:
                one.stop()

    def _moment(self, one: Contestant, folder: Path, seed: int) -> None:
        """Wait for a contestant's next moment, probe it, and let it go on."""
        moment = one.heard()
        weights = folder / f"weights-{moment['step']}.pt"
        chosen = self.chosen
        value = self.probe(weights, chosen.backbone, chosen.size, one.spec["kind"])
        one.rows.append({**moment, "auroc": round(value, 5)})
        (folder / "moments.tmp").write_text(json.dumps(one.rows))
        (folder / "moments.tmp").replace(folder / "moments.json")
        weights.unlink()
        print(
            f"seed {seed}, {one.name}: {moment['cpu']:.0f} s, step {moment['step']}, AUROC {value:.4f}",
            file=sys.stderr,
        )
        one.go_on()


def summary(runs: Mapping[str, Mapping[str, list[dict[str, Any]]]]) -> dict[str, Any]:
    """Return, against the earlier build: when each first reaches its last AUROC, and the AUROC at equal time."""
    reference = runs.get("earlier build")
    if not reference:
        return {}
    result: dict[str, Any] = {}
    for name, seeds in runs.items():
        ratios, reached, equal = [], [], []
        for seed, rows in seeds.items():
            last = reference[seed][-1]
            first = next((row["cpu"] for row in rows if row["auroc"] >= last["auroc"]), None)
            reached.append(first)
            ratios.append(float("inf") if first is None else first / last["cpu"])
            here = rows[-1]
            before = [row for row in reference[seed] if row["cpu"] <= here["cpu"]]
            equal.append(here["auroc"] - before[-1]["auroc"] if before else None)
        middle = statistics.median(ratios)
        result[name] = {
            "seconds_to_the_earlier_builds_last_auroc": reached,
            "share_of_its_time": [
                None if ratio == float("inf") else round(ratio, 3) for ratio in ratios
            ],
            "median_share": None if middle == float("inf") else round(middle, 3),
            "auroc_at_its_end_minus_the_earlier_builds_at_that_time": equal,
        }
    return result


def lines(result: Mapping[str, Any]) -> str:
    """Return the figures as lines for people."""
    text = []
    for name, seeds in result["runs"].items():
        for seed, rows in seeds.items():
            course = ", ".join(f"{row['cpu']:.0f} s {row['auroc']:.3f}" for row in rows)
            text.append(f"{name}, seed {seed}: {course}")
    text += [
        f"{name}: reaches the earlier build's last AUROC in {found['median_share']} of its time"
        for name, found in result["summary"].items()
    ]
    return "\n".join(text)


def parse() -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="root of the data set")
    parser.add_argument("--source", default="nih14")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--against", type=Path, help="folder src of an earlier build")
    parser.add_argument(
        "--lightly", nargs="*", default=["moco", "simclr"], choices=["moco", "simclr"]
    )
    parser.add_argument(
        "--seconds", type=float, default=1800, help="T in processor seconds: 15 minutes of 2 cores"
    )
    parser.add_argument("--share", type=float, default=1 / 3, help="this build's share of T")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--moments", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--backbone", default="resnet10t")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--bf16", action="store_true", help="this build trains in bf16-mixed")
    parser.add_argument("--recipe", help="this build's recipe as JSON: method, options, train")
    parser.add_argument("--scored", choices=("train", "val", "test"), default="train")
    parser.add_argument("--probe-films", type=int, default=10**6)
    parser.add_argument("--quiet", action="store_true", help="hide what the contestants print")
    parser.add_argument("--json", action="store_true", help="end with one JSON line")
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    chosen = parse()
    chosen.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(chosen.threads)
    result = Benchmark(chosen).run()
    (chosen.out / "result.json").write_text(json.dumps(result, indent=1))
    print(json.dumps(result) if chosen.json else lines(result))


if __name__ == "__main__":
    main()
