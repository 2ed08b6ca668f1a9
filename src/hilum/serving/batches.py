"""The model's one owner: films wait in a bounded queue and go through the network in micro-batches, in one thread."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from hilum.arrays import FloatArray
from hilum.serving.model import ServedModel

T = TypeVar("T")
MOST_WAIT = 1.5
"""Seconds that a film may be expected to take: clients give up on slow answers, and work for them is lost."""
LEAST_INSIDE = 8
"""Films that are admitted however slow the model is."""
NEWEST = 0.1
"""Weight of the newest film in the mean pace."""


class QueueFullError(Exception):
    """No more films are taken for now; ``seconds`` is when to try again."""

    def __init__(self, seconds: int) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class NotFiniteError(Exception):
    """The network gave a score that is no number: no answer can be made of it."""


class Admission:
    """Counts the films that are in the service, from admission to answer, and refuses what would wait too long."""

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Admit so many films at one time, and fewer where they would take more than MOST_WAIT seconds."""
        self.most, self.inside = most, 0
        self._clock = clock
        self._pace = 0.0
        """Seconds a film: its time inside, shared by those that were inside when it came. Films that
        came to few others do not count: their time is the service's least, and not its pace."""

    def refuse_if_full(self) -> None:
        """Refuse at once, before a body is read, where no film would be admitted now.

        Raises:
            QueueFullError: There are as many as allowed.
        """
        seconds = self.seconds_if_full()
        if seconds is not None:
            raise QueueFullError(seconds)

    def seconds_if_full(self) -> int | None:
        """Return when to try again where no film would be admitted now."""
        slow = self.inside >= LEAST_INSIDE and self._pace * (self.inside + 1) > MOST_WAIT
        return self.retry_after() if slow or self.inside >= self.most else None

    @contextmanager
    def take(self, films: int = 1) -> Iterator[None]:
        """Hold places for films while they are answered.

        Raises:
            QueueFullError: There is no room for all of them.
        """
        self.refuse_if_full()
        if self.inside + films > self.most:
            raise QueueFullError(self.retry_after())
        self.inside += films
        rank, began = self.inside, self._clock()
        try:
            yield
        finally:
            self.inside -= films
            if rank >= min(LEAST_INSIDE, self.most):
                pace = (self._clock() - began) / rank
                self._pace += (pace - self._pace) * (NEWEST if self._pace else 1.0)

    def retry_after(self) -> int:
        """Return the whole seconds in which those inside are done at the recent pace, from 1 to 60."""
        return min(60, max(1, math.ceil(self._pace * self.inside)))


class Owner:
    """Runs the model in one thread, which takes by itself what waits: no event loop stands between two batches."""

    def __init__(
        self,
        model: ServedModel,
        most: int,
        on_batch: Callable[[int, float], None] = lambda *_: None,
    ) -> None:
        """Own a model.

        Args:
            model: The model, used by no other.
            most: Films of a batch, at most.
            on_batch: Called with the films and seconds of each batch.
        """
        self.model = model
        self._most, self._on_batch = most, on_batch
        self._films: deque[tuple[NDArray[np.uint8], asyncio.Future[FloatArray]]] = deque()
        self._calls: deque[tuple[Callable[[], Any], asyncio.Future[Any]]] = deque()
        self._wake, self._ending = threading.Event(), False
        self._thread = threading.Thread(target=self._run, name="hilum-model", daemon=True)

    def start(self) -> None:
        """Take films from now on."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def end(self) -> None:
        """Stop; films that still wait are given up."""
        self._ending = True
        self._wake.set()
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join)

    async def logits(self, image: NDArray[np.uint8]) -> FloatArray:
        """Return the logits [F] of one prepared film [size, size].

        Raises:
            NotFiniteError: One is not finite.
        """
        future: asyncio.Future[FloatArray] = self._loop.create_future()
        self._films.append((image, future))
        self._wake.set()
        logits = await future
        if not np.isfinite(logits).all():
            raise NotFiniteError
        return logits

    async def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run something else that needs the model in its thread, between two batches."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._calls.append((partial(function, *arguments), future))
        self._wake.set()
        return await future

    def _run(self) -> None:
        """Do what waits until the end; this alone takes out of the two queues."""
        while not self._ending:
            self._wake.wait()
            self._wake.clear()
            while (self._films or self._calls) and not self._ending:
                while self._calls:
                    call, future = self._calls.popleft()
                    results, error = _tried(lambda one: [one()], call)
                    self._loop.call_soon_threadsafe(_give, [future], results, error)
                batch = [self._films.popleft() for _ in range(min(self._most, len(self._films)))]
                if batch:
                    images = np.stack([image for image, _ in batch])
                    began = time.perf_counter()
                    results, error = _tried(self.model.logits, images)
                    seconds = time.perf_counter() - began
                    futures = [future for _, future in batch]
                    self._loop.call_soon_threadsafe(self._done, futures, results, error, seconds)

    def _done(
        self,
        futures: Sequence[asyncio.Future[Any]],
        results: Any,
        error: Exception | None,
        seconds: float,
    ) -> None:
        """Count a batch and give its results: both at one waking of the event loop."""
        self._on_batch(len(futures), seconds)
        _give(futures, results, error)


def _tried(function: Callable[[T], Any], argument: T) -> tuple[Any, Exception | None]:
    """Return a function's results, or its error: that is each film's answer, and not the end of the thread."""
    try:
        return function(argument), None
    except Exception as error:  # noqa: BLE001 - it is raised where the result is awaited
        return None, error


def _give(futures: Sequence[asyncio.Future[Any]], results: Any, error: Exception | None) -> None:
    """Give results to those who wait for them, or the error to all; some may have gone."""
    for number, future in enumerate(futures):
        if future.done():
            continue
        if error is None:
            future.set_result(results[number])
        else:
            future.set_exception(error)
