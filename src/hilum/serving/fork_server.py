"""The service's side of the fork server: asks for decoding processes and learns how each ended."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from hilum.images.decoding.film_process import VARIABLES
from hilum.serving.child import FORK, MESSAGE_BYTES
from hilum.workers.process import WorkerProcess


class Forked(NamedTuple):
    """A decoding process."""

    pid: int
    ended: asyncio.Future[int | None]
    """Its exit status (-n for signal n) once it has ended; None where that cannot be known."""


class ForkServer:
    """The process, started when first asked for a decoding process, and again where it has died.

    Decoding processes go on where it dies before them: only how they end is not known then.
    """

    def __init__(self, setup: Mapping[str, Any], on_death: Callable[[str], None]) -> None:
        """Start nothing yet.

        Args:
            setup: What is sent to it once, `hilum.serving.child.Setup` as JSON.
            on_death: Called with how it ended, if it does before `end`.
        """
        self._setup, self._on_death = json.dumps(setup).encode(), on_death
        self._process: WorkerProcess | None = None
        self._control: socket.socket | None = None
        self._asked: deque[asyncio.Future[Forked | None]] = deque()
        self._running: dict[int, Forked] = {}

    @property
    def pid(self) -> int:
        """Its number; 0 where it does not run."""
        return 0 if self._process is None else self._process.pid

    def fork(self, *descriptors: int) -> asyncio.Future[Forked | None]:
        """Ask for a decoding process; the result is None where there is none, for now.

        Args:
            descriptors: Its end of a socket, and its memory files; they may be closed afterwards.
        """
        asked: asyncio.Future[Forked | None] = asyncio.get_running_loop().create_future()
        if self._control is None:
            self._start()
        assert self._control is not None
        self._asked.append(asked)
        with suppress(OSError):  # it has died: `_received` will learn it
            socket.send_fds(self._control, [FORK], descriptors)
        return asked

    def kill(self, process: Forked) -> None:
        """Kill a decoding process, if it runs."""
        if not process.ended.done() and self._control is not None:
            with suppress(OSError):
                self._control.send(b"%d" % process.pid)

    def end(self) -> None:
        """End it and all decoding processes at once."""
        if self._process is None or self._control is None:
            return
        with suppress(RuntimeError):  # the loop is closed
            asyncio.get_running_loop().remove_reader(self._control.fileno())
        self._control.close()
        self._process.end()
        self._process = self._control = None

    def _start(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = WorkerProcess(
                ["-m", "hilum.serving.child", str(theirs.fileno())],
                {**os.environ, **VARIABLES},
                pass_fds=[theirs.fileno()],
            )
        self._control.send(self._setup)
        self._control.setblocking(False)
        asyncio.get_running_loop().add_reader(self._control.fileno(), self._received)

    def _received(self) -> None:
        """Take one message; an empty one is its end."""
        assert self._control is not None
        try:
            data = self._control.recv(MESSAGE_BYTES)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""
        if not data:
            self._died()
            return
        message = json.loads(data)
        if "ended" in message:
            self._running.pop(message["ended"]).ended.set_result(message["status"])
            return
        forked, asked = None, self._asked.popleft()
        if message["forked"]:
            forked = Forked(message["forked"], asyncio.get_running_loop().create_future())
            self._running[forked.pid] = forked
        if not asked.done():
            asked.set_result(forked)

    def _died(self) -> None:
        assert self._process is not None
        self._process.wait()
        how = self._process.exit_message()
        self.end()
        self._on_death(f"the process that decoders are forked from {how}: it is started again")
        for asked in self._asked:
            if not asked.done():
                asked.set_result(None)
        for process in self._running.values():
            process.ended.set_result(None)
        self._asked.clear()
        self._running.clear()
