"""The options that every command has, and how a command answers."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter

from hilum.counts import counted
from hilum.group_key import VARIABLE

RESEARCH_ONLY = "Research use only, not a medical device."

FLAT = Parameter(name="*")
"""Spreads a dataclass: its fields become options of the command itself."""


@dataclass(frozen=True, kw_only=True)
class SharedOptions:
    """Options of every command."""

    config: str | None = None
    """Options from a YAML file: small, gpu or paper (shipped), or a file. Its keys have underscores
    (batch_size); the command line has dashes (--train.batch-size, underscores are accepted too) and
    wins."""
    json: bool = False
    """End with one line of JSON on standard output instead of text."""
    key_file: Path | None = None
    """The group's secret key, under which a model knows its training films (also HILUM_KEY_FILE); by
    default hilum.key beside the store, made when missing."""
    traceback: bool = False
    """Print the traceback of an unexpected error (also HILUM_TRACEBACK=1)."""

    def __post_init__(self) -> None:
        """Pass the key's path on to this process and the processes that it starts."""
        if self.key_file is not None:
            os.environ[VARIABLE] = str(self.key_file.absolute())


Shared = Annotated[SharedOptions, Parameter(name="*", group=Group("Every command", sort_key=9))]
"""How a command takes them: ``shared: Shared = UNSHARED``."""
UNSHARED = SharedOptions()
"""None of them given."""


def answer(shared: SharedOptions, result: Any, text: str) -> None:
    """Print the command's result on standard output: text for people, or one line of JSON."""
    content = result.to_json() if hasattr(result, "to_json") else asdict(result)
    print(
        json.dumps(content, ensure_ascii=False, allow_nan=False, default=_text)
        if shared.json
        else text,
        flush=True,
    )


def speaks() -> bool:
    """Return whether this process prints the result: rank 0 of those that train one model."""
    from hilum.training.distributed import rank_info

    return rank_info(os.environ).rank == 0


def training_text(result: Any) -> str:
    """Return the summary of a finished run, its path last."""
    rate = (
        ""
        if result.images_per_second is None
        else f" at {result.images_per_second:,.0f} films a second"
    )
    where = "by cross-validation" if result.within else "on validation films"
    best = "" if result.best is None else f"; best mean AUROC {where} {result.best:.3f}"
    films = f"{counted(result.films, 'film')} of {counted(result.patients, 'patient')}"
    return f"{counted(result.steps, 'step')}{rate} on {films}{best}\n{result.run}"


def by_reason(what: str, reasons: Mapping[str, int]) -> str:
    """Return counts by reason as the end of a sentence.

    >>> by_reason("failed", {"not an image": 2, "truncated": 1})
    ', 3 failed (2 not an image, 1 truncated)'
    """
    listed = ", ".join(f"{count:,} {reason}" for reason, count in reasons.items())
    return f", {sum(reasons.values()):,} {what} ({listed})" if listed else ""


def _text(value: object) -> str:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} is no JSON")
