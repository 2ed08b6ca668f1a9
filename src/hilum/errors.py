"""The errors a user can mend, and looking a name up in a table with a hint for a near miss."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TypeVar

T = TypeVar("T")


class HilumError(Exception):
    """The user can mend this: one line that says what, the value, what is allowed and the remedy."""


class DataError(HilumError):
    """A data set, table, film or store is not what the command needs."""


class OptionError(HilumError):
    """An option or a combination of options is not allowed."""


class RunError(HilumError):
    """A run folder, checkpoint or model on disk cannot be used as asked."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the nearest known name, or an empty string.

    >>> did_you_mean("moko", ["moco", "byol"])
    " Did you mean 'moco'?"
    """
    known = list(known)
    folded = {entry.casefold(): entry for entry in known}
    near = get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)
    return f" Did you mean {folded[near[0]]!r}?" if near else ""


def choose(name: str, table: Mapping[str, T], what: str) -> T:
    """Return ``table[name]``.

    Raises:
        OptionError: The table has no such name; the line lists what it has and the nearest.
    """
    if name in table:
        return table[name]
    allowed = ", ".join(table)
    raise OptionError(f"unknown {what} {name!r}: allowed are {allowed}.{did_you_mean(name, table)}")
