"""A process of limited time and memory that reads headers and decodes films; one may do both, one after the other."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from hilum.images.decoding.worker import CURRENT
from hilum.workers.process import WorkerProcess

PIPE_BYTES = 2**18
"""Capacity of a process's input pipe: all its jobs fit, so that sending one never waits for a film
that hangs."""
VARIABLES = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": str(2**25),
    "MALLOC_TRIM_THRESHOLD_": str(2**28),
}
"""Variables of a process. One thread: it is one of several, its sums are too small to be divided, and
each thread's buffers would count as memory. The GNU C library keeps the memory of a film for the next
one, where it would ask the system for new pages each time: a 2500 px film takes about 0.93 of the
processor time (``mallopt`` 3, the two thresholds)."""

_kept: list[FilmProcess] | None = None
"""Processes that wait for other work; None where they are not kept."""


class FilmProcess(WorkerProcess):
    """The process, and the record of the film that it decodes, which outlives it."""

    def __init__(self) -> None:
        """Start it."""
        self._current = tempfile.TemporaryFile()  # noqa: SIM115 - closed by end
        self._current.write(CURRENT.pack(-1, -1))
        self._current.flush()
        handle = self._current.fileno()
        try:
            super().__init__(
                ["-m", "hilum.images.decoding.worker", str(handle)],
                {**os.environ, **VARIABLES},
                reads_output=True,
                pass_fds=[handle],
            )
        except BaseException:
            self._current.close()
            raise
        with suppress(OSError):
            fcntl.fcntl(self.input, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    def send(self, request: dict[str, Any]) -> None:
        """Write one line; whoever reads its answers notices a process that is dead already."""
        with suppress(BrokenPipeError):
            self.input.write(json.dumps(request).encode() + b"\n")
            self.input.flush()

    def current_film(self) -> tuple[int, int]:
        """Return the number of the job that it is at or died at, and the film's index in it."""
        number, index = CURRENT.unpack(os.pread(self._current.fileno(), CURRENT.size, 0))
        return number, index

    def end(self) -> None:
        """End it, and close all that belongs to it."""
        super().end()
        self._current.close()


@contextmanager
def processes_kept() -> Iterator[None]:
    """Keep processes that are done with their work for other work in this block: to import takes them half a second.

    `prepare` of an archive reads all headers first, then decodes. Blocks do not nest.
    """
    global _kept
    waiting: list[FilmProcess] = []
    _kept = waiting
    try:
        yield
    finally:
        _kept = None
        for process in waiting:
            process.end()


def film_process() -> FilmProcess:
    """Return a process without work, a new one where none waits."""
    while _kept:
        process = _kept.pop()
        if process.running:
            return process
        process.end()
    return FilmProcess()


def give_back(process: FilmProcess) -> None:
    """Keep a process that has answered all that it was sent, or end it where none are kept."""
    if _kept is None:
        process.end()
    else:
        _kept.append(process)
