"""What a workflow says while it runs: the command line shows it, other callers may ignore it."""

from __future__ import annotations

from collections.abc import Sequence


class Listener:
    """Hears notes, progress and tables; this one stays silent."""

    def note(self, line: str) -> None:
        """Hear one line that the user should know."""

    def progress(self, stage: str, done: int, total: int, detail: str = "") -> None:
        """Hear that ``done`` of ``total`` units of a stage are finished; ``detail`` is shown beside the bar."""

    def table(self, lines: Sequence[str]) -> None:
        """Hear what a table that is drawn again and again says now, its sum in the first line; no lines end it."""


SILENT = Listener()
