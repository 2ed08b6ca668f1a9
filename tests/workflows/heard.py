"""A listener that keeps what it hears, for the tests of what workflows say."""

from __future__ import annotations

from hilum.listener import Listener


class Heard(Listener):
    """Keeps notes, in the order in which they were said."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, line: str) -> None:
        """Keep a line."""
        self.notes.append(line)
