"""The status of a run that has not reached its end: its step, the reason, and the command that continues it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from hilum.pages.read import Run
from hilum.training.options_file import OPTIONS


@dataclass(frozen=True)
class Status:
    """The last step of an unfinished run, the reason, and the command that continues it, if one does."""

    step: str
    reason: str
    command: str | None


def status(run: Run) -> Status | None:
    """Return the status of an unfinished run; None for one that reached its end."""
    if run.finished:
        return None
    step = f"{run.step:,}"
    if run.total:
        most = "at most " if run.options.get("patience") else ""  # it may stop early
        step += f" of {most}{run.total:,} ({run.step / run.total:.0%})"
    warned = any(event.get("kind") == "collapse" for event in run.named("warning"))
    if warned and run.options.get("stop_on_collapse"):
        reason = "It was ended by --stop-on-collapse; the warning below says what was measured and what to try."
        return Status(step, reason, None)
    interrupted = any(event["step"] == run.step for event in run.named("interrupted"))
    reason = (
        "It was interrupted; all is saved."
        if interrupted
        else "It is still running, or it was broken off."
    )
    name = run.path.resolve().name  # no path of this machine is on the page
    command = shlex.join(["hilum", *run.command, "--config", f"{name}/{OPTIONS}", "--out", name])
    return Status(step, reason, command)
