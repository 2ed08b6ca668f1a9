"""Trains one run unbroken and one that is killed again and again, each process forked from this one.

Forking spares every restart the imports of torch, timm and Fabric; nothing is trained in this
process, so it has no threads of its own when it forks. Usage: kill_driver.py KIND STORE FOLDER SEED
KILLS SIGNAL; the last line is JSON.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import lightning_fabric  # noqa: F401 - imported before the fork, so that no child has to
import torch

import hilum.training.loop  # noqa: F401
from hilum.classifier.options import LossOptions
from hilum.labels import LabelOptions
from hilum.methods import load_method
from hilum.training.interrupt import Interrupted
from hilum.training.options import TrainOptions
from hilum.workflows.train.finetune import finetune
from hilum.workflows.train.options import FinetuneOptions, FinetuneTrainOptions, PretrainOptions
from hilum.workflows.train.pretrain import pretrain

BACKBONE = "test_resnet"
STOPPED = 130
CLASSIFIERS: dict[str, dict[str, Any]] = {
    "finetune": {},
    "weighted": {
        "sampler": "weighted",
        "labels": LabelOptions(uncertain="multiclass"),
        "loss": LossOptions(name="focal", positive_weight="balanced"),
    },
}
"""Kinds of fine-tuning, by what is unusual in them."""


def train(kind: str, store: Path, out: Path) -> None:
    """Train one tiny run to its end; steps are logged singly, checkpoints written at every third."""
    loop = {"batch_size": 8, "log_every": 1, "checkpoint_every": 3, "accelerator": "cpu"}
    where = {"data": (store,), "out": out, "backbone": BACKBONE}
    if kind in CLASSIFIERS:
        how = FinetuneTrainOptions(min_steps=0, epochs=12, lr=3e-3, **loop)
        finetune(FinetuneOptions(patience=3, train=how, **CLASSIFIERS[kind], **where))
    else:
        options = load_method(kind).Options()
        pretrain(kind, options, PretrainOptions(train=TrainOptions(epochs=6, **loop), **where))


def start(kind: str, store: Path, out: Path) -> int:
    """Fork a process that trains, and return its number."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        train(kind, store, out)
        code = 0
    except Interrupted:
        code = STOPPED
    finally:
        os._exit(code)


def logged(out: Path) -> list[int]:
    """Return the steps logged so far, whole lines only."""
    log = out / "log.jsonl"
    lines = log.read_bytes().split(b"\n")[:-1] if log.is_file() else []
    events = [json.loads(line) for line in lines]
    return [event["step"] for event in events if "loss" in event]


def break_off(
    kind: str, store: Path, out: Path, target: int, delay: float, number: int
) -> tuple[int, int] | None:
    """Start the run and send it a signal once it has logged the step; return step and exit status, None if it ended."""
    before = len(logged(out))
    child = start(kind, store, out)
    while True:
        new = logged(out)[before:]
        if new and new[-1] >= target:
            break
        if os.waitpid(child, os.WNOHANG)[0]:
            return None
        time.sleep(0.001)
    time.sleep(delay)
    os.kill(child, number)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return logged(out)[-1], status


def finish(kind: str, store: Path, out: Path) -> int:
    """Train without interruption and return the exit status."""
    return os.waitstatus_to_exitcode(os.waitpid(start(kind, store, out), 0)[1])


def main(
    kind: str, store: Path, folder: Path, seed: int, kills: int, number: int
) -> dict[str, object]:
    """Return what happened: exit statuses, steps at which signals came, and writes that a kill cut short."""
    rng = random.Random(seed)
    threads = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").glob("*")]
    whole, broken = folder / "whole", folder / "broken"
    codes = [finish(kind, store, whole)] if not (whole / "metrics.json").is_file() else [0]
    last = logged(whole)[-1]
    ends, cut_short = [], 0
    for target in sorted(rng.randint(1, last - 3) for _ in range(kills)):
        ends.append(
            break_off(kind, store, broken, target, rng.choice((0.0, rng.uniform(0, 0.02))), number)
        )
        cut_short += bool(list(broken.glob("checkpoints/.*.part")))
    codes.append(finish(kind, store, broken))
    return {"threads": threads, "codes": codes, "ends": ends, "cut_short": cut_short, "last": last}


if __name__ == "__main__":
    torch.set_num_threads(1)
    _, given_kind, *given_places, given_seed, given_kills, given_signal = sys.argv
    given_store, given_folder = map(Path, given_places)
    number = signal.Signals[given_signal]
    account = main(given_kind, given_store, given_folder, int(given_seed), int(given_kills), number)
    sys.stdout.write(json.dumps(account) + "\n")
