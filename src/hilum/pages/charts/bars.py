"""Charts of a data card alone: bars side by side, and what occurs together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from hilum.pages.charts.axes import NOT_AVAILABLE, WIDTH, y_axis
from hilum.pages.charts.dots import shortened
from hilum.pages.charts.svg import COLOURS, Drawing, Scale, domain, nice_step

LEFT, RIGHT = 62.0, 8.0
NAMES, ABOVE = 178.0, 168.0
"""Room for the findings' names beside and above a matrix."""


def bars(
    title: str, names: Sequence[str], series: Mapping[str, Sequence[float]], below: str, beside: str
) -> Markup:
    """Draw groups of bars, one group a name, one bar a series.

    Args:
        title: What is drawn, for those who do not see it.
        names: [K] below the groups.
        series: Name -> [K] shares, in the order of the page's colours; all 0 takes no room.
        below: The horizontal axis's title.
        beside: The vertical axis's title.
    """
    drawing = Drawing(WIDTH, 252, title)
    values = [value for one in series.values() for value in one]
    if not any(values):
        drawing.text((WIDTH / 2, 126), NOT_AVAILABLE, "middle", "muted")
        return drawing.svg()
    y = Scale(*domain([0, *values], nice_step(max(values), 4)), 204, 12)
    slot = (WIDTH - LEFT - RIGHT) / len(names)
    drawn = [
        (number, which, shares)
        for number, (which, shares) in enumerate(series.items())
        if any(shares)
    ]
    width = min(0.8 * slot / len(drawn), 46.0)
    y_axis(drawing, y, (LEFT, WIDTH - RIGHT), beside, "{:.0%}" if max(values) > 0.04 else "{:.1%}")
    for place, name in enumerate(names):
        middle = LEFT + slot * (place + 0.5)
        for beside_others, (number, which, shares) in enumerate(drawn):
            x = middle + (beside_others - len(drawn) / 2) * width
            hint = f"{which}, {name}: {shares[place]:.1%}"
            drawing.box(
                (x, y(shares[place])),
                (max(width - 1, 1), 204 - y(shares[place])),
                f"fill{number % COLOURS}",
                hint,
            )
        drawing.text((middle, 221), name, "middle", "tick")
    drawing.text(((LEFT + WIDTH - RIGHT) / 2, 242), below, "middle", "tick")
    return drawing.svg()


def matrix(title: str, names: Sequence[str], shares: Sequence[Sequence[float | None]]) -> Markup:
    """Draw a square of cells, the darker the larger its share.

    Args:
        title: What is drawn, for those who do not see it.
        names: [F] of rows and columns.
        shares: [F, F], from 0 to 1; None is left empty.
    """
    cell = min((WIDTH - NAMES - 2) / len(names), 40.0)
    drawing = Drawing(WIDTH, ABOVE + cell * len(names) + 4, title, "matrix")
    for row, name in enumerate(names):
        y = ABOVE + row * cell
        drawing.text((NAMES - 8, y + cell / 2 + 4.5), shortened(name, 24), "end")
        drawing.text((NAMES + (row + 0.5) * cell + 4, ABOVE - 6), shortened(name, 24), turned=True)
        for column, other in enumerate(names):
            x, size, share = NAMES + column * cell, (cell - 1, cell - 1), shares[row][column]
            drawing.box((x, y), size, "band")
            if share is None:
                continue
            hint = f"{name}, {other}: {share:.1%}"
            drawing.box((x, y), size, "heat", hint, f"{share**0.7:.2f}")
            if share >= 0.005:
                centre = (x + cell / 2 - 0.5, y + cell / 2 + 3)
                style = "inner over" if share > 0.5 else "inner"  # light on dark
                drawing.text(centre, f"{100 * share:.0f}", "middle", style)
    return drawing.svg()
