"""One contestant of ``time_to_quality.py``: trains in its own process, and waits at fixed steps until it may go on.

It is given a specification as JSON on the command line and runs with the source of its own build on
PYTHONPATH: today's Hilum, an earlier one, or none (lightly). At each moment it writes the backbone's
weights, prints a line of JSON with the processor seconds of training alone (of all its threads and
loader processes), and waits for a line on its standard input. Killed, it goes on from its last
checkpoint.
"""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch


def processor_seconds() -> float:
    """Return the processor seconds of this process's threads and of its living children (Linux)."""
    total = time.process_time()
    tick = os.sysconf("SC_CLK_TCK")
    for task in Path("/proc/self/task").iterdir():
        for child in (task / "children").read_text().split():
            fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / tick
    return total


class Progress:
    """Counts what training costs, and stops at the moments; what is written there is not counted."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.out, self.moments = Path(spec["out"]), set(spec["moments"])
        self.out.mkdir(parents=True, exist_ok=True)
        self.tally = self.out / "seconds.jsonl"
        self.cpu = self.clock = 0.0
        self.began: tuple[float, float] | None = None

    def resume(self, step: int) -> None:
        """Begin to count, from what an interrupted run had used up to this step."""
        if step and self.tally.is_file():
            lines = [json.loads(line) for line in self.tally.read_text().splitlines()]
            earlier = [line for line in lines if line["step"] <= step]
            self.cpu, self.clock = (earlier[-1]["cpu"], earlier[-1]["clock"]) if earlier else (0, 0)
        self._start()

    def reached(self, step: int, network: torch.nn.Module) -> None:
        """Note the seconds at this step; at a moment write the weights and wait."""
        if self.began is None:
            return
        self.cpu += processor_seconds() - self.began[0]
        self.clock += time.monotonic() - self.began[1]
        line = json.dumps({"step": step, "cpu": self.cpu, "clock": self.clock})
        with self.tally.open("a") as file:
            file.write(line + "\n")
        if step in self.moments:
            self.moments.discard(step)
            aside = self.out / "weights.tmp"
            torch.save(network.state_dict(), aside)
            aside.replace(self.out / f"weights-{step}.pt")
            print(line, flush=True)
            if not sys.stdin.readline():
                raise SystemExit("the benchmark has ended")
        self._start()

    def _start(self) -> None:
        self.began = (processor_seconds(), time.monotonic())


def train_hilum(spec: dict[str, Any], progress: Progress) -> None:
    """Train by ``hilum pretrain`` of the build on PYTHONPATH, for so many steps."""
    from hilum.listener import Listener
    from hilum.methods import load_method
    from hilum.training.loop import Trainer
    from hilum.training.options import TrainOptions

    try:
        from hilum.training.monitor_options import MonitorOptions
        from hilum.workflows.train.options import PretrainOptions
        from hilum.workflows.train.pretrain import pretrain

        quiet: dict[str, Any] = {"monitor": MonitorOptions(every=0)}
    except ImportError:  # before 0.1.0
        from hilum.training.watch_options import (  # type: ignore[import-not-found,no-redef]
            WatchOptions,
        )
        from hilum.workflows.options import (  # type: ignore[import-not-found,no-redef]
            PretrainOptions,
        )
        from hilum.workflows.pretrain import (  # type: ignore[import-not-found,no-redef]
            pretrain,
        )

        quiet = {"watch": WatchOptions(every=0)}
    trainers: list[Any] = []
    whole = Trainer.train

    def train(self: Any) -> Any:
        self.total = spec["steps"]  # any number of steps, also in builds that know only epochs
        trainers.append(self)
        return whole(self)

    class Hears(Listener):
        def progress(self, stage: str, done: int, total: int, detail: str = "") -> None:  # noqa: ARG002
            if not trainers:
                return
            if progress.began is None:
                progress.resume(trainers[0].state.step)
            if done:
                progress.reached(done, trainers[0].learner.backbone.network)

    Trainer.train = train  # type: ignore[method-assign]
    method = load_method(spec["method"])
    options = {"epochs": 1, "accelerator": "cpu", "log_every": spec["log_every"]}
    options |= {"checkpoint_every": spec["checkpoint_every"], "seed": spec["seed"], **spec["train"]}
    sizes = {key: tuple(value) for key, value in options.items() if isinstance(value, list)}
    given = PretrainOptions(
        data=(Path(spec["store"]),),
        out=progress.out / "run",
        backbone=spec["backbone"],
        train=TrainOptions(**(options | sizes)),
        **quiet,
    )
    progress.resume(0)
    progress.began = None  # what comes before the first step is the same for every length
    pretrain(spec["method"], method.Options(**spec["options"]), given, Hears())


def train_lightly(spec: dict[str, Any], progress: Progress) -> None:
    """Train a method of the lightly package on the film files by its own loader, for so many steps."""
    import lightly_methods
    from hilum.methods import load_method
    from lightly_loader import CropSizes, Loader, transform

    torch.manual_seed(spec["seed"])
    place = lightly_methods.Place(spec["backbone"], torch.device("cpu"), nullcontext)
    files = json.loads(Path(spec["files"]).read_text())
    options = load_method(spec["method"]).Options(**spec["options"]).for_films(len(files))
    model = lightly_methods.METHODS[spec["method"]](place, options).train()
    root, saved, step = Path(spec["root"]), progress.out / "checkpoint.pt", 0
    if saved.is_file():
        state = torch.load(saved, weights_only=True)
        step = state["step"]
        model.load_state_dict(state["model"])
        model.optimiser.load_state_dict(state["optimiser"])
    crops = transform(spec["method"], CropSizes(spec["size"]))
    paths = [root / name for name in files]
    loader = Loader(root, paths, crops, spec["train"]["batch_size"], spec["threads"])
    try:
        with loader.running() as batches:
            progress.resume(step)
            while step < spec["steps"]:
                model.step(next(batches))
                step += 1
                moment = step in progress.moments
                if moment or step % spec["log_every"] == 0:
                    if moment:
                        loader.halt()
                    progress.reached(step, model.backbone)
                    if moment:
                        _save(saved, step, model)
                        loader.go_on()
    finally:
        loader.close()


def _save(path: Path, step: int, model: Any) -> None:
    state = {"step": step, "model": model.state_dict(), "optimiser": model.optimiser.state_dict()}
    torch.save(state, path.with_suffix(".tmp"))
    path.with_suffix(".tmp").replace(path)


def main() -> None:
    """Train as the specification says."""
    spec = json.loads(sys.argv[1])
    torch.set_num_threads(spec["threads"])
    progress = Progress(spec)
    (train_lightly if spec["kind"] == "lightly" else train_hilum)(spec, progress)
    print(json.dumps({"done": True}), flush=True)


if __name__ == "__main__":
    main()
