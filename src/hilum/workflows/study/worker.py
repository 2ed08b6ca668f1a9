"""The worker process of a study: does one run after the other, as tasks arrive through a socket.

It is started as ``python -m hilum.workflows.study.worker HANDLE THREADS`` by ``study/pool.py``,
imports torch once for all runs, and ends with the process that started it.
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
from hilum.workers.process import end_with_input
from hilum.workflows.study.task import do

EVERY = 0.2
"""Seconds between two messages of progress, at least."""


class PipeListener(Listener):
    """Sends a run's notes and progress through the socket."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe, self._last = pipe, -EVERY

    def note(self, line: str) -> None:
        """Send the line."""
        self._pipe.send(("note", line))

    def device(self, name: str) -> None:
        """Send the device."""
        self._pipe.send(("device", name))

    def progress(self, stage: str, done: int, total: int, detail: str = "") -> None:
        """Send how far a stage is, but not too often."""
        now = time.monotonic()
        if done >= total or now - self._last >= EVERY:
            self._last = now
            self._pipe.send(("progress", stage, done, total, detail))


def main(handle: int, threads: int) -> None:
    """Do tasks until the socket is closed or a signal asks to stop."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise Interrupted("stopped")

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    try:
        end_with_input(os.environ)
        if threads:
            torch.set_num_threads(threads)
        pipe = Connection(handle)
        while (task := pipe.recv()) is not None:
            pipe.send(("end", do(task, PipeListener(pipe))))
    except (Interrupted, EOFError, BrokenPipeError):
        return


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
