"""Process pools for the runs of a study: this process, or worker processes."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from types import FrameType
from typing import Protocol

import torch

from hilum.listener import Listener
from hilum.training.interrupt import Interrupted
from hilum.workers.process import WorkerProcess
from hilum.workflows.study.options import MOST_JOBS
from hilum.workflows.study.task import Task, TaskEnd, do

PATIENCE = 120.0
"""Seconds that a stopped run may take to save."""

ListenerOf = Callable[[str], Listener]
"""Returns the listener of the run with this name."""


class Pool(Protocol):
    """Does tasks: `start` one while there is `room`, and `wait` for the next that ends."""

    @property
    def room(self) -> int:
        """How many more tasks it takes."""
        ...

    def start(self, task: Task) -> None:
        """Take a task."""
        ...

    def wait(self) -> TaskEnd:
        """Return how the next task ended."""
        ...


class InProcessPool:
    """This process, which does a task when its end is waited for."""

    def __init__(self, listener_of: ListenerOf) -> None:
        self._listener_of = listener_of
        self._task: Task | None = None

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
        return do(task, self._listener_of(task.run))


class Worker:
    """A worker process, the socket to it, and the task it has."""

    def __init__(self, threads: int, gpu: str | None) -> None:
        self.task: Task | None = None
        self.began = 0.0
        mine, its = socket.socketpair()
        self.pipe = Connection(mine.detach())
        environment = dict(os.environ)
        if gpu is not None:
            environment["CUDA_VISIBLE_DEVICES"] = gpu
        with its:
            self.process = WorkerProcess(
                ["-m", "hilum.workflows.study.worker", str(its.fileno()), str(threads)],
                environment,
                pass_fds=[its.fileno()],
            )

    def exit_message(self) -> str:
        """Return a line on how the process ended."""
        line = f"its process {self.process.exit_message()}"
        killed = self.process.wait() == -signal.SIGKILL
        return f"{line}; a lack of memory is the usual reason" if killed else line

    def end(self) -> None:
        """Kill the process, whatever it does, and close the socket."""
        self.process.end()
        self.pipe.close()


class Workers:
    """Several processes, started when needed, each with some of the cores or a GPU of its own."""

    def __init__(self, jobs: int, listener_of: ListenerOf) -> None:
        self._jobs, self._listener_of = jobs, listener_of
        self._workers: list[Worker] = []
        self._spawned = 0

    @property
    def room(self) -> int:
        """How many more tasks it takes."""
        return self._jobs - sum(worker.task is not None for worker in self._workers)

    def start(self, task: Task) -> None:
        """Send a task to a process that has none."""
        worker = None
        for idle in [worker for worker in self._workers if worker.task is None]:
            if idle.process.running:
                worker = idle
                break
            self._remove_lost(idle)  # it died without a task: no run is lost
        if worker is None:
            count = torch.cuda.device_count()
            visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
            gpus = [name for name in visible if name][:count] or [str(gpu) for gpu in range(count)]
            gpu = gpus[self._spawned % len(gpus)] if gpus else None
            cores = len(os.sched_getaffinity(0))
            threads = 0 if "OMP_NUM_THREADS" in os.environ else max(1, cores // self._jobs)
            worker = Worker(threads, gpu)
            self._spawned += 1
            self._workers.append(worker)
        worker.task, worker.began = task, time.perf_counter()
        with suppress(BrokenPipeError, ConnectionResetError):  # it has died: `wait` notices
            worker.pipe.send(task)

    def wait(self) -> TaskEnd:
        """Return how the next task ended; pass on the runs' notes and progress meanwhile."""
        while True:
            for pipe in wait([worker.pipe for worker in self._workers]):
                worker = next(worker for worker in self._workers if worker.pipe is pipe)
                end = self._receive(worker)
                if end is not None:
                    return end

    def stop(self) -> None:
        """Ask all to save and stop, and wait for them."""
        for worker in self._workers:
            if worker.task is not None:
                worker.process.send_signal(signal.SIGTERM)
        until = time.monotonic() + PATIENCE
        for worker in self._workers:
            while worker.task is not None and worker.process.running and time.monotonic() < until:
                if worker.pipe.poll(0.05) and self._receive(worker) is not None:
                    break

    def close(self) -> None:
        """End all processes."""
        for worker in self._workers:
            worker.end()

    def _receive(self, worker: Worker) -> TaskEnd | None:
        """Read one message of a worker; its death ends the task that it had."""
        try:
            kind, *values = worker.pipe.recv()
        except (EOFError, ConnectionResetError):
            return self._remove_lost(worker)
        if kind == "end":
            worker.task = None
            return values[0]  # type: ignore[no-any-return]
        if worker.task is not None:
            listener = self._listener_of(worker.task.run)
            # note, device or progress, as PipeListener sends them
            getattr(listener, kind)(*values)
        return None

    def _remove_lost(self, worker: Worker) -> TaskEnd | None:
        self._workers.remove(worker)
        line = worker.exit_message()
        worker.end()
        if worker.task is None:
            return None
        return TaskEnd(worker.task.run, time.perf_counter() - worker.began, error=line)


@contextmanager
def pool_of(jobs: int, listener_of: ListenerOf) -> Iterator[Pool]:
    """Open a pool for so many runs at a time; none of its processes outlives the block.

    Raises:
        Interrupted: SIGINT or SIGTERM came; every run has saved.
    """
    with _interrupts():
        if jobs == 1:
            yield InProcessPool(listener_of)
            return
        workers = Workers(jobs, listener_of)
        try:
            yield workers
        except Interrupted:
            workers.stop()
            raise
        finally:
            workers.close()


def jobs_for(jobs: int) -> int:
    """Return how many runs to do at a time; 0 stands for one a GPU, or one a core without GPUs."""
    return jobs or min(MOST_JOBS, torch.cuda.device_count() or len(os.sched_getaffinity(0)))


@contextmanager
def _interrupts() -> Iterator[None]:
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
