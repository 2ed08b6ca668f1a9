"""Blocks of training steps that ``pretrain_speed.py`` compares: Hilum's bare step, its Trainer, and lightly's two."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

import lightly_methods
from film_files import Files
from hilum.arrays import Rows
from hilum.images.films import Films
from hilum.listener import SILENT
from hilum.methods import load_method
from hilum.nn.backbones import Backbone
from hilum.training.batches import Batches, Order, shuffled
from hilum.training.learner import Batch, Learner
from hilum.training.loop import Trainer
from hilum.training.monitor import MonitorSettings, Probe, monitored_rows
from hilum.training.monitor_options import MonitorOptions
from hilum.training.optimiser import build_optimiser
from hilum.training.options import TrainOptions
from hilum.training.run_folder import open_run
from hilum.workflows.train.online_probe import online_probe
from lightly_loader import CropSizes, Loader, fastest_loader, transform
from turns import Block, Step, Turns, repeat

CROPS_IN_MEMORY = 8
FEWEST_STEPS = 4
STEADY = {"swav": {"freeze_epochs": 0, "queue_from_epoch": 0}}
"""Options that bring a method at once to where it is for most of a run: the benchmark's only epoch
is the first."""


@dataclass(frozen=True)
class Setting:
    """What is trained by which method on what; all four blocks of a method share it."""

    files: Files
    films: Films
    method: str
    backbone: str
    size: int
    batch: int
    precision: Literal["32", "bf16-mixed"]
    device: torch.device
    log_every: int = TrainOptions().log_every

    def method_options(self) -> Any:
        """Return the method's own options, at their defaults but for STEADY."""
        options = load_method(self.method).Options()
        return replace(options, **STEADY.get(self.method, {})).for_films(len(self.films))

    def learner(self) -> Learner:
        """Return Hilum's learner, untrained."""
        torch.manual_seed(0)
        return load_method(self.method)(
            Backbone(self.backbone, self.size), self.method_options(), self.size
        )

    def train_options(self) -> TrainOptions:
        """Return the options of Hilum's loop, all but a few at their defaults."""
        return TrainOptions(
            epochs=1,
            batch_size=self.batch,
            size=self.size,
            precision=self.precision,
            accelerator="cuda" if self.device.type == "cuda" else "cpu",
            log_every=self.log_every,
        )

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context in which the network computes."""
        return (
            torch.autocast(self.device.type, torch.bfloat16)
            if self.precision == "bf16-mixed"
            else nullcontext()
        )


def steps_of_a_block(step_seconds: float, block_seconds: float) -> tuple[int, int]:
    """Return how many steps fill a block, and how many lie between two lines of the log, which end with the block.

    That is the loop's default where a block has so many steps, otherwise the whole block.
    """
    steps = max(FEWEST_STEPS, round(block_seconds / step_seconds))
    log_every = min(TrainOptions().log_every, steps)
    return round(steps / log_every) * log_every, log_every


def bare_step(setting: Setting, compile_backend: str = "") -> Step:
    """Return Hilum's step in plain torch on crops in memory, with the loop's own optimiser and defaults.

    With a backend of torch.compile, forward and backward are one program as far as torch can make
    them one; that of inductor is replayed as CUDA graphs on a GPU (mode reduce-overhead).
    """
    options = setting.train_options()
    learner = setting.learner().to(setting.device).train()
    if options.channels_last:
        learner.to(memory_format=torch.channels_last)
    optimiser = build_optimiser(learner, options)
    batches = [batch_in_memory(setting, learner, number) for number in range(CROPS_IN_MEMORY)]
    loss_of: Callable[[Batch], torch.Tensor] = learner
    if compile_backend:
        captured = compile_backend == "inductor" and setting.device.type == "cuda"
        mode = "reduce-overhead" if captured else None
        loss_of = torch.compile(learner, backend=compile_backend, mode=mode)

    def step() -> None:
        batches.append(batches.pop(0))
        with setting.autocast():
            loss = loss_of(batches[0])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learner.parameters(), options.clip)
        optimiser.step()
        optimiser.zero_grad()
        learner.after_step(progress=0.5)

    return step


def batch_in_memory(setting: Setting, learner: Learner, number: int) -> Batch:
    """Return the films' crops on the device."""
    rows = np.arange(number * setting.batch, (number + 1) * setting.batch) % len(setting.films)
    images = torch.from_numpy(setting.films.read(rows)).unsqueeze(1).to(setting.device)
    index, patient = (
        torch.from_numpy(codes).to(setting.device)
        for codes in (rows, setting.films.patient_codes[rows])
    )
    batch = Batch(images, index, patient, patient)
    return batch._replace(crops=learner.make_crops(batch, seed=0))


