"""Long-lived decoding processes: a film that kills or hangs its decoder fails alone."""

from __future__ import annotations

import json
import queue
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from hilum.errors import DataError
from hilum.images.decoding.film_process import film_process
from hilum.images.decoding.worker import MEMORY

JOB_SECONDS = 0.2
"""Duration of a job: long beside the cost of sending one, short beside the whole."""
FIRST_FILMS, MOST_FILMS = 4, 512
AHEAD = 2
"""Jobs a worker holds, so that it never waits for the next."""
TRIES = 2
"""A film whose process died is tried once more, alone: the process may have died of something
else."""


class Job(NamedTuple):
    """Consecutive films of one shard."""

    shard: int
    file: str
    """The shard's file while it is written."""
    start: int
    """Index of the first film in the shard."""
    offset: int
    """Byte of the first film in the file."""
    film_bytes: int
    paths: tuple[str, ...]

    def films(self, start: int, stop: int) -> Job:
        """Return the films from ``start`` to ``stop`` as a job of their own."""
        offset = self.offset + start * self.film_bytes
        return self._replace(start=self.start + start, offset=offset, paths=self.paths[start:stop])


class Outcome(NamedTuple):
    """The result for one film: the hash of its stored pixels and its original size, or why it failed."""

    pixels: str | None
    reason: str = ""
    detail: str = ""
    size: tuple[int, int] | None = None
    """Height and width in pixels."""
    flag: str = ""
    """What the film looks like, an entry of `hilum.images.film_check.FLAGS` or its STRANGE."""
    notes: tuple[str, ...] = ()
    """What was odd about a DICOM file, as `hilum.images.read.read_grey` says it."""

    @staticmethod
    def of(answer: Sequence[Any]) -> Outcome:
        """Read a worker's answer for a film: ``[hash, height, width, notes, flag]`` or ``[reason, detail]``."""
        if len(answer) == 2:
            return Outcome(None, *answer)
        pixels, height, width, notes, flag = answer
        return Outcome(pixels, size=(height, width), flag=flag, notes=tuple(notes))


class Setup(NamedTuple):
    """What stays the same for all jobs, sent once to each worker."""

    root: Path
    reader: str
    preparation: dict[str, Any]
    max_pixels: int
    patience: float
    """Seconds that a film may take."""
    memory: int = MEMORY
    """Bytes that a film may take."""
    options: Mapping[str, Any] = MappingProxyType({})
    """The reader's own, by name."""


class _Worker:
    """A decoding process, the jobs it has, and a thread that reads its answers."""

    def __init__(self, setup: Setup, answers: queue.SimpleQueue[Any]) -> None:
        self.ready = False
        self.jobs: dict[int, Job] = {}
        self.process = film_process()
        self._reader = threading.Thread(target=self._read, args=(answers,), daemon=True)
        self._reader.start()
        self.process.send({**setup._asdict(), "root": None, "options": dict(setup.options)})

    def end(self) -> None:
        """Kill the process and close all that belongs to it."""
        self.process.kill()
        self._reader.join()  # before the pipe that it reads is closed
        self.process.end()

    def _read(self, answers: queue.SimpleQueue[Any]) -> None:
        for line in self.process.output:
            if line.endswith(b"\n"):
                answers.put((self, json.loads(line)))
        answers.put((self, None))


