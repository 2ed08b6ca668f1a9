"""How much of the bare model step is left once real films have to be read, augmented, logged and scheduled.

Four things take turns, block by block of equally many steps, in one process:

* ``bare``: Hilum's MoCo step on crops that lie on the device: forward, backward, clipping, AdamW, moving average,
* ``pipeline``: Hilum's own Trainer on a prepared store: reading, augmentation, schedule, log and all,
* ``lightly``'s ``bare`` and ``pipeline``: the same of MoCo built from the public package (see lightly_moco.py).

Blocks that are compared are neighbours in time and change places from round to round; the first round is discarded.
``ratio`` = median over the rounds of pipeline speed over bare speed, ``factor`` = of Hilum's pipeline over lightly's.
Run: ``python benchmarks/pretrain_speed.py --json [--data FOLDER]``. README.md beside this file says more.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import tempfile
import time
from contextlib import closing, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from film_files import Files, find_files, make_store
from hilum.images.films import Films
from hilum.methods.moco import MoCo, MoCoOptions
from hilum.nn.backbones import Backbone
from hilum.training.batches import Batches, Order, Rows, shuffled
from hilum.training.learner import Batch
from hilum.training.loop import Trainer
from hilum.training.optimiser import adamw
from hilum.training.options import TrainOptions
from hilum.training.run_folder import open_run
from lightly_moco import Loader, fastest_loader
from lightly_moco import MoCo as LightlyMoCo
from turns import Block, Step, Turns, paired, repeat

CROPS_IN_MEMORY = 8


def passes(rows: Rows, seed: int, count: int) -> Order:
    """Return one long epoch, as many passes over the rows as ``count`` films need.

    So no checkpoint, which an epoch's end brings, falls into one block and not into another.
    """
    once = shuffled(rows, seed)
    return lambda _: np.concatenate([once(number) for number in range(math.ceil(count / len(rows)))])[:count]


@dataclass(frozen=True)
class Setting:
    """What all four have in common."""

    files: Files
    films: Films
    backbone: str
    size: int
    batch: int
    precision: str
    device: torch.device

    def learner(self) -> MoCo:
        """Return Hilum's learner, untrained."""
        torch.manual_seed(0)
        options = MoCoOptions().for_films(len(self.films))
        return MoCo(Backbone(self.backbone, self.size), options, self.size)

    def train_options(self) -> TrainOptions:
        """Return the options of Hilum's loop, all but a few at their defaults."""
        accelerator = "cuda" if self.device.type == "cuda" else "cpu"
        return TrainOptions(
            epochs=1, batch_size=self.batch, size=self.size, precision=self.precision, accelerator=accelerator
        )

    def autocast(self) -> Any:
        """Return the context in which the network computes."""
        return torch.autocast(self.device.type, torch.bfloat16) if self.precision == "bf16-mixed" else nullcontext()


def bare_step(setting: Setting) -> Step:
    """Return Hilum's step in plain torch on crops in memory, with the loop's own optimiser and defaults."""
    options = setting.train_options()
    learner = setting.learner().to(setting.device).train()
    if options.channels_last:
        learner.to(memory_format=torch.channels_last)
    optimiser = adamw(learner, options.lr, options.weight_decay)
    batches = [batch_in_memory(setting, learner, number) for number in range(CROPS_IN_MEMORY)]

    def step() -> None:
        batches.append(batches.pop(0))
        with setting.autocast():
            loss = learner(batches[0])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learner.parameters(), options.clip)
        optimiser.step()
        optimiser.zero_grad()
        learner.after_step(progress=0.5)

    return step


def batch_in_memory(setting: Setting, learner: MoCo, number: int) -> Batch:
    """Return the films' crops on the device."""
    rows = np.arange(number * setting.batch, (number + 1) * setting.batch) % len(setting.films)
    images = torch.from_numpy(setting.films.read(rows)).unsqueeze(1).to(setting.device)
    index, patient = (torch.from_numpy(codes).to(setting.device) for codes in (rows, setting.films.patient_codes[rows]))
    batch = Batch(images, index, patient, patient)
    return batch._replace(crops=learner.make_crops(batch, seed=0))


def take_turns(setting: Setting, turns: Turns, rounds: int, scratch: Path) -> float:
    """Run the Trainer, and in between the others; return the seconds of the checkpoint at its end."""
    options = setting.train_options()
    rows = np.arange(len(setting.films))
    count = turns.steps * rounds * setting.batch
    batches = Batches(setting.films, passes(rows, options.seed, count), count, setting.batch)
    with open_run(scratch / "run", {}) as folder:
        trainer = Trainer(setting.learner(), batches, options, folder, turns, stage="benchmark")
        turns.begin()
        trainer.train()
    return time.perf_counter() - turns.turn_began


