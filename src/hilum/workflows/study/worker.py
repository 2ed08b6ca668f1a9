"""The process that brings runs of a study to their end, one after the other, as it is told through a socket.

It is started as ``python -m hilum.workflows.study.worker HANDLE THREADS`` by ``study_pool``,
imports torch once, and ends with the process that started it.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from multiprocessing.connection import Connection
from types import FrameType

import torch

from hilum.listener import Listener
from hilum.training.interrupt import Interrupted
from hilum.training.launcher import end_with_input
from hilum.workflows.study.task import do

EVERY = 0.2
"""Seconds between two messages of progress at least."""


class Telling(Listener):
    """Passes on what a run says."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe, self._told = pipe, -EVERY

    def note(self, line: str) -> None:
        """Pass the line on."""
        self._pipe.send(("note", line))

    def progress(self, stage: str, done: int, total: int, detail: str = "") -> None:
        """Pass on how far a stage is, but not too often."""
        now = time.monotonic()
        if done >= total or now - self._told >= EVERY:
            self._told = now
            self._pipe.send(("progress", stage, done, total, detail))


def main(handle: int, threads: int) -> None:
    """Serve until there is nothing more to do, or a stop is asked for."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    try:
        end_with_input(os.environ)
        if threads:
            torch.set_num_threads(threads)
        pipe = Connection(handle)
        while (task := pipe.recv()) is not None:
            pipe.send(("end", do(task, Telling(pipe))))
    except (Interrupted, EOFError, BrokenPipeError):
        return


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise Interrupted("stopped")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
