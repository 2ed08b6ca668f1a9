"""Ranks 1 to N - 1 of ``--devices N``: the same command, started by rank 0 as worker processes.

Each gets its rank as ``torchrun`` passes it, by environment variables, and reads its options from
the run's own options.yaml.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence

from hilum.listener import Listener
from hilum.workers.process import WorkerProcess

GRACE = 60.0
"""Seconds after which a process that finished training must be gone; also how long rank 0 may not
notice a lost one."""


class LocalRanks:
    """Ranks 1 to N - 1 on this machine; call ``end`` when training is over."""

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
        self._ending = threading.Event()
        self._processes: dict[int, WorkerProcess] = {}
        for rank in range(1, count):
            variables = {
                "RANK": rank,
                "LOCAL_RANK": rank,
                "WORLD_SIZE": count,
                "LOCAL_WORLD_SIZE": count,
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": port,
            }
            self._processes[rank] = WorkerProcess(
                ["-m", "hilum", *command],
                {**environment, **{name: str(value) for name, value in variables.items()}},
            )

    def lost(self, patience: float = 0.0) -> str | None:
        """Return a line on a process that has ended, None if none ends within ``patience`` seconds."""
        until = time.monotonic() + patience
        while True:
            for rank, process in self._processes.items():
                if not process.running:
                    count = len(self._processes) + 1
                    return f"process {rank} of {count} {process.exit_message()}"
            if time.monotonic() >= until:
                return None
            time.sleep(0.02)

    def exit_when_lost(self, listener: Listener, grace: float = GRACE) -> None:
        """From now on end this process, with a line, when another fails and this one does not notice.

        A process that waits on a GPU for a lost one would wait for ever, and nothing can be raised
        in it.

        Args:
            listener: Gets the line.
            grace: Seconds in which this process may notice by itself.
        """

        def exit_after(process: WorkerProcess) -> None:
            if process.wait() == 0:
                return  # it is done; rank 0 may have long to evaluate and save after it
            if not self._ending.wait(grace):
                listener.note(
                    f"{self.lost()}: this process waited for it and ends; "
                    "run the same line again to go on."
                )
                self._kill()
                os._exit(1)

        for process in self._processes.values():
            threading.Thread(
                target=exit_after, args=(process,), name="hilum-ranks", daemon=True
            ).start()

    def end(self, patience: float) -> None:
        """Wait ``patience`` seconds for all to end by themselves, then kill those that are left."""
        self._ending.set()
        until = time.monotonic() + patience
        for process in self._processes.values():
            process.wait(max(0.0, until - time.monotonic()))
        self._kill()
        for process in self._processes.values():
            process.end()

    def _kill(self) -> None:
        for process in self._processes.values():
            process.kill()
