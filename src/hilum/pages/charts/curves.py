"""Curves on common axes, such as a loss by step: plain values in, an SVG string out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from hilum.pages.charts.axes import NOT_AVAILABLE, WIDTH, x_axis, y_axis, y_ticks
from hilum.pages.charts.svg import Drawing, Point, Scale, domain, nice_step

MOST_POINTS = 800
"""Of a curve; more could not be told apart."""
LETTER = 8.0
"""Width of a digit beside the axes of curves, in a chart's own units, as a phone shows them."""


@dataclass(frozen=True)
class Line:
    """A curve: its name, its place among the page's colours, and its points."""

    name: str
    colour: int
    points: Sequence[tuple[float, float]]
    dashed: bool = False


def curves(
    lines: Sequence[Line],
    x_title: str,
    y_title: str,
    reference: tuple[str, float] | None = None,
    step: float | None = None,
    form: str = "",
    shown: Sequence[float] = (),
) -> Markup:
    """Draw curves on common axes.

    Args:
        lines: What to draw.
        x_title: Below the axis.
        y_title: Beside the axis.
        reference: A level to compare with, and its name.
        step: The vertical axis ends at multiples of it; a round one that suits the values unless
            given.
        form: How numbers beside the axis are written, for ``str.format``; as their distance needs
            unless given.
        shown: Values that the vertical axis reaches in any case.
    """
    points = [point for line in lines for point in line.points]
    drawing = Drawing(WIDTH, 270, f"{y_title} by {x_title}", "wide-ticks")
    if not points:
        drawing.text((WIDTH / 2, 135), NOT_AVAILABLE, "middle", "muted")
        return drawing.svg()
    levels = [*(value for _, value in points), *shown, *([reference[1]] if reference else [])]
    y = Scale(*domain(levels, step or fitting_step(levels)), 222, 18)
    last = max(max(place for place, _ in points), 1e-9)
    # Room on the left for the vertical axis's numbers, on the right for half of the last number.
    longest = max(len(label) for _, label in y_ticks(y, form))
    left = max(62.0, 38 + LETTER * longest)
    right = max(16.0, LETTER * len(f"{last:,.0f}") / 2 + 3)
    x = Scale(0.0, last, left, WIDTH - right)
    y_axis(drawing, y, (x.start, x.end), y_title, form)
    x_axis(drawing, x, 222, x.ticks(5, least=1), "{:,.0f}", x_title)
    if reference:
        drawing.line((x.start, y(reference[1])), (x.end, y(reference[1])), "chance")
    for line in lines:
        style, drawn = f"line c{line.colour}{' dashed' * line.dashed}", line.points
        if is_long(drawn):
            drawing.path([(x(a), y(b)) for a, b in extremes(drawn)], f"{style} pale")
            drawn = means(drawn)
        drawing.path([(x(a), y(b)) for a, b in drawn], style)
        if len(drawn) == 1:
            drawing.mark((x(drawn[0][0]), y(drawn[0][1])), f"mark c{line.colour}", 0, line.name)
    if reference:  # after the curves, which may run through it
        drawing.text((x.end - 2, y(reference[1]) - 6), reference[0], "end", "muted level")
    return drawing.svg()


def is_long(points: Sequence[Point]) -> bool:
    """Whether a curve has more points than can be told apart: then a band of their range and their means are drawn."""
    return len(points) > MOST_POINTS


def extremes(points: Sequence[Point], most: int = MOST_POINTS) -> list[Point]:
    """Return the lowest and the highest point of each stretch of a curve, at most ``most`` in all: no leap is lost.

    >>> extremes([(1, 5.0), (2, 9.0), (3, 4.0), (4, 6.0)], most=2)
    [(2, 9.0), (3, 4.0)]
    """
    kept: list[Point] = []
    for part in _stretches(points, most // 2):
        kept += sorted(
            {min(part, key=lambda point: point[1]), max(part, key=lambda point: point[1])}
        )
    return kept


def means(points: Sequence[Point], most: int = MOST_POINTS // 8) -> list[Point]:
    """Return the mean place and the mean value of each of at most ``most`` stretches of a curve.

    >>> means([(1, 5.0), (2, 9.0), (3, 4.0), (4, 6.0)], most=2)
    [(1.5, 7.0), (3.5, 5.0)]
    """
    parts = _stretches(points, most)
    return [
        (sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)) for part in parts
    ]


def _stretches(points: Sequence[Point], most: int) -> list[Sequence[Point]]:
    length = -(-len(points) // most)
    return [points[start : start + length] for start in range(0, len(points), length)]


def fitting_step(values: Sequence[float]) -> float:
    """Return a round number of which about four multiples lie within the values' range.

    >>> fitting_step([3.4, 5.1]), fitting_step([0.0, 0.0005]), fitting_step([2.0])
    (0.5, 0.0001, 0.5)
    """
    span = max(values) - min(values)
    return nice_step(span or max(abs(values[0]), 1e-6), 4)
