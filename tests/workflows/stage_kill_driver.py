"""Runs every stage of the command line unbroken, then again with SIGKILLs at moments drawn by lot.

The files of both are compared, byte for byte but for times. Each command is forked, which spares it the
imports; none runs in this process, so it has no threads of its own when it forks. Usage:
stage_kill_driver.py FOLDER SEED KILLS [STAGE...]; the last line is JSON.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import re
import select
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning_fabric  # noqa: F401 - imported before the fork, so that no child has to
import pandas as pd
import torch

import hilum.pages.pages
import hilum.workflows.demo.demo
import hilum.workflows.inference.explain
import hilum.workflows.pseudo_label.pseudo_label  # noqa: F401
from hilum.cli import main
from hilum.training.run_folder import read_log

TRAIN = ("--train.batch-size", "8", "--train.log-every", "1", "--train.checkpoint-every", "2")
TRAINED = (*TRAIN, "--train.accelerator", "cpu", "--train.epochs", "2")
MEASURED = ("--min-positives", "1", "--resamples", "20", "--device", "cpu")
SURE = ("--precision", "0.5", "--absent-precision", "0.5", "--level", "0.5", "--rounds", "2")
STAGES: dict[str, tuple[tuple[str, ...], str, int]] = {
    "prepare": (
        *(("prepare", "chexpert", "../phantoms", "--out", "store", "--size", "32", "--dedup"),),
        *("store", 5),
    ),
    "split": (("split", "store", "--val", "0.3", "--test", "0.3"), "", 2),
    "card": (
        ("card", "store", "--out", "card", "--min-positives", "2", "--resamples", "20"),
        *("card", 3),
    ),
    "pretrain": (
        ("pretrain", "moco", "--data", "store", "--out", "moco", "--backbone", "test_resnet"),
        *("moco", 5),
    ),
    "finetune": (
        ("finetune", "--data", "store", "--out", "run", "--init", "moco", "--fraction", "0.5"),
        *("run", 5),
    ),
    "pseudo-label": (
        (
            "pseudo-label",
            "--from",
            "run",
            "--data",
            "store",
            "--out",
            "rounds",
            *SURE,
            "--device",
            "cpu",
        ),
        *("rounds", 5),
    ),
    "evaluate": (("evaluate", "run", "--data", "store", *MEASURED), "", 3),
    "predict": (("predict", "run", "store", "--out", "scores.csv", "--device", "cpu"), "", 2),
    "explain": (
        ("explain", "run", "store", "--out", "heat", "--limit", "3", "--device", "cpu"),
        *("heat", 3),
    ),
    "study": (
        ("study", "--data", "store", "--config", "../plan.yaml", "--out", "study"),
        "study",
        4,
    ),
    "report": (("report", "card"), "", 1),
    "report study": (("report", "study"), "", 1),
    "report run": (("report", "run"), "", 1),
}
"""Words of the command, what is made anew where it ended before it was killed often enough, and how often that is of
40 kills in all."""
MORE = {"pretrain": TRAINED, "finetune": (*TRAINED, "--train.min-steps", "0")}
PLAN = """study:
  backbone: test_resnet
  fractions: [0.5]
  evaluation: {min_positives: 1, resamples: 20, subgroup_patients: 2}
  models: {scratch: {init: random}, other: {init: random, freeze: true}}
  finetune: {patience: 0, train: {min_steps: 0, epochs: 1, batch_size: 8, accelerator: cpu}}
"""
HEARD = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate")
SECONDS = ("images_per_second", "seconds", "time")
TIMED = ["seconds"]
"""Columns of a table with times."""
RATE = re.compile(rb"[\d,.]+ films a second")


class Counted:
    """An audit hook that counts what happens to files of a folder, and tells when a number is reached."""

    def __init__(self, folder: Path, target: int, pipe: int) -> None:
        self.folder, self.target, self.pipe, self.count = str(folder), target, pipe, 0

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Hear of an event of the interpreter."""
        if event in HEARD and isinstance(arguments[0], str | bytes | os.PathLike):
            place = Path(os.fsdecode(arguments[0])).absolute()
            if str(place).startswith(self.folder):
                self.count += 1
                if self.count == self.target:
                    os.write(self.pipe, b"!")


