"""A ROC curve as a small square, with operating points marked on it."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from hilum.pages.charts.axes import NOT_AVAILABLE
from hilum.pages.charts.svg import Drawing, Scale


def roc_chart(
    points: Sequence[tuple[float, float]],
    marks: Sequence[tuple[float, float, str]],
    name: str,
) -> Markup:
    """Draw sensitivity against 1 - specificity; the dashed line is guessing.

    Args:
        points: (false positive rate, sensitivity) of the curve; empty where it is not available.
        marks: The same of each operating point, and its name; a colour and a shape each.
        name: Of the finding, for those who cannot see the picture.
    """
    side, left, bottom = 150.0, 30.0, 128.0
    drawing = Drawing(side, side, f"ROC curve, {name}", "square")
    x, y = Scale(0, 1, left, side - 8), Scale(0, 1, bottom, 6)
    drawing.box((left, 6), (side - 8 - left, bottom - 6), "band")
    drawing.line((x(0), y(0)), (x(1), y(1)), "chance")
    for tick in (0.0, 0.5, 1.0):
        drawing.text((x(tick), bottom + 15), f"{tick:g}", "middle", "tick")
        drawing.text((left - 5, y(tick) + 4), f"{tick:g}", "end", "tick")
    drawing.path([(x(a), y(b)) for a, b in points], "line c0")
    for number, (a, b, label) in enumerate(marks, start=1):
        hint = f"{label}: sensitivity {b:.3f}, specificity {1 - a:.3f}"
        drawing.mark((x(a), y(b)), f"mark c{number % 9}", number, hint)
    if not points:
        drawing.text(((left + side) / 2, bottom / 2), NOT_AVAILABLE, "middle", "muted")
    return drawing.svg()
