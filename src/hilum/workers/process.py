"""A worker process: it runs as this one does, its errors are kept, and it ends when this one ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO

TIED = "HILUM_ENDS_WITH_INPUT"
"""Environment variable of a worker process, which ends when its standard input does."""
LONGEST_LINE = 200


class WorkerProcess:
    """A child process in a process group of its own, so that Ctrl-C reaches this process alone.

    Its standard input is a pipe that nothing else holds open: the kernel closes it however this
    process ends, and the worker, which reads it or calls ``end_with_input``, ends too. Use it in a
    ``with`` block, or call ``end``.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str] | None = None,
        *,
        reads_output: bool = False,
        pass_fds: Sequence[int] = (),
    ) -> None:
        """Start it with this process's interpreter and search path.

        Args:
            arguments: Those of the interpreter, such as ``["-m", "hilum", "--version"]``.
            environment: Variables it inherits; this process's by default.
            reads_output: Whether its standard output is a pipe to this process; else discarded.
            pass_fds: Open file descriptors that it inherits under the same numbers.
        """
        # -P and an explicit search path: a worker must import the same files as this process, and
        # an empty entry of sys.path stands for the current folder.
        search = os.pathsep.join(entry or os.getcwd() for entry in sys.path)  # noqa: PTH109
        inherited = os.environ if environment is None else environment
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by end
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if reads_output else subprocess.DEVNULL,
                stderr=self._errors,
                env={**inherited, "PYTHONPATH": search, TIED: "1"},
                pass_fds=tuple(pass_fds),
                process_group=0,
            )
        except BaseException:
            self._errors.close()
            raise

    def __enter__(self) -> WorkerProcess:
        """Return the process."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.end()

    @property
    def pid(self) -> int:
        """The process's number, which is its group's too."""
        return self._process.pid

    @property
    def input(self) -> IO[bytes]:
        """The pipe to its standard input."""
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def output(self) -> IO[bytes]:
        """The pipe from its standard output.

        Raises:
            ValueError: Its output is discarded.
        """
        if self._process.stdout is None:
            raise ValueError("the output is discarded: start the process with reads_output=True")
        return self._process.stdout

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def wait(self, seconds: float | None = None) -> int | None:
        """Wait until it has ended; return its exit status (-n for signal n), None if it still runs after that time."""
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(seconds)
        return None

    def send_signal(self, number: int) -> None:
        """Send it a signal; nothing happens where it has ended."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """Kill it and all processes of its group."""
        if self.running:  # once reaped, its number may be another process's
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    def errors(self, most: int = 2**14) -> str:
        """Return the end of what it wrote to standard error, at most so many bytes."""
        handle = self._errors.fileno()
        start = max(0, os.fstat(handle).st_size - most)
        # Not by seek and read: the file position is shared with the process, which may be writing.
        return os.pread(handle, most, start).decode(errors="replace")

    def exit_message(self) -> str:
        """Return how it ended, with the last line of its errors; waits until it has.

        Such as ``ended with status 1 (MemoryError)``.
        """
        status = self._process.wait()
        lines = [line.strip() for line in self.errors().splitlines() if line.strip()]
        last = lines[-1][:LONGEST_LINE] if lines else "no error message"
        how = f"by signal {-status}" if status < 0 else f"with status {status}"
        return f"ended {how} ({last})"

    def end(self) -> None:
        """Kill it if it runs, reap it, and close its pipes and its errors."""
        self.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):  # unsent bytes for a process that is gone
                    pipe.close()
        self._errors.close()


def end_with_input(environment: Mapping[str, str]) -> None:
    """In a ``WorkerProcess`` that does not read its standard input: exit as soon as that ends.

    Does nothing in a process that ``environment`` does not mark as one.
    """

    def exit_after_input() -> None:
        while os.read(0, 1):
            pass
        os._exit(1)

    if TIED in environment:
        threading.Thread(target=exit_after_input, name="hilum-tied", daemon=True).start()
