"""Messages from a running workflow: the command line shows them, other callers may ignore them."""

from __future__ import annotations

from collections.abc import Sequence


class Listener:
    """Receives notes, the device, progress and tables; this one ignores them all."""

    def note(self, line: str) -> None:
        """Receive one line that the user should know."""

    def device(self, name: str) -> None:
        """Receive the device that computes from now on, such as ``cpu, 4 threads``."""

    def progress(self, stage: str, done: int, total: int, detail: str = "") -> None:
        """Receive that ``done`` of ``total`` units of a stage are finished; ``detail`` is shown beside the bar.

        A stage calls it once before its first unit, so that the time left can be estimated after
        that one; ``done`` is not 0 then where an earlier run is continued.
        """

    def may_stop_early(self, stage: str) -> None:
        """Receive that a stage may end before ``total``: its time left is an upper bound."""

    def table(self, lines: Sequence[str]) -> None:
        """Receive the new state of a table, with its summary in the first line; no lines end it."""


SILENT = Listener()
