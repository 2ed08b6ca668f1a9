"""Ctrl-C and SIGTERM as a flag that the loop reads between two steps, so that it can save first."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(Exception):  # noqa: N818 - not an error: the run is saved
    """The run was asked to stop, and has saved; the same command continues it."""


class StopWish:
    """Whether a stop was asked for."""

    def __init__(self) -> None:
        self.asked = False


@contextmanager
def stop_wish() -> Iterator[StopWish]:
    """Turn SIGINT and SIGTERM into a flag while the block runs; a second signal acts as usual.

    Outside the main thread, where signals cannot be caught, it is never set.
    """
    wish = StopWish()
    if threading.current_thread() is not threading.main_thread():
        yield wish
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, _frame: FrameType | None) -> None:
        wish.asked = True
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, ask)
    try:
        yield wish
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
