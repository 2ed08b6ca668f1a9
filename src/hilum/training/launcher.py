"""The other processes that ``--devices N`` starts: the same command, each with a rank; none outlives the first.

They are told their place as ``torchrun`` tells it, by the environment, and take their options from
the run's own options.yaml. Their standard input is a pipe that ends with the first process,
whatever ends that one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from hilum.listener import Listener

TIED = "HILUM_ENDS_WITH_INPUT"
"""Set in the environment of a process that must end when its standard input does."""
GRACE = 60.0
"""Seconds after which a process that finished training must be gone; also how long a lost one may
go unnoticed."""


class Children:
    """Ranks 1 to N - 1 on this machine; use it in a ``with`` block, which none of them outlives."""

    def __init__(
        self, command: Sequence[str], count: int, port: int, environment: Mapping[str, str]
    ) -> None:
        """Start them.

        Args:
            command: The words after ``hilum`` that each runs.
            count: N, with this process.
            port: Where rank 0 keeps its store, on this machine.
            environment: What they inherit.
        """
        self._folder = tempfile.TemporaryDirectory(
            prefix="hilum-ranks-", ignore_cleanup_errors=True
        )
        self._ending = threading.Event()
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        for rank in range(1, count):
            place = {
                "RANK": rank,
                "LOCAL_RANK": rank,
                "WORLD_SIZE": count,
                "LOCAL_WORLD_SIZE": count,
            }
            where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, TIED: 1}
            told = {name: str(value) for name, value in (place | where).items()}
            self._processes[rank] = self._start(rank, command, {**environment, **told})

    def _start(
        self, rank: int, command: Sequence[str], environment: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        search = os.pathsep.join(entry or os.getcwd() for entry in sys.path)  # noqa: PTH109 - as Python means it
        with self._errors(rank).open("wb") as errors:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", "hilum", *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env={**environment, "PYTHONPATH": search},
                process_group=0,  # Ctrl-C is for the first process to handle
            )

    def _errors(self, rank: int) -> Path:
        return Path(self._folder.name, f"rank-{rank}")

    def fault(self, patience: float = 0.0) -> str | None:
        """Return a line on a process that has ended, waiting up to ``patience`` seconds for one; None if none has."""
        until = time.monotonic() + patience
        while True:
            for rank, process in self._processes.items():
                if process.poll() is not None:
                    return self._exit_message(rank, process)
            if time.monotonic() >= until:
                return None
            time.sleep(0.02)

    def _exit_message(self, rank: int, process: subprocess.Popen[bytes]) -> str:
        said = self._errors(rank).read_text(encoding="utf-8", errors="replace").split("\n")
        last = next((line.strip() for line in reversed(said) if line.strip()), "it said nothing")
        status = process.returncode
        how = f"by signal {-status}" if status < 0 else f"with status {status}"
        return f"process {rank} of {len(self._processes) + 1} ended {how} ({last})"

    def watch(self, listener: Listener, grace: float = GRACE) -> None:
        """End this process too, with a line, when another is lost and this one does not notice.

        A process that waits on a GPU for a lost one would wait for ever, and nothing can be raised
        in it.

        Args:
            listener: Hears the line.
            grace: Seconds in which this process may notice by itself.
        """
        for process in self._processes.values():
            threading.Thread(
                target=self._end_when_lost,
                args=(process, listener, grace),
                name="hilum-ranks",
                daemon=True,
            ).start()

    def _end_when_lost(
        self, process: subprocess.Popen[bytes], listener: Listener, grace: float
    ) -> None:
        if process.wait() == 0:
            return  # it did its part, while the first may have films to measure and a model to write for long after
        if not self._ending.wait(grace):
            listener.note(
                f"{self.fault()}: this one waited for it and ends; run the same line again to go on."
            )
            self._kill()
            os._exit(1)

    def end(self, patience: float) -> None:
        """Wait ``patience`` seconds for all to end by themselves, then end those that are left."""
        self._ending.set()
        until = time.monotonic() + patience
        for process in self._processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, until - time.monotonic()))
        self._kill()
        for process in self._processes.values():
            process.wait()
            if process.stdin is not None:
                process.stdin.close()
        self._folder.cleanup()

    def _kill(self) -> None:
        for process in self._processes.values():
            process.kill()


def end_with_input(environment: Mapping[str, str]) -> None:
    """Make a process that ``Children`` started end as soon as the one that started it is gone."""
    if TIED in environment:
        threading.Thread(target=_end_after_input, name="hilum-tied", daemon=True).start()


def _end_after_input() -> None:
    while os.read(0, 1):
        pass
    os._exit(1)
