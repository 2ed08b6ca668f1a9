"""Decoding processes as the event loop sees them: one film at a time each, a dead one replaced, nothing on disk."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import json
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum.images.decoding.film_process import VARIABLES
from hilum.images.decoding.worker import MEMORY
from hilum.images.enhance import Preparation
from hilum.images.read import MAX_PIXELS
from hilum.serving.child import PREPARED
from hilum.workers.process import WorkerProcess

DIED, HUNG = "decoder died", "decoder hung"
PAUSE = 1.0
"""Seconds before a process that did not start is started again."""


@dataclass(frozen=True)
class DecodedUpload:
    """What is known of a film that could be decoded, or refused before that."""

    kind: str
    """png, jpeg or dicom."""
    size: tuple[int, int] | None
    """Height and width; None where the header alone was read."""
    refused: str
    """An entry of `hilum.serving.gate.REFUSALS`, or nothing."""
    notes: tuple[str, ...]
    """What was odd about a DICOM file, in a few set phrases."""
    content: bytes
    """The prepared pixels, or a PNG; nothing where the film is refused."""

    def image(self, side: int) -> NDArray[np.uint8]:
        """Return the prepared pixels, uint8 [side, side]."""
        return np.frombuffer(self.content, np.uint8).reshape(side, side)


@dataclass(frozen=True)
class Undecodable:
    """Why a film could not be read, in set phrases."""

    reason: str
    detail: str = ""


class Decoders:
    """The processes; `start` and `read` belong to one event loop."""

    def __init__(
        self,
        preparation: Preparation,
        network_size: int,
        count: int,
        *,
        keep: Sequence[str] = (),
        patience: float = 20.0,
        memory: int = MEMORY,
        on_death: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Start nothing yet.

        Args:
            preparation: How films are prepared.
            network_size: Side of the network's input in pixels.
            count: Processes.
            keep: Reasons for which a DICOM film is not refused.
            patience: Seconds that a film may take.
            memory: Bytes that a film may take.
            on_death: Called with how a process ended.
        """
        setup = {
            "preparation": preparation.to_json(),
            "network_size": network_size,
            "keep": list(keep),
            "max_pixels": MAX_PIXELS,
            "patience": patience,
            "memory": memory,
        }
        self.children = [_Child(setup, on_death, self._ended_free) for _ in range(count)]
        self._free: deque[_Child] = deque()
        self._waiting: list[tuple[float, int, asyncio.Future[_Child]]] = []
        """A heap: when the film came, its number, and what gets its process."""
        self._numbers = itertools.count()
        self._starting: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Start the processes and wait until one is ready."""
        for child in self.children:
            self._start(child)
        await asyncio.wait(set(self._starting), return_when=asyncio.FIRST_COMPLETED)

    @property
    def ready(self) -> bool:
        """Whether a film could be decoded now, or after those before it."""
        return any(child.ready for child in self.children)

    async def read(
        self, data: bytes, form: str = PREPARED, came: float | None = None
    ) -> DecodedUpload | Undecodable:
        """Decode a film in the next free process.

        Args:
            data: The file as it was sent.
            form: An entry of `hilum.serving.child`: PREPARED or PICTURE.
            came: When its request came, by time.perf_counter; now unless given. Of those that wait the
                one that came first is next, also where its body took longer to arrive.
        """
        child = await self._taken(time.perf_counter() if came is None else came)
        try:
            answer = await child.read(data, form)
        except BaseException:  # a request that was cancelled: what the process answers is nobody's
            child.end()
            self._start(child)
            raise
        if child.ready:
            self._give(child)
        else:
            self._start(child)
        return answer

    async def _taken(self, came: float) -> _Child:
        """Return a process that is free, when it is this film's turn."""
        if self._free:
            return self._free.popleft()
        while True:
            turn: asyncio.Future[_Child] = asyncio.get_running_loop().create_future()
            heapq.heappush(self._waiting, (came, next(self._numbers), turn))
            try:
                child = await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled() and turn.result().ready:
                    self._give(turn.result())
                raise
            if child.ready:  # else it ended just now, and is given again when it is started
                return child

    def _give(self, child: _Child) -> None:
        """Give a free process to the film that has waited longest."""
        while self._waiting:
            *_, turn = heapq.heappop(self._waiting)
            if not turn.done():
                turn.set_result(child)
                return
        self._free.append(child)

    def _ended_free(self, child: _Child) -> None:
        """Start a process again that ended while it had no film."""
        with suppress(ValueError):
            self._free.remove(child)
        self._start(child)

    def end(self) -> None:
        """End the processes at once."""
        for task in self._starting:
            task.cancel()
        for child in self.children:
            child.end()
            child.close()

    def _start(self, child: _Child) -> None:
        task = asyncio.get_running_loop().create_task(self._started(child))
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)

    async def _started(self, child: _Child) -> None:
        while not await child.start():
            await asyncio.sleep(PAUSE)
        self._give(child)