@dataclass
class Noted:
    """A probe that notes when it ended, which is where a look at the network ends."""

    probe: Probe | None
    ended: float = 0.0

    def __call__(self, learner: Learner) -> Mapping[str, Any]:
        """Probe, if there is something to probe."""
        found = {} if self.probe is None else self.probe(learner)
        self.ended = time.perf_counter()
        return found


@dataclass(frozen=True)
class Aside:
    """Seconds of what happens once an epoch, after the blocks: the look at the network, and the checkpoint."""

    look: float
    checkpoint: float


def take_turns(setting: Setting, turns: Turns, rounds: int, scratch: Path) -> Aside:
    """Run the Trainer, and in between the others; return what follows at the end of its epoch."""
    options = setting.train_options()
    rows = np.arange(len(setting.films))
    count = turns.steps * rounds * setting.batch
    batches = Batches(setting.films, passes(rows, options.seed, count), setting.batch)
    monitor = MonitorOptions()
    probe = Noted(
        online_probe(setting.films, rows, monitor.probe_films, setting.size, options.seed, SILENT)
    )
    monitoring = MonitorSettings(
        setting.films, monitored_rows(rows, monitor.films, options.seed), setting.size, probe=probe
    )
    with open_run(scratch / f"run-{setting.method}", {}) as folder:
        trainer = Trainer(
            setting.learner(),
            batches,
            options,
            folder,
            turns,
            stage="benchmark",
            monitoring=monitoring,
        )
        turns.begin()
        trainer.train()
    return Aside(probe.ended - turns.turn_began, time.perf_counter() - probe.ended)


def passes(rows: Rows, seed: int, count: int) -> Order:
    """Return one long epoch, as many passes over the rows as ``count`` films need.

    So neither a look nor a checkpoint, which an epoch's end brings, falls into one block and not
    into another.
    """
    once = shuffled(rows, seed)
    return Order(
        lambda _: np.concatenate([once(number) for number in range(math.ceil(count / len(rows)))])[
            :count
        ],
        count,
    )


def build_lightly(
    setting: Setting, cores: int, steps: int
) -> tuple[lightly_methods.Method, Loader]:
    """Return lightly's model and the loader that serves it best; the caller closes the loader."""
    torch.manual_seed(0)
    place = lightly_methods.Place(setting.backbone, setting.device, setting.autocast)
    model = lightly_methods.METHODS[setting.method](place, setting.method_options()).train()
    crops = transform(setting.method, crop_sizes(setting))

    def make(workers: int) -> Loader:
        return Loader(setting.files.root, setting.files.paths, crops, setting.batch, workers)

    return model, fastest_loader(make, model.step, cores, steps)


def crop_sizes(setting: Setting) -> CropSizes:
    """Return the sizes of the crops that Hilum's learner makes."""
    learner = setting.learner()
    local_size = getattr(learner, "local_size", 0)
    return CropSizes(setting.size, local_size, getattr(setting.method_options(), "local_crops", 0))


def lightly_blocks(
    setting: Setting, model: lightly_methods.Method, loader: Loader
) -> dict[str, Block]:
    """Return lightly's two kinds of block."""
    with loader.running() as batches:
        ready = [
            [crop.to(setting.device) for crop in next(batches)] for _ in range(CROPS_IN_MEMORY)
        ]

    def bare() -> None:
        ready.append(ready.pop(0))
        model.step(ready[0])

    return {
        "lightly pipeline": partial(loader.train, model.step),
        "lightly bare": partial(repeat, bare),
    }
