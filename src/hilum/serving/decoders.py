"""Decoding processes as the event loop sees them: one film at a time each, a dead one replaced, nothing on disk."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import json
import os
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hilum.images.decoding.worker import MEMORY
from hilum.images.enhance import Preparation
from hilum.images.read import MAX_PIXELS
from hilum.serving.child import MESSAGE_BYTES, PREPARED
from hilum.serving.fork_server import Forked, ForkServer

DIED, HUNG = "decoder died", "decoder hung"
PAUSE = 1.0
"""Seconds before a process that could not be started is asked for again."""


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
        self.server = ForkServer(setup, on_death)
        self.children = [
            _Child(self.server, patience, on_death, self._ended_free) for _ in range(count)
        ]
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
        self.server.end()

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
        server: ForkServer,
        patience: float,
        on_death: Callable[[str], None],
        on_idle_death: Callable[[_Child], None],
    ) -> None:
        self.ready = False
        self.process: Forked | None = None
        self._server, self._patience = server, patience
        self._on_death, self._on_idle_death = on_death, on_idle_death
        self._source, self._target = (os.memfd_create(name) for name in ("film", "result"))
        self._channel: socket.socket | None = None
        self._answer: asyncio.Future[bytes] | None = None

    async def start(self) -> bool:
        """Start a process, after the death of an earlier one is told of; return whether it is ready."""
        if self.process is not None:
            await self._death("died", self.process)
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            asked = self._server.fork(theirs.fileno(), self._source, self._target)
        self.process = await asked
        if self.process is None:
            self.end()
            return False
        self._channel.setblocking(False)
        asyncio.get_running_loop().add_reader(self._channel.fileno(), self._received)
        self.ready = True
        return True

    async def read(self, data: bytes, form: str) -> DecodedUpload | Undecodable:
        """Return what the process answers for a film; not ready afterwards where it ended on it."""
        view, offset = memoryview(data), 0
        while offset < len(data):
            offset += os.pwrite(self._source, view[offset:], offset)
        assert self._channel is not None
        assert self.process is not None
        try:
            self._answer = asyncio.get_running_loop().create_future()
            with suppress(ConnectionError):  # it has ended: `_received` will learn it
                self._channel.send(form.encode())
            message = await self._answer
            if not message:
                return await self._lost(self.process)
            answer = json.loads(message)
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
        if self._channel is not None:
            with suppress(RuntimeError):  # the loop is closed
                asyncio.get_running_loop().remove_reader(self._channel.fileno())
            self._channel.close()
        if self._answer is not None and not self._answer.done():
            self._answer.cancel()
        if self.process is not None:
            self._server.kill(self.process)
        self.process, self._channel, self.ready = None, None, False

    def close(self) -> None:
        """Give the memory files back."""
        os.close(self._source)
        os.close(self._target)

    def _received(self) -> None:
        """Take an answer; an empty one is the process's end."""
        assert self._channel is not None
        try:
            message = self._channel.recv(MESSAGE_BYTES)
        except BlockingIOError:
            return
        except ConnectionResetError:  # it had not taken what it was sent
            message = b""
        if not message:
            asyncio.get_running_loop().remove_reader(self._channel.fileno())
            self.ready = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(message)
        elif not message:
            self._on_idle_death(self)

    async def _lost(self, process: Forked) -> Undecodable:
        """Return the reason of a process that ended on a film, for whoever sent it."""
        if await process.ended == -signal.SIGALRM:
            await self._death("took too long", process)
            return Undecodable(HUNG, f"longer than {self._patience:g} s")
        await self._death("died", process)
        return Undecodable(DIED)

    async def _death(self, what: str, process: Forked) -> None:
        status = await process.ended
        how = f"status {'unknown' if status is None else status}"
        if status is not None and status < 0:
            how = signal.Signals(-status).name
        self._on_death(
            f"a decoding process {what} ({how}): it is started again, and no film but its own is lost"
        )
        self.end()
