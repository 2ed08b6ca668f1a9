"""Shows on standard error what a workflow says: one live line on a terminal, sparse plain lines elsewhere."""

import shutil
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from hilum.listener import Listener

REDRAW = 0.1
"""Seconds between two drawings of the live line."""
SPARSE = 30.0
"""Seconds between two plain lines at least, but for a stage's last."""
WINDOW = 20.0
"""Seconds over which the rate is taken, so that the time left follows a change of pace."""
BAR = 20
CLEAR = "\r\x1b[K"
NEWLINE = "\n"

Clock = Callable[[], float]


@contextmanager
def listening(stream: TextIO | None = None, clock: Clock = time.monotonic) -> Iterator[Listener]:
    """Give the listener that suits standard error, and leave no half-drawn line behind."""
    stream = sys.stderr if stream is None else stream
    if not stream.isatty():
        yield PlainLines(stream, clock)
        return
    live = LiveLine(stream, clock)
    try:
        yield live
    finally:
        live.close()


class Pace:
    """How fast a stage goes, from what it said in the last seconds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._stage = ""
        self._seen: deque[tuple[float, int]] = deque()

    def add(self, stage: str, done: int) -> bool:
        """Take one message; return whether it begins a stage."""
        begins = stage != self._stage or (bool(self._seen) and done < self._seen[-1][1])
        if begins:
            self._stage = stage
            self._seen.clear()
        now = self._clock()
        self._seen.append((now, done))
        while len(self._seen) > 2 and self._seen[1][0] < now - WINDOW:
            self._seen.popleft()
        return begins

    def rate(self) -> float | None:
        """Return units a second, None while nothing can be said."""
        if not self._seen:
            return None
        (start, before), (now, done) = self._seen[0], self._seen[-1]
        return (done - before) / (now - start) if now > start and done > before else None

    def describe(self, done: int, total: int) -> str:
        """Return ``512/s, 0:41 left``, or nothing while the rate is not known."""
        rate = self.rate()
        if rate is None:
            return ""
        shown = f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.2g}/s"
        return shown if done >= total else f"{shown}, {clock_time((total - done) / rate)} left"


class LiveLine(Listener):
    """One line that is drawn again and again; notes scroll above it."""

    def __init__(self, stream: TextIO, clock: Clock) -> None:
        self._stream, self._clock = stream, clock
        self._pace = Pace(clock)
        self._drawn, self._line = -REDRAW, ""
        self._rows: list[str] = []

    def note(self, line: str) -> None:
        """Print a line above the live ones."""
        if self._rows:
            self._write(f"{self._up()}{line}\n{NEWLINE.join(self._rows)}")
        else:
            self._write(f"{CLEAR}{line}\n{self._line}")

    def progress(self, stage: str, done: int, total: int, detail: str = "") -> None:
        """Draw how far a stage is; its last state stays on the screen."""
        begins = self._pace.add(stage, done)
        if begins and self._line:
            self.close()
        now, ends = self._clock(), done >= total
        if not (begins or ends) and now - self._drawn < REDRAW:
            return
        self._drawn = now
        self._line = self._fit(
            f"{stage:<12} {bar(done, total)} {_words(done, total, self._pace, detail)}"
        )
        self._write(f"{CLEAR}{self._line}")
        if ends:
            self.close()

    def table(self, lines: Sequence[str]) -> None:
        """Draw the table in place of what it said before; its last state stays on the screen."""
        now = self._clock()
        if lines and self._rows and len(lines) == len(self._rows) and now - self._drawn < REDRAW:
            return
        if not lines:
            self.close()
            return
        self._drawn = now
        up = self._up() if self._rows else CLEAR
        self._rows = [self._fit(line) for line in lines][: shutil.get_terminal_size().lines - 1]
        self._write(f"{up}{NEWLINE.join(self._rows)}")

    def close(self) -> None:
        """End the live lines, if there are any."""
        if self._line or self._rows:
            self._write("\n")
        self._line, self._rows = "", []

    def _up(self) -> str:
        """Return what moves to the table's first line and clears from there."""
        rise = f"\x1b[{len(self._rows) - 1}A" if len(self._rows) > 1 else ""
        return f"\r{rise}\x1b[J"

    def _fit(self, line: str) -> str:
        return line[: shutil.get_terminal_size().columns - 1]

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


class PlainLines(Listener):
    """A line where a stage begins and ends, and one every half minute between."""

    def __init__(self, stream: TextIO, clock: Clock) -> None:
        self._stream, self._clock = stream, clock
        self._pace = Pace(clock)
        self._said, self._ended = 0.0, False

    def note(self, line: str) -> None:
        """Print the line."""
        print(line, file=self._stream, flush=True)

    def progress(self, stage: str, done: int, total: int, detail: str = "") -> None:
        """Print how far a stage is, if that is due."""
        begins = self._pace.add(stage, done)
        self._ended = self._ended and not begins
        now, ends = self._clock(), done >= total
        if self._ended or not (begins or ends or now - self._said >= SPARSE):
            return
        self._said, self._ended = now, ends
        self.note(f"{stage}: {_words(done, total, self._pace, detail)}")

    def table(self, lines: Sequence[str]) -> None:
        """Print the table as one line, if that is due."""
        now = self._clock()
        if lines and now - self._said >= SPARSE:
            self._said = now
            self.note("; ".join(" ".join(line.split()) for line in lines))


def bar(done: int, total: int) -> str:
    """Return how far a stage is as a bar.

    >>> bar(1, 4)
    '[#####...............]'
    """
    filled = BAR if total <= 0 else min(BAR, BAR * done // total)
    return f"[{'#' * filled}{'.' * (BAR - filled)}]"


def clock_time(seconds: float) -> str:
    """Return a time span as people write it.

    >>> clock_time(41), clock_time(3 * 3600 + 62)
    ('0:41', '3:01:02')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _words(done: int, total: int, pace: Pace, detail: str) -> str:
    share = f"{done:,} of {total:,}"
    return "  ".join(part for part in (share, pace.describe(done, total), detail) if part)