class _Child:
    """One process and the two memory files that it shares with this one; they outlive it."""

    def __init__(
        self,
        setup: dict[str, Any],
        on_death: Callable[[str], None],
        on_idle_death: Callable[[_Child], None],
    ) -> None:
        self.ready = False
        self.process: WorkerProcess | None = None
        self._setup, self._on_death, self._on_idle_death = setup, on_death, on_idle_death
        self._source, self._target = (os.memfd_create(name) for name in ("film", "result"))
        self._answer: asyncio.Future[bytes] | None = None
        self._line = b""

    async def start(self) -> bool:
        """Start the process; return whether it is ready."""
        loop = asyncio.get_running_loop()
        self.process = WorkerProcess(
            ["-m", "hilum.serving.child"],
            {**os.environ, **VARIABLES},
            reads_output=True,
            pass_fds=[self._source, self._target],
        )
        self._line = b""
        os.set_blocking(self.process.output.fileno(), False)
        loop.add_reader(self.process.output.fileno(), self._received)
        line = await self._ask(
            {**self._setup, "source": self._source, "target": self._target}, loop
        )
        self.ready = bool(line)
        if not line:
            self._replace("could not start")
        return self.ready

    async def read(self, data: bytes, form: str) -> DecodedUpload | Undecodable:
        """Return what the process answers for a film; not ready afterwards where it ended on it."""
        view, offset = memoryview(data), 0
        while offset < len(data):
            offset += os.pwrite(self._source, view[offset:], offset)
        try:
            line = await self._ask(form, asyncio.get_running_loop())
            if not line:
                return self._lost()
            answer = json.loads(line)
            if "unreadable" in answer:
                return Undecodable(answer["unreadable"], answer["detail"])
            size = answer["size"]
            return DecodedUpload(
                answer["kind"],
                None if size is None else (size[0], size[1]),
                answer.get("refused", ""),
                tuple(answer.get("notes", ())),
                os.pread(self._target, answer.get("bytes", 0), 0),
            )
        finally:
            os.ftruncate(self._source, 0)  # no film stays in the memory
            os.ftruncate(self._target, 0)

    def end(self) -> None:
        """End the process, if it runs."""
        process, self.process, self.ready = self.process, None, False
        if process is None:
            return
        with suppress(RuntimeError):  # the loop is closed
            asyncio.get_running_loop().remove_reader(process.output.fileno())
        if self._answer is not None and not self._answer.done():
            self._answer.cancel()
        process.end()

    def close(self) -> None:
        """Give the memory files back."""
        os.close(self._source)
        os.close(self._target)

    async def _ask(self, value: Any, loop: asyncio.AbstractEventLoop) -> bytes:
        """Send one line; return the answer's line, empty where the process ended instead."""
        assert self.process is not None
        self._answer = loop.create_future()
        with suppress(BrokenPipeError):
            self.process.input.write(json.dumps(value).encode() + b"\n")
            self.process.input.flush()
        return await self._answer

    def _received(self) -> None:
        """Take what the process wrote; an empty read is its end."""
        assert self.process is not None
        try:
            data = os.read(self.process.output.fileno(), 2**16)
        except BlockingIOError:
            return
        self._line += data
        if data and not self._line.endswith(b"\n"):
            return
        line, self._line = self._line, b""
        if not data:
            line = b""
            asyncio.get_running_loop().remove_reader(self.process.output.fileno())
            self.ready = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(line)
        elif not data:
            self._replace("died")
            self._on_idle_death(self)

    def _lost(self) -> Undecodable:
        """Reap a process that ended on a film; return the reason for whoever sent it."""
        assert self.process is not None
        hung = self.process.wait() == -signal.SIGALRM
        self._replace("took too long" if hung else "died")
        if hung:
            return Undecodable(HUNG, f"longer than {self._setup['patience']:g} s")
        return Undecodable(DIED)

    def _replace(self, what: str) -> None:
        assert self.process is not None
        status = self.process.wait()
        how = (
            signal.Signals(-status).name
            if status is not None and status < 0
            else f"status {status}"
        )
        self._on_death(
            f"a decoding process {what} ({how}): it is started again, and no film but its own is lost"
        )
        self.end()
