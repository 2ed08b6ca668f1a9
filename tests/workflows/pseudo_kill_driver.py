"""Runs rounds of pseudo-labels unbroken and broken off again and again, each process forked from this one.

Usage: pseudo_kill_driver.py STORE START FOLDER SIGNAL MOMENT...; a moment is a file below the run that is waited
for, or ``RUN:STEPS``, the steps that a round has logged. The last line is JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import lightning_fabric  # noqa: F401 - imported before the fork, so that no child has to
import torch

from hilum.training.interrupt import Interrupted
from hilum.training.run_folder import read_log
from hilum.workflows.pseudo_label import PseudoLabelOptions, pseudo_label

STOPPED = 130


def rounds(store: Path, run: Path, out: Path) -> None:
    """Run two rounds to their end."""
    how = {"precision": 0.8, "absent_precision": 0.8, "level": 0.8, "patience": 2, "rounds": 2, "device": "cpu"}
    pseudo_label(run, PseudoLabelOptions(data=(store,), out=out, **how))


def begin(store: Path, run: Path, out: Path) -> int:
    """Fork a process that runs the rounds, and return its number."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        rounds(store, run, out)
        code = 0
    except (Interrupted, KeyboardInterrupt):
        code = STOPPED
    finally:
        os._exit(code)


def come(out: Path, moment: str) -> bool:
    """Whether a moment has come."""
    run, _, steps = moment.partition(":")
    if not steps:
        return (out / run).exists()
    return sum("loss" in event for event in read_log(out / run)) >= int(steps)


def break_off(store: Path, run: Path, out: Path, moment: str, number: int) -> int | None:
    """Begin, send a signal at a moment, and return the exit status; None if it ended before."""
    child = begin(store, run, out)
    while not come(out, moment):
        if os.waitpid(child, os.WNOHANG)[0]:
            return None
        time.sleep(0.001)
    os.kill(child, number)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(store: Path, run: Path, folder: Path, number: int, moments: list[str]) -> dict[str, object]:
    """Return the exit statuses."""
    whole = os.waitstatus_to_exitcode(os.waitpid(begin(store, run, folder / "whole"), 0)[1])
    ends = [break_off(store, run, folder / "broken", moment, number) for moment in moments]
    last = os.waitstatus_to_exitcode(os.waitpid(begin(store, run, folder / "broken"), 0)[1])
    return {"codes": [whole, last], "ends": ends}


if __name__ == "__main__":
    torch.set_num_threads(1)
    _, given_store, given_run, given_folder, given_signal, *given_moments = sys.argv
    places = Path(given_store), Path(given_run), Path(given_folder)
    account = main(*places, signal.Signals[given_signal], given_moments)
    sys.stdout.write(json.dumps(account) + "\n")
