"""Progress of a running study: a table that is redrawn, and a line where a run ends."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from hilum.listener import Listener
from hilum.workflows.data.targets import LEFT_OUT
from hilum.workflows.study.plan import StudyPlan
from hilum.workflows.study.record import StudyCell
from hilum.workflows.study.schedule import seconds_left


class _Stage(NamedTuple):
    """The stage that a run is at: when and where it began, and its latest progress."""

    name: str
    began: float
    first: int
    now: float
    done: int
    total: int

    @property
    def seconds_left(self) -> float | None:
        """Time left at the stage's mean speed, None while it is not known."""
        units = self.done - self.first
        return (self.now - self.began) / units * (self.total - self.done) if units > 0 else None


class Board:
    """The cells and the progress of the running ones, as a table."""

    def __init__(
        self,
        plan: StudyPlan,
        jobs: int,
        listener: Listener,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plan, self._jobs, self._listener, self._clock = plan, jobs, listener, clock
        self._stages: dict[str, _Stage] = {}
        self._cells: tuple[StudyCell, ...] = ()
        self._running: dict[str, str] = {}
        self._findings_left_out: set[str] = set()

    def show(self, cells: tuple[StudyCell, ...]) -> None:
        """Update the cells and redraw the table."""
        self._cells = cells
        running = {cell.run for cell in cells if cell.state == "running"}
        self._running = {run: self._running.get(run, "begins") for run in running}
        self._stages = {run: stage for run, stage in self._stages.items() if run in running}
        self._draw()

    def hearing(self, run: str) -> Listener:
        """Return the listener of a run: its progress goes to the table.

        Of notes are shown those of a pretraining, the results of pseudo-label rounds, and which
        findings get no output: these once, since most runs say the same.
        """
        return _Hearing(self, run)

    def note(self, run: str, line: str) -> None:
        """Show a note of a run."""
        kinds = {cell.kind for cell in self._cells if cell.run == run}
        first_time = line.endswith(LEFT_OUT) and line not in self._findings_left_out
        if first_time:
            self._findings_left_out.add(line)
        result = "pseudo-label" in kinds and line.startswith("round ")
        if "pretrain" in kinds or result or first_time:
            self._listener.note(f"{_name(run)}: {line}")

    def device(self, name: str) -> None:
        """Pass on the device of a run."""
        self._listener.device(name)

    def progress(self, run: str, stage: str, done: int, total: int, detail: str) -> None:
        """Record and show how far a run is."""
        count = f"{stage} {done:,} of {total:,}"
        self._running[run] = f"{count}  {detail}" if detail else count
        now, before = self._clock(), self._stages.get(run)
        if before is None or before.name != stage or done < before.done:
            before = _Stage(stage, now, done, now, done, total)
        self._stages[run] = before._replace(now=now, done=done, total=total)
        self._draw()

    def ended(self, cell: StudyCell, *, again: bool) -> None:
        """Note that a run has ended; ``again`` if it was trained before and is measured now."""
        if cell.state == "failed":
            self._listener.note(f"{_name(cell.run)} failed: {cell.error}")
            return
        reached = (
            ""
            if cell.validation_auroc is None
            else f", validation AUROC {cell.validation_auroc:.3f}"
        )
        self._listener.note(
            f"{_name(cell.run)} is {'chosen and measured' if again else f'done{reached}'}"
        )

    def close(self) -> None:
        """End the table."""
        self._listener.table(())

    def lines(self) -> tuple[str, ...]:
        """Return the table: counts and the time left, then a line for each running run."""
        states = [cell.state for cell in {cell.run: cell for cell in self._cells}.values()]
        counts = [f"{states.count('done')} done", f"{states.count('running')} running"]
        counts.append(f"{states.count('waiting')} to do")
        counts += [f"{states.count('failed')} failed"] * ("failed" in states)
        left = seconds_left(self._cells, self._plan, self._jobs)
        first = ", ".join(counts)
        if left:
            first += f"; about {_span(left)} left"
        elif left is None:  # no run of some kind has ended yet
            known = [stage.seconds_left for stage in self._stages.values()]
            longest = max((seconds for seconds in known if seconds is not None), default=None)
            if longest is not None:
                first += f"; about {_span(longest)} left of the stages that run now"
        return (
            first,
            *(f"  {_name(run):<36} {words}" for run, words in sorted(self._running.items())),
        )

    def _draw(self) -> None:
        self._listener.table(self.lines())


class _Hearing(Listener):
    def __init__(self, board: Board, run: str) -> None:
        self._board, self._run = board, run

    def note(self, line: str) -> None:
        self._board.note(self._run, line)

    def device(self, name: str) -> None:
        self._board.device(name)

    def progress(self, stage: str, done: int, total: int, detail: str = "") -> None:
        self._board.progress(self._run, stage, done, total, detail)


def _name(run: str) -> str:
    return run.rpartition("/")[2]


def _span(seconds: float) -> str:
    """Return a time span in the unit that says enough.

    >>> _span(40), _span(400), _span(9000)
    ('1 min', '7 min', '2.5 h')
    """
    return f"{seconds / 3600:.1f} h" if seconds >= 5400 else f"{max(1, round(seconds / 60))} min"
