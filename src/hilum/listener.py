"""What a workflow says while it runs: the command line shows it, other callers may ignore it."""

from __future__ import annotations


class Listener:
    """Hears notes and progress; this one stays silent."""

    def note(self, line: str) -> None:
        """Hear one line that the user should know."""

    def progress(self, stage: str, done: int, total: int, detail: str = "") -> None:
        """Hear that ``done`` of ``total`` units of a stage are finished; ``detail`` is shown beside the bar."""


SILENT = Listener()
