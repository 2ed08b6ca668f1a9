"""Charts of a study's page alone: intervals in rows, reliability, what a sampler does, and the models' key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from hilum.pages.charts.axes import NOT_AVAILABLE, WIDTH, x_axis
from hilum.pages.charts.dots import Measured, shortened
from hilum.pages.charts.svg import COLOURS, SHAPES, Drawing, Scale, domain

NAMES = 150.0
"""Room for the rows' names."""
TICK = 48.0
"""Least room for a number below an axis, as a phone shows it."""


@dataclass(frozen=True)
class Level:
    """One row: its name, its place among the page's colours, its value, and what is said beside it."""

    name: str
    colour: int
    value: Measured
    beside: str = ""


def key(names: Sequence[str], first: int = 0, shown: Sequence[str] | None = None) -> Markup:
    """Return the marks of the models with their names, from the first colour and shape on; of those shown alone."""
    items = []
    for place, name in enumerate(names, start=first):
        if shown is not None and name not in shown:
            continue
        mark = Drawing(12, 12, "")
        mark.mark((6, 6), f"mark c{place % COLOURS}", place % len(SHAPES))
        items.append(
            f'<li><svg viewBox="0 0 12 12" aria-hidden="true">{"".join(mark.parts)}</svg>{escape(name)}</li>'
        )
    return Markup(f'<ul class="key">{"".join(items)}</ul>')


def levels(
    rows: Sequence[Level],
    title: str,
    step: float,
    reference: float | None = None,
    form: str = "{:.2f}",
) -> Markup:
    """Draw a value with its interval in each row, above a common axis.

    Args:
        rows: What to draw, from the top.
        title: Below the axis.
        step: The axis ends at multiples of it.
        reference: Where a dashed line runs, such as 0 for differences.
        form: How numbers below the axis are written.
    """
    height, top = 25.0, 4.0
    bottom = top + height * len(rows)
    drawing = Drawing(WIDTH, bottom + 42, title)
    known = [value for row in rows for value in row.value.values()] + (
        [] if reference is None else [reference]
    )
    room = max((len(row.beside) for row in rows), default=0) * 7.4
    if not known:
        drawing.text((WIDTH / 2, bottom / 2 + 10), NOT_AVAILABLE, "middle", "muted")
        return drawing.svg()
    scale = Scale(*domain(known, step), NAMES, WIDTH - 14 - room)
    x_axis(drawing, scale, bottom, _apart(scale), form, title, top)
    if reference is not None:
        drawing.line((scale(reference), top), (scale(reference), bottom), "chance")
    for index, row in enumerate(rows):
        y = top + height * (index + 0.5)
        drawing.text((NAMES - 12, y + 4.5), shortened(row.name, 19), "end")
        drawing.text((WIDTH - 2, y + 4.5), row.beside, "end", "muted")
        value, ends, colour = row.value.value, row.value.ends, f"c{row.colour % COLOURS}"
        if value is None:
            drawing.text((NAMES + 6, y + 4.5), NOT_AVAILABLE, style="muted")
            continue
        if ends:
            drawing.line((scale(ends[0]), y), (scale(ends[1]), y), f"whisker {colour}")
        interval = f" [{ends[0]:.3f}, {ends[1]:.3f}]" if ends else ""
        hint = f"{row.name}: {value:.3f}{interval}"
        drawing.mark((scale(value), y), f"mark {colour}", row.colour % len(SHAPES), hint)
    return drawing.svg()


def _apart(scale: Scale) -> list[float]:
    """Return about four round values whose numbers do not touch, or fewer."""
    choices = (scale.ticks(about) for about in (4, 3, 2, 1))
    wide = (
        ticks for ticks in choices if len(ticks) < 2 or scale(ticks[1]) - scale(ticks[0]) >= TICK
    )
    return next(wide, [scale.low])


REACHES = (0.1, 0.2, 0.5, 1.0)
"""Ends of a chart of reliability's axes; the least that holds all its points is taken."""


def reliability(points: Sequence[tuple[float, float]], name: str) -> Markup:
    """Draw what was observed against what was predicted, from 0 on; the dashed line is a perfect agreement.

    Args:
        points: (predicted, observed) of each bin.
        name: Of the finding, for those who cannot see the picture.
    """
    side, left, bottom = 150.0, 30.0, 128.0
    end = next(
        reach
        for reach in REACHES
        if all(max(point) <= reach for point in points) or reach == REACHES[-1]
    )
    drawing = Drawing(side, side, f"Reliability, {name}", "square")
    x, y = Scale(0, end, left, side - 8), Scale(0, end, bottom, 6)
    drawing.box((left, 6), (side - 8 - left, bottom - 6), "band")
    drawing.line((x(0), y(0)), (x(end), y(end)), "chance")
    for tick in (0, end / 2, end):
        drawing.text((x(tick), bottom + 15), f"{tick:g}", "middle", "tick")
        drawing.text((left - 5, y(tick) + 4), f"{tick:g}", "end", "tick")
    drawing.path([(x(a), y(b)) for a, b in points], "line thin c0")
    for a, b in points:
        drawing.dot((x(a), y(b)), "seed c0", f"predicted {a:.3f}, observed {b:.3f}")
    if not points:
        drawing.text(((left + side) / 2, bottom / 2), NOT_AVAILABLE, "middle", "muted")
    return drawing.svg()


def moved(names: Sequence[str], before: Sequence[float], after: Sequence[float]) -> Markup:
    """Draw the share of films with each finding before (a line) and after (a mark) something changed it."""
    height, top = 22.0, 4.0
    bottom = top + height * len(names)
    drawing = Drawing(
        WIDTH, bottom + 42, "Share of films with each finding as drawn by the sampler"
    )
    scale = Scale(*domain([0.0, *before, *after], 0.1), 194, WIDTH - 14)
    x_axis(drawing, scale, bottom, scale.ticks(5), "{:.0%}", "share of the films drawn", top)
    for place, (name, first, second) in enumerate(zip(names, before, after, strict=True)):
        y = top + height * (place + 0.5)
        drawing.text((184, y + 4.5), shortened(name), "end")
        drawing.line((scale(first), y), (scale(second), y), "whisker c1")
        drawing.mark((scale(first), y), "mark c0", 0, f"{name}, as labelled: {first:.1%}")
        drawing.mark((scale(second), y), "mark c1", 1, f"{name}, as drawn: {second:.1%}")
    return drawing.svg()
