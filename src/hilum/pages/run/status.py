"""Where a run stands that has not reached its end, why, and what continues it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from hilum.pages.read import Run
from hilum.training.run_folder import OPTIONS


@dataclass(frozen=True)
class Standing:
    """The step at which a run stands, why it does in words, and the command that continues it, if one does."""

    place: str
    why: str
    command: str | None


def standing(run: Run) -> Standing | None:
    """Return where an unfinished run stands; None for one that reached its end."""
    if run.finished:
        return None
    if _collapsed(run):
        why = "It was ended by --stop-on-collapse; the warning below says what the watch saw and what to try."
        return Standing(_place(run), why, None)
    stopped = any(event["step"] == run.step for event in run.named("interrupted"))
    why = (
        "It was interrupted; all is saved."
        if stopped
        else "It is still going on, or it was broken off."
    )
    command = shlex.join(
        ["hilum", *run.command, "--config", str(run.path / OPTIONS), "--out", str(run.path)]
    )
    return Standing(_place(run), why, command)


def _place(run: Run) -> str:
    """Return the step, and of how many, such as ``step 1,200 of 3,000 (40%)``."""
    if not run.total:
        return f"step {run.step:,}"
    most = "at most " if run.options.get("patience") else ""  # it may stop early
    return f"step {run.step:,} of {most}{run.total:,} ({run.step / run.total:.0%})"


def _collapsed(run: Run) -> bool:
    """Whether the run was told to stop on a collapse and saw one: it goes on from there no more."""
    warned = any(event.get("kind") == "collapse" for event in run.named("warning"))
    return warned and bool(run.options.get("stop_on_collapse"))
