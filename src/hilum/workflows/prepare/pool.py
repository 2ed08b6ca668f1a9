"""Long-lived decoding processes: a film that kills or hangs its decoder costs that film, and nothing waits for it."""

from __future__ import annotations

import fcntl
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from hilum.errors import DataError
from hilum.workflows.prepare.worker import PLACE

JOB_SECONDS = 0.2
"""Jobs are cut to take about that long: long against the cost of passing one, short against the
whole."""
FIRST_FILMS, MOST_FILMS = 4, 512
PIPE_BYTES = 2**18
"""Room for the jobs that a worker holds, so that handing one out never waits for a film that
hangs."""
AHEAD = 2
"""Jobs a worker holds, so that it never waits for the next."""
TRIES = 2
"""A film that took its process down is tried once more, alone: the process may have died of
something else."""


class Job(NamedTuple):
    """Films that lie side by side in one shard."""

    shard: int
    file: str
    """The shard's file while it is written."""
    start: int
    """Place of the first film in the shard."""
    offset: int
    """Byte of the first film in the file."""
    film_bytes: int
    paths: tuple[str, ...]

    def part(self, start: int, stop: int) -> Job:
        """Return the films from ``start`` to ``stop`` of this job as a job."""
        offset = self.offset + start * self.film_bytes
        return self._replace(start=self.start + start, offset=offset, paths=self.paths[start:stop])


class Outcome(NamedTuple):
    """What became of one film: the hash of its stored pixels and its size as it came, or a reason and its detail."""

    pixels: str | None
    reason: str = ""
    detail: str = ""
    size: tuple[int, int] | None = None
    """Height and width in pixels."""

    @staticmethod
    def of(answer: Sequence[Any]) -> Outcome:
        """Return what a worker answers of a film: ``[hash, height, width]`` or ``[reason, detail]``."""
        if len(answer) == 2:
            return Outcome(None, *answer)
        pixels, height, width = answer
        return Outcome(pixels, size=(height, width))


class Setup(NamedTuple):
    """What a worker is told once."""

    root: Path
    reader: str
    preparation: dict[str, Any]
    max_pixels: int
    patience: float


class _Worker:
    """One process, what it was given, and a thread that listens to it."""

    def __init__(
        self, name: int, setup: Setup, folder: Path, heard: queue.SimpleQueue[Any]
    ) -> None:
        self.name = name
        self.ready = False
        self.jobs: dict[int, Job] = {}
        self.place, self.errors = folder / f"place-{name}", folder / f"errors-{name}"
        self.place.write_bytes(PLACE.pack(-1, -1))
        search = os.pathsep.join(entry or os.getcwd() for entry in sys.path)  # noqa: PTH109 - as Python means it
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "hilum.workflows.prepare.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, "PYTHONPATH": search},
                process_group=0,  # Ctrl-C is for this process to handle
            )
        with suppress(OSError):
            fcntl.fcntl(self.process.stdin, fcntl.F_SETPIPE_SZ, PIPE_BYTES)  # type: ignore[arg-type]
        self.listener = threading.Thread(target=self._listen, args=(heard,), daemon=True)
        self.listener.start()
        self.send({**setup._asdict(), "root": None, "place": str(self.place)})

    def send(self, value: dict[str, Any]) -> None:
        """Pass one line; a worker that is dead already is noticed by its listener."""
        with suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(value).encode() + b"\n")  # type: ignore[union-attr]
            self.process.stdin.flush()  # type: ignore[union-attr]

    def end(self) -> None:
        """End the process and everything that belongs to it."""
        self.process.kill()
        self.process.wait()
        self.listener.join()
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(BrokenPipeError):
                pipe.close()  # type: ignore[union-attr]

    def _listen(self, heard: queue.SimpleQueue[Any]) -> None:
        for line in self.process.stdout or ():
            if line.endswith(b"\n"):
                heard.put((self, json.loads(line)))
        heard.put((self, None))


