"""One line of a film's table of probabilities."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One line of a film's table: the finding, its probability, its threshold, and whether it is called and there."""

    finding: str
    probability: float
    threshold: float | None
    called: bool
    present: bool | None

    @property
    def outcome(self) -> str:
        """One of found, missed, wrongly called, and nothing for what is rightly left alone or not known."""
        if self.present is None:
            return ""
        if self.present:
            return "found" if self.called else "missed"
        return "wrongly called" if self.called else ""