def start(words: tuple[str, ...], folder: Path, target: int) -> tuple[int, int]:
    """Fork a process that runs a command in a folder; return its number and the end of a pipe that tells.

    The pipe gets ``!`` at the target-th event, and at the end the number of events.
    """
    reads, writes = os.pipe()
    child = os.fork()
    if child:
        os.close(writes)
        return child, reads
    code = 1
    try:
        os.close(reads)
        os.chdir(folder)
        said = os.open(folder.parent / "said.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(said, 1)
        os.dup2(said, 2)
        counted = Counted(folder, target, writes)
        sys.addaudithook(counted)
        os.write(said, f"$ {' '.join(words)}\n".encode())
        code = main(words)
        os.write(writes, f" {counted.count}".encode())
    finally:
        os._exit(code)


def finish(words: tuple[str, ...], folder: Path) -> int:
    """Run a command unbroken and return how many events it had."""
    child, pipe = start(words, folder, -1)
    with os.fdopen(pipe) as told:
        events = told.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        raise RuntimeError(f"{' '.join(words)} ended with {code}: {(folder.parent / 'said.txt')}")
    return int(events)


def killed(words: tuple[str, ...], folder: Path, target: int, delay: float) -> bool:
    """Run a command and kill it a delay after its target-th event; return whether it came to that."""
    child, pipe = start(words, folder, target)
    told = os.read(pipe, 1)  # waits for the event or the end
    if told == b"!":
        select.select([pipe], [], [], delay)  # or the end, if that comes first
        os.kill(child, signal.SIGKILL)
    os.close(pipe)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    wait_for_others(folder)
    if code not in (0, -signal.SIGKILL):
        raise RuntimeError(f"{' '.join(words)} ended with {code}: {(folder.parent / 'said.txt')}")
    return code == -signal.SIGKILL


def wait_for_others(folder: Path) -> None:
    """Wait until the processes that a killed one had started are gone: they end with their input."""
    for lock in folder.rglob(".lock"):
        with lock.open("r") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)


def differences(whole: Path, broken: Path) -> Iterator[str]:
    """Yield the files that differ in more than times, and those that only one of the folders has."""
    names = {
        file.relative_to(root).as_posix()
        for root in (whole, broken)
        for file in root.rglob("*")
        if file.is_file() and file.name != ".lock"
    }
    for name in sorted(names):
        ends = [content(root, name) for root in (whole, broken)]
        if ends[0] != ends[1]:
            yield name


def content(root: Path, name: str) -> Any:
    """Return what a file holds, without times and what a resume leaves in a log; None where it is not there."""
    path = root / name
    if not path.is_file():
        return None
    if path.name == "log.jsonl":
        return [
            {key: event.get(key) for key in ("event", "step", "loss", "score", "value", "kept")}
            for event in read_log(path.parent)
            if event.get("event") != "resumed"
        ]
    if path.name in ("metrics.json", "study.json"):
        return timeless(json.loads(path.read_bytes()))
    if path.name == "fine-tunings.csv":
        return pd.read_csv(path).drop(columns=TIMED).to_csv()
    return RATE.sub(b"", path.read_bytes())


def timeless(value: Any) -> Any:
    """Return a value of JSON without times, and without hashes of what has times."""
    if isinstance(value, dict):
        left_out = (*SECONDS, "sha256", "files")
        return {key: timeless(one) for key, one in value.items() if key not in left_out}
    return [timeless(one) for one in value] if isinstance(value, list) else value


def main_of(folder: Path, seed: int, kills: int, stages: list[str]) -> dict[str, Any]:
    """Return what happened: kills by stage, files that differ, and files left written aside."""
    rng, work = random.Random(seed), folder / "work"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plan.yaml").write_text(PLAN, "utf-8")
    finish(("phantom", "phantoms", "--count", "64", "--size", "48", "--seed", "1"), folder)
    commands = {name: (*STAGES[name][0], *MORE.get(name, ())) for name in stages}
    work.mkdir()
    events = {name: finish(words, work) for name, words in commands.items()}
    work.rename(folder / "whole")  # both have the same paths, which some files hold
    work.mkdir()
    shutil.copy(folder / "whole/hilum.key", work)
    planned = {name: max(1, round(kills * STAGES[name][2] / 40)) for name in stages}
    done, seconds, pages = Counter[str](), time.perf_counter(), []
    for name, words in commands.items():
        while done[name] < planned[name]:
            target = rng.randint(1, max(1, events[name] * 2 // 3))
            if killed(words, work, target, rng.choice((0.0, rng.uniform(0, 0.05)))):
                done[name] += 1
            elif made := STAGES[name][1]:
                shutil.rmtree(work / made)
        finish(words, work)
        if name.startswith(
            "report "
        ):  # a page tells of resumes: compared with one that was not broken off
            page = work / words[1] / "report.html"
            first = page.read_bytes()
            finish(words, work)
            pages += [] if page.read_bytes() == first else [name]
            for root in (folder / "whole", work):
                (root / words[1] / "report.html").unlink()
    left = [path.relative_to(work).as_posix() for path in work.rglob("*.part")]
    left += [path.relative_to(work).as_posix() for path in work.rglob("*.old")]
    return {
        "kills": dict(done),
        "total": sum(done.values()),
        "files": sum(path.is_file() for path in work.rglob("*")),
        "differ": [*differences(folder / "whole", work), *pages],
        "left": left,
        "seconds": round(time.perf_counter() - seconds),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    _, given_folder, given_seed, given_kills, *given_stages = sys.argv
    account = main_of(
        Path(given_folder).resolve(), int(given_seed), int(given_kills), given_stages or [*STAGES]
    )
    sys.stdout.write(json.dumps(account) + "\n")