class Pool:
    """Decoding processes that live as long as the pool; use it in a ``with`` block.

    Raises on use:
        DataError: A shard cannot be written (the disk is full, say).
        RuntimeError: The processes cannot be started.
    """

    def __init__(self, workers: int, setup: Setup, folder: Path) -> None:
        """Start the processes; what they leave behind lies in ``folder``."""
        self._setup = setup
        self._heard: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._again: deque[Job] = deque()
        self._tries: dict[tuple[int, int], int] = {}
        self._given = 0
        self._blameless_deaths = 0
        self._seconds_a_film: float | None = None
        self._folder = tempfile.TemporaryDirectory(
            prefix="pool-", dir=folder, ignore_cleanup_errors=True
        )
        self._spawned = 0
        self._workers: list[_Worker] = []
        for _ in range(workers):
            self._spawn()

    def __enter__(self) -> Pool:
        """Return the pool."""
        return self

    def __exit__(self, *_: object) -> None:
        """End all processes, whatever they are at."""
        for worker in self._workers:
            worker.end()
        self._folder.cleanup()

    def run(self, next_job: Callable[[int], Job | None]) -> Iterator[tuple[Job, list[Outcome]]]:
        """Do all jobs; yield each with its films' outcomes, in the order in which they end.

        A job comes back in parts where a film of it brought its process down.

        Args:
            next_job: Called with the most films that the next job may have; None when there are no
                more.
        """
        while True:
            self._hand_out(next_job)
            if not any(worker.jobs for worker in self._workers):
                return
            worker, message = self._heard.get()
            yield from (
                self._replace_lost(worker) if message is None else self._hear(worker, message)
            )

    def _spawn(self) -> None:
        self._spawned += 1
        self._workers.append(
            _Worker(self._spawned, self._setup, Path(self._folder.name), self._heard)
        )

    def _hand_out(self, next_job: Callable[[int], Job | None]) -> None:
        for worker in self._workers:
            while len(worker.jobs) < AHEAD:
                job = self._again.popleft() if self._again else next_job(self._most_films())
                if job is None:
                    return
                self._given += 1
                worker.jobs[self._given] = job
                message = {
                    "number": self._given,
                    "shard": job.file,
                    "offset": job.offset,
                    "paths": job.paths,
                }
                worker.send({**message, "root": str(self._setup.root)})

    def _most_films(self) -> int:
        if self._seconds_a_film is None:
            return FIRST_FILMS
        return max(1, min(MOST_FILMS, int(JOB_SECONDS / max(self._seconds_a_film, 1e-6))))

    def _hear(
        self, worker: _Worker, message: dict[str, Any]
    ) -> Iterator[tuple[Job, list[Outcome]]]:
        worker.ready = True
        if "fault" in message:
            raise DataError(
                f"cannot write the store: {message['fault']}. Mend that and run the same again: it resumes."
            )
        if "films" in message:
            job = worker.jobs.pop(message["number"])
            pace = message["seconds"] / len(job.paths)
            self._seconds_a_film = (
                pace if self._seconds_a_film is None else (self._seconds_a_film + pace) / 2
            )
            yield job, [Outcome.of(film) for film in message["films"]]

    def _replace_lost(self, worker: _Worker) -> Iterator[tuple[Job, list[Outcome]]]:
        """Replace a dead process; give its jobs back, but for the film that it died of twice."""
        status = worker.process.wait()
        worker.end()
        if not worker.ready:
            raise RuntimeError(
                f"a decoding process cannot start: {worker.errors.read_text(errors='replace')[-2000:]}"
            )
        self._workers.remove(worker)
        number, place = PLACE.unpack(worker.place.read_bytes())
        if number not in worker.jobs:
            self._blameless_deaths += 1
            if self._blameless_deaths > 100:
                raise RuntimeError(f"decoding processes keep dying between films (status {status})")
        for given, job in worker.jobs.items():
            if given != number:
                self._again.append(job)
                continue
            parts = job.part(0, place), job.part(place + 1, len(job.paths))
            self._again.extend(part for part in parts if part.paths)
            yield from self._try_again(job.part(place, place + 1), status)
        self._spawn()

    def _try_again(self, film: Job, status: int) -> Iterator[tuple[Job, list[Outcome]]]:
        tries = self._tries[film.shard, film.start] = (
            self._tries.get((film.shard, film.start), 0) + 1
        )
        if tries < TRIES:
            self._again.append(film)
        else:
            yield film, [_cause(status, self._setup.patience)]


def _cause(status: int, patience: float) -> Outcome:
    """Return the outcome of a film whose process ended with that status, negative for a signal."""
    if status == -signal.SIGALRM:
        return Outcome(None, "decoder hung", f"longer than {patience:g} s")
    if status < 0:
        return Outcome(None, "decoder died", signal.Signals(-status).name)
    return Outcome(None, "decoder died", f"exit status {status}")
