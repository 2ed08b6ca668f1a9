"""Runs rounds of pseudo-labels unbroken and broken off again and again, each process forked from this one.

Usage: pseudo_kill_driver.py STORE START FOLDER SIGNAL MOMENT...; a moment is a file below the run
that is there now, or ``RUN:STEPS``, the steps that a round has logged. The last line is JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import lightning_fabric  # noqa: F401 - imported before the fork, so that no child has to
import torch

from hilum.training.interrupt import Interrupted
from hilum.training.run_folder import read_log
from hilum.workflows.pseudo_label.pseudo_label import PseudoLabelOptions, pseudo_label

STOPPED = 130


def rounds(store: Path, run: Path, out: Path) -> None:
    """Run two rounds to their end."""
    how = {
        "precision": 0.8,
        "absent_precision": 0.8,
        "level": 0.8,
        "patience": 2,
        "rounds": 2,
        "device": "cpu",
    }
    pseudo_label(run, PseudoLabelOptions(data=(store,), out=out, **how))


def begin(store: Path, run: Path, out: Path, moment: str = "", number: int = 0) -> int:
    """Fork a process that runs the rounds, and return its number; with a moment it sends itself a signal then."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        if moment:
            sys.addaudithook(Breaker(out, moment, number))
        rounds(store, run, out)
        code = 0
    except (Interrupted, KeyboardInterrupt):
        code = STOPPED
    finally:
        os._exit(code)


class Breaker:
    """An audit hook that breaks its own process off: before each file is opened or renamed it asks for the moment.

    A process that watched from outside could come too late, where the machine is busy.
    """

    def __init__(self, out: Path, moment: str, number: int) -> None:
        self.out, self.number, self.idle = out, number, True
        self.run, _, self.steps = moment.partition(":")

    def __call__(self, event: str, _: tuple[object, ...]) -> None:
        """Hear of an event of the interpreter."""
        if self.idle and event in ("open", "os.rename"):
            self.idle = False  # not to hear of what is opened here
            self.idle = not self.come()
            if not self.idle:
                os.kill(os.getpid(), self.number)

    def come(self) -> bool:
        """Whether the moment has come."""
        if not self.steps:
            return (self.out / self.run).exists()
        return sum("loss" in event for event in read_log(self.out / self.run)) >= int(self.steps)


def ended(child: int) -> int:
    """Wait for a process and return its exit status."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(
    store: Path, run: Path, folder: Path, number: int, moments: list[str]
) -> dict[str, object]:
    """Return the exit statuses."""
    whole = ended(begin(store, run, folder / "whole"))
    ends = [ended(begin(store, run, folder / "broken", moment, number)) for moment in moments]
    last = ended(begin(store, run, folder / "broken"))
    return {"codes": [whole, last], "ends": ends}


if __name__ == "__main__":
    torch.set_num_threads(1)
    _, given_store, given_run, given_folder, given_signal, *given_moments = sys.argv
    places = Path(given_store), Path(given_run), Path(given_folder)
    account = main(*places, signal.Signals[given_signal], given_moments)
    sys.stdout.write(json.dumps(account) + "\n")
