"""Shows a workflow's messages on standard error: one live line on a terminal, sparse plain lines elsewhere."""

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
"""Seconds between two plain lines, at least; a stage's first, its first estimate and its last come
at once, and so does a table's first estimate."""
WINDOW = 20.0
"""Seconds over which the rate is taken, so that the time left follows a change of pace."""
FIRST_ESTIMATE = 10.0
"""Seconds of a stage before plain lines show its time left for the first time."""
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
    """How fast a stage goes, from its messages of the last seconds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._stage = ""
        self._seen: deque[tuple[float, int]] = deque()
        self._bounded: set[str] = set()
        self.began = 0.0
        """When the stage began."""

    def may_stop_early(self, stage: str) -> None:
        """From now on call a stage's time left an upper bound."""
        self._bounded.add(stage)

    def add(self, stage: str, done: int) -> bool:
        """Add one progress message; return whether it begins a stage."""
        begins = stage != self._stage or (bool(self._seen) and done < self._seen[-1][1])
        now = self._clock()
        if begins:
            self._stage, self.began = stage, now
            self._seen.clear()
        self._seen.append((now, done))
        while len(self._seen) > 2 and self._seen[1][0] < now - WINDOW:
            self._seen.popleft()
        return begins

    def rate(self) -> float | None:
        """Return units a second, None while it is not known."""
        if not self._seen:
            return None
        # The first unit is slow (caches, compiling): it counts only until there is another.
        first = 1 if len(self._seen) > 2 and self._seen[0][0] == self.began else 0
        (start, before), (now, done) = self._seen[first], self._seen[-1]
        return (done - before) / (now - start) if now > start and done > before else None

    def describe(self, done: int, total: int) -> str:
        """Return ``512/s, 0:41 left``, or nothing while the rate is not known."""
        rate = self.rate()
        if rate is None:
            return ""
        shown = f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.2g}/s"
        if done >= total:
            return shown
        bound = "at most " if self._stage in self._bounded else ""
        return f"{shown}, {bound}{clock_time((total - done) / rate)} left"


class LiveLine(Listener):
    """One line that is drawn again and again; notes scroll above it."""

    def __init__(self, stream: TextIO, clock: Clock) -> None:
        self._stream, self._clock = stream, clock
        self._pace = Pace(clock)
        self._drawn, self._line, self._device = -REDRAW, "", ""
        self._rows: list[str] = []

    def note(self, line: str) -> None:
        """Print a line above the live ones."""
        if self._rows:
            self._write(f"{self._up()}{line}\n{NEWLINE.join(self._rows)}")
        else:
            self._write(f"{CLEAR}{line}\n{self._line}")

    def device(self, name: str) -> None:
        """Print the device above the live ones, unless it is that of before."""
        if name != self._device:
            self._device = name
            self.note(f"device: {name}")

    def may_stop_early(self, stage: str) -> None:
        """Call the stage's time left an upper bound."""
        self._pace.may_stop_early(stage)

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
        """Draw the table in place of its former state; its last state stays on the screen."""
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
        self._last: float | None = None
        """When the last line of progress was printed."""
        self._ended, self._estimated, self._device = False, False, ""

    def note(self, line: str) -> None:
        """Print the line."""
        print(line, file=self._stream, flush=True)

    def device(self, name: str) -> None:
        """Print the device, unless it is that of before."""
        if name != self._device:
            self._device = name
            self.note(f"device: {name}")

    def may_stop_early(self, stage: str) -> None:
        """Call the stage's time left an upper bound."""
        self._pace.may_stop_early(stage)

    def progress(self, stage: str, done: int, total: int, detail: str = "") -> None:
        """Print how far a stage is, if that is due."""
        begins = self._pace.add(stage, done)
        if begins:
            self._ended = self._estimated = False
        now, ends = self._clock(), done >= total
        estimate = (
            not self._estimated
            and self._pace.rate() is not None
            and now - self._pace.began >= FIRST_ESTIMATE
        )
        if self._ended or not (begins or ends or estimate or self._due(now)):
            return
        self._last, self._ended = now, ends
        self._estimated = self._estimated or self._pace.rate() is not None
        self.note(f"{stage}: {_words(done, total, self._pace, detail)}")

    def table(self, lines: Sequence[str]) -> None:
        """Print the table as one line, if that is due."""
        now = self._clock()
        if not lines:
            return
        estimate = " left" in lines[0] and not self._estimated
        if estimate or self._due(now):
            self._last, self._estimated = now, self._estimated or estimate
            self.note("; ".join(" ".join(line.split()) for line in lines))

    def _due(self, now: float) -> bool:
        return self._last is None or now - self._last >= SPARSE


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
    count = f"{done:,} of {total:,}"
    return "  ".join(part for part in (count, pace.describe(done, total), detail) if part)
