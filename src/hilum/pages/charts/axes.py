"""The axes of the report's charts: lines, ticks and numbers at round values."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from hilum.pages.charts.svg import Drawing, Scale

WIDTH = 480.0
"""Of every chart, in its own units: two stand side by side on a desk, one fills a phone."""
NOT_AVAILABLE = "not available"
"""What is label where a value is missing."""
MINUS = "\u2212"


def x_axis(
    drawing: Drawing,
    scale: Scale,
    y: float,
    ticks: Sequence[float],
    form: str,
    title: str = "",
    grid_top: float | None = None,
) -> None:
    """Draw the horizontal axis at ``y`` with its ticks and title; from ``grid_top`` lines run down to it.

    ``form`` is how a number is written; its decimals are the fewest.
    """
    drawing.line((scale.start, y), (scale.end, y), "axis")
    written = _exact(form, ticks)
    for tick in ticks:
        place = scale(tick)
        if grid_top is not None:
            drawing.line((place, grid_top), (place, y), "grid")
        drawing.line((place, y), (place, y + 4), "axis")
        label = "0" if tick == 0 and "+" in written else written.format(tick).replace("-", MINUS)
        drawing.text((place, y + 18), label, "middle", "tick")
    if title:
        drawing.text(((scale.start + scale.end) / 2, y + 36), title, "middle", "tick")


def _exact(form: str, ticks: Sequence[float]) -> str:
    """Return the form with as many decimals as the distance of the ticks needs: +0.005 is not +0.01."""
    if len(ticks) < 2:
        return form
    needed = _decimals(ticks[1] - ticks[0]) - (2 if "%" in form else 0)
    return re.sub(r"\.(\d)", lambda given: f".{max(int(given[1]), needed)}", form)


def y_axis(
    drawing: Drawing, scale: Scale, sides: tuple[float, float], title: str, form: str = ""
) -> None:
    """Draw the vertical axis with lines between both sides, its numbers and its turned title."""
    for tick, label in y_ticks(scale, form):
        place = scale(tick)
        drawing.line((sides[0], place), (sides[1], place), "grid")
        drawing.text((sides[0] - 8, place + 4.5), label, "end", "tick")
    drawing.line((sides[0], scale.start), (sides[1], scale.start), "axis")
    drawing.text((16, (scale.start + scale.end) / 2), title, "middle", "tick", turned=True)


def y_ticks(scale: Scale, form: str) -> list[tuple[float, str]]:
    """Return the values beside an axis and how they are written: all with the decimals that their distance needs."""
    ticks = scale.ticks(5)
    gap = ticks[1] - ticks[0] if len(ticks) > 1 else 0.1
    if not form and (gap < 1e-5 or max(abs(scale.low), abs(scale.high)) >= 1e6):
        form = "{:.3g}"
    return [(tick, (form or f"{{:,.{_decimals(gap)}f}}").format(tick)) for tick in ticks]


def _decimals(gap: float) -> int:
    """Return how many decimals values this far apart, 1, 2 or 5 times a power of ten, need."""
    return max(-math.floor(math.log10(gap) + 1e-9), 0)