class Pool:
    """Decoding processes that live as long as the pool; use it in a ``with`` block.

    Raises on use:
        OSError: A shard cannot be written (the disk is full, say).
        DataError: The processes cannot be started, or keep being killed.
    """

    def __init__(
        self,
        workers: int,
        setup: Setup,
        lost: Callable[[Job | None, str], None] = lambda _film, _how: None,
    ) -> None:
        """Start so many processes.

        Args:
            workers: How many.
            setup: What stays the same for all jobs.
            lost: Called for each process that dies and is replaced, with the film that it was at, if
                any, and how it ended. One that ends itself because a film hangs does not count.
        """
        self._setup, self._lost = setup, lost
        self._answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._returned: deque[Job] = deque()
        """Jobs that lost workers had not done."""
        self._tries: dict[tuple[int, int], int] = {}
        self._sent = 0
        self._idle_deaths = 0
        self._seconds_a_film: float | None = None
        self._workers: list[_Worker] = []
        self.start(workers)

    def __enter__(self) -> Pool:
        """Return the pool."""
        return self

    def __exit__(self, *_: object) -> None:
        """End all processes at once, also those that are decoding."""
        self.end()

    @property
    def jobs(self) -> int:
        """How many jobs its processes hold at once."""
        return AHEAD * len(self._workers)

    def start(self, workers: int) -> None:
        """Start processes until there are so many."""
        while len(self._workers) < workers:
            self._workers.append(_Worker(self._setup, self._answers))

    def end(self) -> None:
        """End all processes at once."""
        for worker in self._workers:
            worker.end()

    def run(self, next_job: Callable[[int], Job | None]) -> Iterator[tuple[Job, list[Outcome]]]:
        """Do all jobs; yield each with its films' outcomes, in the order in which they end.

        A job comes back in pieces where one of its films killed the process.

        Args:
            next_job: Called with the most films that the next job may have; None when there are no
                more.
        """
        while True:
            self._send_jobs(next_job)
            if not any(worker.jobs for worker in self._workers):
                return
            worker, answer = self._answers.get()
            if answer is None:
                yield from self._replace_lost(worker)
                continue
            worker.ready = True
            if "fault" in answer:
                raise OSError(*answer["fault"])
            if "films" in answer:  # else its first line: it is ready
                job = worker.jobs.pop(answer["number"])
                pace = answer["seconds"] / len(job.paths)
                before = self._seconds_a_film
                self._seconds_a_film = pace if before is None else (before + pace) / 2
                yield job, [Outcome.of(film) for film in answer["films"]]

    def _send_jobs(self, next_job: Callable[[int], Job | None]) -> None:
        most = FIRST_FILMS
        if self._seconds_a_film is not None:
            most = max(1, min(MOST_FILMS, int(JOB_SECONDS / max(self._seconds_a_film, 1e-6))))
        for worker in self._workers:
            while len(worker.jobs) < AHEAD:
                job = self._returned.popleft() if self._returned else next_job(most)
                if job is None:
                    return
                self._sent += 1
                worker.jobs[self._sent] = job
                worker.process.send(
                    {
                        "number": self._sent,
                        "shard": job.file,
                        "offset": job.offset,
                        "paths": job.paths,
                        "root": str(self._setup.root),
                    }
                )

    def _replace_lost(self, worker: _Worker) -> Iterator[tuple[Job, list[Outcome]]]:
        """Replace a dead process; return its jobs, but for a film that killed two processes."""
        status, errors = worker.process.wait(), worker.process.errors()[-2000:]
        number, index = worker.process.current_film()
        worker.end()
        if not worker.ready:
            last = " ".join(errors.split())[-200:] or f"status {status}"
            raise DataError(f"a decoding process cannot start ({last}): is there memory left?")
        assert status is not None
        self._workers.remove(worker)
        if status != -signal.SIGALRM:
            at = worker.jobs.get(number)
            how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
            self._lost(None if at is None else at.films(index, index + 1), how)
        if number not in worker.jobs:
            self._idle_deaths += 1
            if self._idle_deaths > 100:
                raise DataError(
                    f"decoding processes keep dying between films (status {status}): does something kill them?"
                )
        for sent, job in worker.jobs.items():
            if sent != number:
                self._returned.append(job)
                continue
            others = job.films(0, index), job.films(index + 1, len(job.paths))
            self._returned.extend(other for other in others if other.paths)
            film = job.films(index, index + 1)
            tries = self._tries[film.shard, film.start] = (
                self._tries.get((film.shard, film.start), 0) + 1
            )
            if tries < TRIES:
                self._returned.append(film)
            else:
                reason, detail = "decoder died", f"exit status {status}"
                if status == -signal.SIGALRM:
                    reason, detail = "decoder hung", f"longer than {self._setup.patience:g} s"
                elif status < 0:  # ended by a signal
                    detail = signal.Signals(-status).name
                yield film, [Outcome(None, reason, detail)]
        self._workers.append(_Worker(self._setup, self._answers))
