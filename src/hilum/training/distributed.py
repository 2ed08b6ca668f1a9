"""The processes that train one model together: their ranks, and how they join and leave."""

from __future__ import annotations

import atexit
import os
import re
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import distributed as dist
from torch.distributed import Store, TCPStore, rendezvous  # type: ignore[attr-defined]

from hilum.errors import HilumError, OptionError, RunError
from hilum.listener import SILENT, Listener
from hilum.nn.collectives import broadcast_from_first
from hilum.training.interrupt import Interrupted
from hilum.training.launcher import GRACE, LocalRanks
from hilum.training.options_file import OPTIONS
from hilum.training.run_folder import RunFolder, open_run
from hilum.workers.process import end_with_input

TIMEOUT = timedelta(hours=2)
"""How long a process waits for the others: longer than any validation. A lost process is noticed at
once."""
TOUCHES = 5.0
"""Seconds from a broken connection until the system reports the end of that process."""


@dataclass(frozen=True)
class RankInfo:
    """Rank and number of processes, in all and on this machine."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    local_world_size: int = 1


def rank_info(environment: Mapping[str, str]) -> RankInfo:
    """Return rank and world size from the environment of ``torchrun`` or ``srun``; else it is alone.

    A batch script that SLURM runs without ``srun`` is alone, however many tasks its job may have.

    Raises:
        OptionError: The variables are not consistent.

    >>> rank_info({"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"})
    RankInfo(rank=3, world_size=8, local_rank=1, local_world_size=2)
    >>> rank_info({"SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "4", "SLURM_LOCALID": "1"}).world_size
    4
    """
    if "RANK" in environment and "WORLD_SIZE" in environment:
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    elif "SLURM_PROCID" in environment and "SLURM_STEP_NUM_TASKS" in environment:
        names = (
            "SLURM_PROCID",
            "SLURM_STEP_NUM_TASKS",
            "SLURM_LOCALID",
            "SLURM_STEP_TASKS_PER_NODE",
        )
    else:
        return RankInfo()
    # SLURM writes 4(x2),3 where two machines have 4 tasks and one has 3.
    values = {
        name: environment[name].partition(",")[0].partition("(")[0]
        for name in names
        if name in environment
    }
    wrong = [name for name, value in values.items() if not value.isdecimal()]
    if wrong:
        raise OptionError(
            f"{wrong[0]} in the environment is {environment[wrong[0]]!r}: a whole number is expected."
        )
    rank, count = int(values[names[0]]), int(values[names[1]])
    if rank >= max(count, 1):
        raise OptionError(
            f"{names[0]} is {rank} and {names[1]} is {count}: ranks are counted from 0."
        )
    local = int(values.get(names[2], rank)), int(values.get(names[3], count))
    return RankInfo(rank, count, *local) if count > 1 else RankInfo()


def slurm_meeting(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the address at which the tasks of a SLURM step join: its first machine, a port of its job.

    >>> slurm_meeting({"SLURM_STEP_NODELIST": "gpu[07-09,12]", "SLURM_JOB_ID": "1234567"})
    {'MASTER_ADDR': 'gpu07', 'MASTER_PORT': '19567'}
    """
    nodes = (
        environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_NODELIST") or "127.0.0.1"
    )
    first = re.sub(r"^([^,\[]*)\[(\w+)[^\]]*\]", r"\1\2", nodes).partition(",")[0]
    port = 15000 + int(environment.get("SLURM_JOB_ID", "0")[-4:])
    return {"MASTER_ADDR": first, "MASTER_PORT": str(port)}


class Team:
    """The processes of one run, as seen from one of them; this class is a single process."""

    def __init__(self, ranks: RankInfo = RankInfo(), listener: Listener = SILENT) -> None:
        self.ranks, self.listener = ranks, listener

    @property
    def first(self) -> bool:
        """Whether this is rank 0, which checks, writes and logs."""
        return self.ranks.rank == 0

    def open_run(self, path: Path, options: Mapping[str, Any]) -> Any:
        """Return a context that gives the run folder, as ``run_folder.open_run`` does."""
        return open_run(path, options)

    def assemble(self) -> None:
        """Join the others; called once after all checks of the user's options."""

    def part(self, error: BaseException | None) -> BaseException | None:
        """Leave the others; return the error to raise in place of ``error``."""
        return error


ALONE = Team()
"""One process by itself."""


class Starter(Team):
    """Rank 0 of ``--devices N``: starts the others after its checks."""

    def __init__(
        self, ranks: RankInfo, listener: Listener, command: Sequence[str], out: Path
    ) -> None:
        super().__init__(ranks, listener)
        self._command = (*command, "--config", str(out / OPTIONS), "--out", str(out))
        self._ranks: LocalRanks | None = None
        self._threads = torch.get_num_threads()

    def assemble(self) -> None:
        """Start the others and join them.

        Raises:
            RunError: One of them cannot start.
        """
        count = self.ranks.world_size
        environment = dict(os.environ)
        if "OMP_NUM_THREADS" not in environment:
            torch.set_num_threads(threads_each(self.ranks, environment))
            environment["OMP_NUM_THREADS"] = str(torch.get_num_threads())
        store = TCPStore(
            "127.0.0.1", 0, count, is_master=True, wait_for_workers=False, timeout=TIMEOUT
        )
        self._ranks = LocalRanks(self._command, count, store.port, environment)
        while not store.check([_arrival(rank) for rank in range(1, count)]):
            fault = self._ranks.lost(patience=0.05)
            if fault is not None:
                raise RunError(f"{fault}: nothing was trained.")
        join(store, self.ranks)
        self._ranks.exit_when_lost(self.listener)
        broadcast_from_first([True])

    def part(self, error: BaseException | None) -> BaseException | None:
        """End the others, and name the lost one if that is the reason."""
        if self._ranks is None:
            return error
        fault = self._ranks.lost(patience=TOUCHES) if is_lost_connection(error) else None
        self._ranks.end(patience=GRACE if error is None else 0.0)
        leave()
        torch.set_num_threads(self._threads)
        if fault is None:
            return error
        return RunError(
            f"{fault}: all that was saved stands, and the same line goes on from there."
        )


class Leader(Team):
    """Rank 0 of processes that ``torchrun`` or ``srun`` started: the others wait for its checks."""

    _released = False

    def assemble(self) -> None:
        """Let the others begin."""
        self._release(go=True)

    def part(self, error: BaseException | None) -> BaseException | None:
        """Release the waiting ranks when rank 0 stops early."""
        if not self._released and (error is None or isinstance(error, Exception)):
            self._release(go=error is None)
        if is_lost_connection(error):
            return RunError(
                f"another of the {self.ranks.world_size} processes was lost: see its own messages. "
                "All that was saved stands, and the same line goes on from there."
            )
        return error

    def _release(self, *, go: bool) -> None:
        self._released = True
        meet(self.ranks)
        broadcast_from_first([go])


class Follower(Team):
    """Any rank but 0: reads and trains, writes and logs nothing."""

    def __init__(self, ranks: RankInfo) -> None:
        """Wait until rank 0 has done its checks.

        Raises:
            SystemExit: They failed; rank 0 has shown the error.
        """
        super().__init__(ranks)
        self._begun = False
        end_with_input(os.environ)
        try:
            meet(ranks)
            go = broadcast_from_first([False])[0]
        except RuntimeError as error:  # rank 0 is gone
            raise SystemExit(1) from error
        if not go:
            raise SystemExit(1)

    @contextmanager
    def open_run(self, path: Path, options: Mapping[str, Any]) -> Iterator[RunFolder]:  # noqa: ARG002
        """Give the run folder for reading."""
        yield ReadOnlyRunFolder(path)

    def assemble(self) -> None:
        """From here on an error of this process ends all, and rank 0 shows it."""
        self._begun = True

    def part(self, error: BaseException | None) -> BaseException | None:
        """Show nothing of an error that rank 0 shows."""
        if isinstance(error, Interrupted):
            return SystemExit(130)
        if self._begun and (isinstance(error, HilumError) or is_lost_connection(error)):
            return SystemExit(1)
        return error


class ReadOnlyRunFolder(RunFolder):
    """The run folder in a rank that must not write there."""

    def log(self, **event: Any) -> None:
        """Do nothing: rank 0 writes the log."""

    def finish(self, metrics: Mapping[str, Any]) -> None:
        """Do nothing: rank 0 writes the results."""


@contextmanager
def team_for(command: Sequence[str], out: Path, devices: int, listener: Listener) -> Iterator[Team]:
    """Give this process its team; with ``devices`` above 1 it starts the others, unless they were started already.

    Args:
        command: The words after ``hilum`` that the others run, such as ``pretrain moco``.
        out: The run folder, whose options the others read.
        devices: Number of processes.
        listener: Gets the notes of rank 0.

    Raises:
        HilumError: As the block does, or another process was lost.
        SystemExit: In a rank other than 0, where rank 0 shows the error.
    """
    team = _team(command, out, devices, listener)
    try:
        yield team
    except BaseException as error:
        raised = team.part(error)
        if raised is error or raised is None:
            raise
        raise raised from error
    else:
        team.part(None)


def _team(command: Sequence[str], out: Path, devices: int, listener: Listener) -> Team:
    ranks = rank_info(os.environ)
    if devices not in (1, ranks.world_size) and ranks.world_size > 1:
        raise OptionError(
            f"--devices is {devices} and this process is one of {ranks.world_size} started from outside: leave it out."
        )
    if ranks.world_size == 1:
        started = RankInfo(0, devices, 0, devices)
        return Team(listener=listener) if devices == 1 else Starter(started, listener, command, out)
    _meeting_point(os.environ)
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(threads_each(ranks, os.environ))
    return Leader(ranks, listener) if ranks.rank == 0 else Follower(ranks)


def _meeting_point(environment: MutableMapping[str, str]) -> None:
    if "RANK" not in environment:
        for name, value in slurm_meeting(environment).items():
            environment.setdefault(name, value)
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        if name not in environment:
            raise OptionError(
                f"RANK is set in the environment and {name} is not: start by torchrun, or unset RANK."
            )


def threads_each(ranks: RankInfo, environment: Mapping[str, str]) -> int:
    """Return how many threads a process may use: its own cores, or its part of those shared on this machine."""
    mine = len(os.sched_getaffinity(0))
    bound = "SLURM_PROCID" in environment and mine < (os.cpu_count() or mine)
    return mine if bound else max(1, mine // ranks.local_world_size)


def meet(ranks: RankInfo) -> None:
    """Join processes that were started from outside; done once, since they end with this one."""
    if dist.is_initialized():
        return
    store, _, _ = next(
        rendezvous("env://", rank=ranks.rank, world_size=ranks.world_size, timeout=TIMEOUT)
    )
    store.set(_arrival(ranks.rank), "")
    join(store, ranks)
    atexit.register(leave)


def join(store: Store, ranks: RankInfo) -> None:
    """Form the process group: gloo for tensors in main memory, NCCL for those on GPUs."""
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(
        backend, store=store, rank=ranks.rank, world_size=ranks.world_size, timeout=TIMEOUT
    )


def leave() -> None:
    """Leave the group."""
    if dist.is_initialized():
        dist.destroy_process_group()


def is_lost_connection(error: BaseException | None) -> bool:
    """Whether an error comes from another process's end: torch has no single class for these."""
    if not isinstance(error, RuntimeError):
        return False
    message = str(error).lower()
    return isinstance(error, dist.DistError) or any(
        word in message for word in ("gloo", "nccl", "connection")
    )


def _arrival(rank: int) -> str:
    return f"hilum-here-{rank}"
