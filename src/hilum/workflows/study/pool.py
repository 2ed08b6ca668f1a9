"""Where the runs of a study take place: in this process, or in long-lived ones beside it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import FrameType
from typing import Protocol

import torch

from hilum.listener import Listener
from hilum.training.interrupt import Interrupted
from hilum.training.launcher import TIED
from hilum.workflows.study.options import MOST_JOBS
from hilum.workflows.study.task import Task, TaskEnd, do

PATIENCE = 120.0
"""Seconds that a stopped run may take to save."""

Hearing = Callable[[str], Listener]
"""Gives for a run's name who hears what it says."""


class Pool(Protocol):
    """Takes tasks while it has room, and gives their ends."""

    @property
    def room(self) -> int:
        """How many more tasks it takes."""
        ...

    def start(self, task: Task) -> None:
        """Take a task."""
        ...

    def wait(self) -> TaskEnd:
        """Return the next end of a task."""
        ...


class InProcessPool:
    """This process: a task is done when its end is asked for."""

    def __init__(self, hearing: Hearing) -> None:
        self._hearing, self._task = hearing, None

    _task: Task | None

    @property
    def room(self) -> int:
        """One task at a time."""
        return int(self._task is None)

    def start(self, task: Task) -> None:
        """Take a task."""
        self._task = task

    def wait(self) -> TaskEnd:
        """Do the task."""
        if self._task is None:
            raise ValueError("no task was started")
        task, self._task = self._task, None
        return do(task, self._hearing(task.run))


class Worker:
    """One process and the task that it is at."""

    def __init__(self, folder: Path, number: int, threads: int, gpu: str | None) -> None:
        self.number, self.task = number, None
        self.began = 0.0
        mine, its = socket.socketpair()
        self.pipe = Connection(mine.detach())
        self.errors = folder / f"worker-{number}"
        search = os.pathsep.join(entry or os.getcwd() for entry in sys.path)  # noqa: PTH109 - as Python means it
        told = {TIED: "1", "PYTHONPATH": search} | (
            {} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu}
        )
        with self.errors.open("wb") as errors, its:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "hilum.workflows.study.worker",
                    str(its.fileno()),
                    str(threads),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env={**os.environ, **told},
                pass_fds=(its.fileno(),),
                process_group=0,  # Ctrl-C is for this process to handle
            )

    task: Task | None

    def exit_message(self) -> str:
        """Return a line on how the process ended."""
        status = self.process.wait()
        said = self.errors.read_text(encoding="utf-8", errors="replace").splitlines()
        last = next((line.strip() for line in reversed(said) if line.strip()), "it said nothing")[
            :200
        ]
        how = f"by signal {-status}" if status < 0 else f"with status {status}"
        why = "; a lack of memory is the usual reason" if status == -signal.SIGKILL else ""
        return f"its process ended {how} ({last}){why}"

    def end(self) -> None:
        """End the process, whatever it is at."""
        self.process.kill()
        self.process.wait()
        self.pipe.close()
        if self.process.stdin is not None:
            self.process.stdin.close()


class Workers:
    """Several processes, each with its share of the cores or a GPU of its own; started as they are needed."""

    def __init__(self, jobs: int, hearing: Hearing, folder: Path) -> None:
        self._jobs, self._hearing, self._folder = jobs, hearing, folder
        self._workers: list[Worker] = []
        self._ends: list[TaskEnd] = []
        self._spawned = 0

    @property
    def room(self) -> int:
        """How many more tasks it takes."""
        return self._jobs - sum(worker.task is not None for worker in self._workers)

    def start(self, task: Task) -> None:
        """Give a task to a process that has none."""
        worker = self._idle() or self._spawn()
        worker.task, worker.began = task, time.perf_counter()
        with suppress(BrokenPipeError, ConnectionResetError):  # it is gone: `wait` finds that
            worker.pipe.send(task)

    def wait(self) -> TaskEnd:
        """Return the next end of a task; what runs say until then is passed on."""
        while True:
            for pipe in wait([worker.pipe for worker in self._workers]):
                worker = next(worker for worker in self._workers if worker.pipe is pipe)
                end = self._hear(worker)
                if end is not None:
                    return end

    def stop(self) -> None:
        """Ask all to save and stop, and wait for them."""
        for worker in self._workers:
            if worker.task is not None:
                worker.process.send_signal(signal.SIGTERM)
        until = time.monotonic() + PATIENCE
        for worker in self._workers:
            while (
                worker.task is not None
                and worker.process.poll() is None
                and time.monotonic() < until
            ):
                if worker.pipe.poll(0.05) and self._hear(worker) is not None:
                    break

    def close(self) -> None:
        """End all processes."""
        for worker in self._workers:
            worker.end()

    def _idle(self) -> Worker | None:
        """Return a process that has no task; those that died without one cost no run."""
        for worker in [worker for worker in self._workers if worker.task is None]:
            if worker.process.poll() is None:
                return worker
            self._replace_lost(worker)
        return None

    def _hear(self, worker: Worker) -> TaskEnd | None:
        """Take one message of a worker; its death ends the task that it was at."""
        try:
            kind, *said = worker.pipe.recv()
        except (EOFError, ConnectionResetError):
            return self._replace_lost(worker)
        if kind == "end":
            worker.task = None
            return said[0]  # type: ignore[no-any-return]
        if worker.task is not None:
            listener = self._hearing(worker.task.run)
            listener.note(*said) if kind == "note" else listener.progress(*said)
        return None

    def _replace_lost(self, worker: Worker) -> TaskEnd | None:
        self._workers.remove(worker)
        line = worker.exit_message()
        worker.end()
        if worker.task is None:
            return None
        return TaskEnd(worker.task.run, time.perf_counter() - worker.began, error=line)

    def _spawn(self) -> Worker:
        gpus = _gpus()
        gpu = gpus[self._spawned % len(gpus)] if gpus else None
        threads = (
            0
            if "OMP_NUM_THREADS" in os.environ
            else max(1, len(os.sched_getaffinity(0)) // self._jobs)
        )
        worker = Worker(self._folder, self._spawned, threads, gpu)
        self._spawned += 1
        self._workers.append(worker)
        return worker


@contextmanager
def pool_of(jobs: int, hearing: Hearing) -> Iterator[Pool]:
    """Give a pool for so many runs at a time; none of its processes outlives the block.

    Raises:
        Interrupted: SIGINT or SIGTERM came; every run has saved.
    """
    with _stops():
        if jobs == 1:
            yield InProcessPool(hearing)
            return
        with tempfile.TemporaryDirectory(
            prefix="hilum-study-", ignore_cleanup_errors=True
        ) as folder:
            workers = Workers(jobs, hearing, Path(folder))
            try:
                yield workers
            except Interrupted:
                workers.stop()
                raise
            finally:
                workers.close()


def jobs_for(wanted: int) -> int:
    """Return how many runs go on at a time: 0 stands for one for each GPU, or for each core."""
    return wanted or min(MOST_JOBS, torch.cuda.device_count() or len(os.sched_getaffinity(0)))


def _gpus() -> list[str]:
    """Return the GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    count = torch.cuda.device_count()
    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return named[:count] or [str(number) for number in range(count)]


@contextmanager
def _stops() -> Iterator[None]:
    """Raise Interrupted on SIGINT and SIGTERM; a second signal acts as it always did."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def stop(_number: int, _frame: FrameType | None) -> None:
        for number, handler in before.items():
            signal.signal(number, handler)
        raise Interrupted("stopped; all is saved")

    try:
        for number in before:
            signal.signal(number, stop)
    except ValueError:  # not in the main thread, where no signal comes
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