def measure(setting: Setting, chosen: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Let all take turns and return the figures."""
    bare = bare_step(setting)
    repeat(bare, 2)
    log_every = setting.train_options().log_every
    steps = log_every * max(1, math.ceil(chosen.block_seconds / repeat(bare, 3) * 3 / log_every))
    ours: dict[str, Block] = {"bare": partial(repeat, bare)}
    if chosen.without_lightly:
        turns = Turns(steps, ours, {})
        return figures(setting, turns, take_turns(setting, turns, chosen.pairs + 1, scratch))
    model, loader = build_lightly(setting, chosen.threads, steps)
    with closing(loader):
        turns = Turns(steps, ours, lightly_blocks(setting, model, loader))
        checkpoint = take_turns(setting, turns, chosen.pairs + 1, scratch)
    found = figures(setting, turns, checkpoint)
    return {**found, "lightly": {"moco": {**lightly_figures(setting, turns), "workers": len(loader.processes)}}}


def build_lightly(setting: Setting, cores: int, steps: int) -> tuple[LightlyMoCo, Loader]:
    """Return lightly's model and the loader that serves it best; the caller closes the loader."""
    torch.manual_seed(0)
    queue_size = MoCoOptions().for_films(len(setting.films)).queue_size
    model = LightlyMoCo(setting.backbone, queue_size, setting.device, setting.autocast)

    def make(workers: int) -> Loader:
        return Loader(setting.files.root, setting.files.paths, setting.size, setting.batch, workers)

    return model, fastest_loader(make, model.step, cores, steps)


def lightly_blocks(setting: Setting, model: LightlyMoCo, loader: Loader) -> dict[str, Block]:
    """Return lightly's two kinds of block."""
    with loader.running() as batches:
        ready = [tuple(crop.to(setting.device) for crop in next(batches)) for _ in range(CROPS_IN_MEMORY)]

    def bare() -> None:
        ready.append(ready.pop(0))
        model.step(ready[0])

    return {"lightly pipeline": partial(loader.train, model.step), "lightly bare": partial(repeat, bare)}


def speed(setting: Setting, turns: Turns, name: str) -> float:
    """Return films a second, the median over the rounds but the first."""
    return round(turns.steps * setting.batch / statistics.median(turns.seconds[name][1:]), 1)


def figures(setting: Setting, turns: Turns, checkpoint: float) -> dict[str, Any]:
    """Return Hilum's speeds and the ratio of pipeline to bare step, also by processor time."""
    bare, pipeline = speed(setting, turns, "bare"), speed(setting, turns, "pipeline")
    ratio = paired(turns.seconds["bare"], turns.seconds["pipeline"])
    found = {
        "bare": bare,
        "pipeline": pipeline,
        "ratio": ratio["median"],
        "ratio_spread": ratio,
        "cpu_ratio": paired(turns.cpu["bare"], turns.cpu["pipeline"])["median"],
        "checkpoint_seconds": round(checkpoint, 3),
        "checkpoint_share_of_epoch": round(checkpoint / (len(setting.films) / pipeline), 4),
    }
    return {"moco": found, "steps_per_block": turns.steps}


def lightly_figures(setting: Setting, turns: Turns) -> dict[str, Any]:
    """Return lightly's speeds, and how many times as fast Hilum's pipeline is."""
    factor = paired(turns.seconds["lightly pipeline"], turns.seconds["pipeline"])
    return {
        "bare": speed(setting, turns, "lightly bare"),
        "pipeline": speed(setting, turns, "lightly pipeline"),
        "factor": factor["median"],
        "factor_spread": factor,
    }


def describe(setting: Setting, chosen: argparse.Namespace) -> dict[str, Any]:
    """Return what was measured where."""
    gpu = torch.cuda.get_device_name() if setting.device.type == "cuda" else None
    return {
        "data": setting.files.words,
        "backbone": setting.backbone,
        "size": setting.size,
        "batch": setting.batch,
        "precision": setting.precision,
        "pairs": chosen.pairs,
        "device": gpu or "cpu",
        "threads": torch.get_num_threads(),
        "cores_of_the_machine": os.cpu_count(),
        "torch": torch.__version__,
    }


def table(result: dict[str, Any]) -> str:
    """Return the result as lines for people."""
    moco, spread = result["moco"], result["moco"]["ratio_spread"]
    lines = [
        f"{result['data']}; {result['backbone']}, {result['size']} px, batch {result['batch']}, {result['device']}",
        f"hilum    bare {moco['bare']:9.1f} films/s   pipeline {moco['pipeline']:9.1f} films/s   "
        f"ratio {moco['ratio']:.3f} ({spread['min']:.3f} to {spread['max']:.3f}, {result['pairs']} pairs)",
    ]
    if "lightly" in result:
        theirs = result["lightly"]["moco"]
        spread = theirs["factor_spread"]
        lines.append(
            f"lightly  bare {theirs['bare']:9.1f} films/s   pipeline {theirs['pipeline']:9.1f} films/s   "
            f"Hilum's pipeline is {theirs['factor']:.2f} times as fast ({spread['min']:.2f} to {spread['max']:.2f})"
        )
    return "\n".join(lines)


def parse() -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="end with one JSON line")
    parser.add_argument("--data", type=Path, help="folder of PNG and JPEG films")
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--precision", choices=("32", "bf16-mixed"), default="32")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="cores to use")
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--block-seconds", type=float, default=8.0)
    parser.add_argument("--without-lightly", action="store_true")
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    chosen = parse()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: chosen.threads])  # loader processes inherit it
    torch.set_num_threads(chosen.threads)
    # As in Hilum's loop, and for lightly too.
    torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = False, True
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        files = find_files(chosen.data, chosen.size, scratch)
        films, seconds = make_store(files, chosen.size, chosen.threads, scratch / "store")
        setting = Setting(
            files, films, chosen.backbone, chosen.size, chosen.batch, chosen.precision, torch.device(chosen.device)
        )
        print(f"{files.words}; prepared in {seconds:.1f} s", file=sys.stderr)
        result = {
            **measure(setting, chosen, scratch),
            **describe(setting, chosen),
            "prepare_seconds": round(seconds, 1),
        }
    print(json.dumps(result) if chosen.json else table(result))


if __name__ == "__main__":
    main()
