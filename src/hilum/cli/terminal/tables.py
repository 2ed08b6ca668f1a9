"""Tables and lines of plain text within 120 columns: names on the left, numbers aligned on the right."""

import textwrap
from collections.abc import Sequence

WIDEST = 120
"""Columns of a table, and of a line of words, at most."""
NARROWEST = 16
"""Columns for the names at least."""


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]], widest: int = WIDEST) -> str:
    """Return lines whose first column is flush left and whose others are flush right.

    Where a table would be wider than ``widest``, long names go on in the next line.

    >>> print(aligned(["split", "films"], [["train", "1,200"], ["test", "90"]]))
    split  films
    train  1,200
    test      90
    >>> print(aligned(["finding", "AUROC"], [["Enlarged Cardiomediastinum", "0.812"]], 27))
    finding              AUROC
    Enlarged             0.812
      Cardiomediastinum
    """
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    room = max(widest - sum(width + 2 for width in widths[1:]), NARROWEST)
    names = [
        textwrap.wrap(line[0], room, subsequent_indent="  ", break_on_hyphens=False) or [""]
        for line in lines
    ]
    first = max(len(part) for parts in names for part in parts)
    text = []
    for (name, *more), line in zip(names, lines, strict=True):
        cells = [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        text += ["  ".join([name.ljust(first), *cells]), *more]
    return "\n".join(text)


def wrapped(line: str, indent: str = "  ") -> str:
    """Return a line of words broken at 120 columns; a path or name is never broken."""
    return textwrap.fill(
        line,
        WIDEST,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
        drop_whitespace=True,
    )
