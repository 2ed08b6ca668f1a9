"""Tables of plain text: names on the left, numbers aligned on the right."""

from collections.abc import Sequence


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return lines whose first column is flush left and whose others are flush right.

    >>> print(aligned(["part", "films"], [["train", "1,200"], ["test", "90"]]))
    part   films
    train  1,200
    test      90
    """
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(header))]
    return "\n".join(
        "  ".join(
            [
                line[0].ljust(widths[0]),
                *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)),
            ]
        )
        for line in lines
    )
