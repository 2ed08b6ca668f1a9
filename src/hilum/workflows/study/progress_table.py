"""What is said of a study while it runs: a table that is drawn again and again, and a line where a run ends."""

from __future__ import annotations

from hilum.listener import Listener
from hilum.workflows.study.plan import StudyPlan
from hilum.workflows.study.record import StudyCell
from hilum.workflows.study.schedule import seconds_left


class Board:
    """Knows the cells and how far the running ones are."""

    def __init__(self, plan: StudyPlan, jobs: int, listener: Listener) -> None:
        self._plan, self._jobs, self._listener = plan, jobs, listener
        self._cells: tuple[StudyCell, ...] = ()
        self._running: dict[str, str] = {}

    def show(self, cells: tuple[StudyCell, ...]) -> None:
        """Take the cells as they are now."""
        self._cells = cells
        running = {cell.run for cell in cells if cell.state == "running"}
        self._running = {run: self._running.get(run, "begins") for run in running}
        self._draw()

    def hearing(self, run: str) -> Listener:
        """Return who hears what a run says: its progress goes to the table.

        Of notes a pretraining's are shown, and what rounds of pseudo-labels come to.
        """
        return _Hearing(self, run)

    def note(self, run: str, line: str) -> None:
        """Hear a note of a run."""
        kinds = {cell.kind for cell in self._cells if cell.run == run}
        if "pretrain" in kinds or ("pseudo-label" in kinds and line.startswith("round ")):
            self._listener.note(f"{_name(run)}: {line}")

    def progress(self, run: str, words: str) -> None:
        """Hear how far a run is."""
        self._running[run] = words
        self._draw()

    def ended(self, cell: StudyCell, *, again: bool) -> None:
        """Say that a run has ended; ``again`` where it had been trained before, and was measured now."""
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
        """Return the table: counts and the time left, then a line for each run at work."""
        states = [cell.state for cell in {cell.run: cell for cell in self._cells}.values()]
        counts = [f"{states.count('done')} done", f"{states.count('running')} running"]
        counts.append(f"{states.count('waiting')} to do")
        counts += [f"{states.count('failed')} failed"] * ("failed" in states)
        left = seconds_left(self._cells, self._plan, self._jobs)
        first = ", ".join(counts) + (
            "" if left is None or not left else f"; about {_span(left)} left"
        )
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

    def progress(self, stage: str, done: int, total: int, detail: str = "") -> None:
        share = f"{stage} {done:,} of {total:,}"
        self._board.progress(self._run, f"{share}  {detail}" if detail else share)


def _name(run: str) -> str:
    return run.rpartition("/")[2]


def _span(seconds: float) -> str:
    """Return a time span in the unit that says enough.

    >>> _span(40), _span(400), _span(9000)
    ('1 min', '7 min', '2.5 h')
    """
    return f"{seconds / 3600:.1f} h" if seconds >= 5400 else f"{max(1, round(seconds / 60))} min"
