"""AUROC against labelled patients: measured values, and a forecast that is drawn as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from hilum.pages.charts.axes import NOT_AVAILABLE, WIDTH, y_axis
from hilum.pages.charts.dots import Measured
from hilum.pages.charts.svg import COLOURS, SHAPES, Drawing, Scale, domain

LEFT, RIGHT = 62.0, WIDTH - 16.0


@dataclass(frozen=True)
class Curve:
    """A model's measured values and, where there is one, the forecast at twice the most patients."""

    name: str
    colour: int
    points: Sequence[tuple[float, Measured]]
    """(labelled patients, AUROC), from few to many."""
    forecast: Measured
    """Its value is None where there is none."""


def learning_curves(curves: Sequence[Curve]) -> Markup:
    """Draw curves of some models on a logarithmic axis of patients; what lies right of the dashed line is forecast."""
    height = 330.0
    bottom, top = height - 48, 24.0
    drawing = Drawing(WIDTH, height, "Mean AUROC against labelled patients")
    measured = [value for curve in curves for _, value in curve.points]
    known = [v for each in [*measured, *(c.forecast for c in curves)] for v in each.values()]
    if not known:
        drawing.text((WIDTH / 2, height / 2), NOT_AVAILABLE, "middle", "muted")
        return drawing.svg()
    patients = sorted({count for curve in curves for count, _ in curve.points})
    most = max(patients)
    ahead = any(curve.forecast.value is not None for curve in curves)
    x = Scale(patients[0] / 1.3, most * (2.6 if ahead else 1.3), LEFT, RIGHT, log=True)
    y = Scale(*domain(known, 0.05), bottom, top)
    y_axis(drawing, y, (LEFT, RIGHT), "mean AUROC")
    _patient_axis(drawing, x, bottom, [*patients, *([2 * most] if ahead else [])])
    if ahead:
        edge = x(most * 2**0.5)
        drawing.line((edge, top - 8), (edge, bottom), "chance")
        drawing.text((edge - 6, top - 10), "measured", "end", "muted")
        drawing.text((edge + 6, top - 10), "forecast", style="muted")
    for curve in curves:
        _band(drawing, x, y, curve)
    for place, curve in enumerate(curves):
        _marks(drawing, x, y, curve, (place - (len(curves) - 1) / 2) * 9)
    return drawing.svg()


def _patient_axis(drawing: Drawing, x: Scale, bottom: float, patients: Sequence[float]) -> None:
    """Write the numbers of patients below the axis, from the most down, leaving out those that would touch."""
    last = float("inf")
    for count in sorted(patients, reverse=True):
        place, label = x(count), f"{count:,.0f}"
        drawing.line((place, bottom), (place, bottom + 5), "axis")
        half = 4 + 3.5 * len(label)
        if place + half <= last:
            drawing.text((place, bottom + 20), label, "middle", "tick")
            last = place - half
    title = "labelled patients, on a logarithmic axis"
    drawing.text(((LEFT + RIGHT) / 2, bottom + 40), title, "middle", "tick")


def _band(drawing: Drawing, x: Scale, y: Scale, curve: Curve) -> None:
    ends = [(x(count), *value.ends) for count, value in curve.points if value.ends]
    if len(ends) > 1:
        upper = [(at, y(high)) for at, _, high in ends]
        lower = [(at, y(low)) for at, low, _ in reversed(ends)]
        drawing.area([*upper, *lower], f"area c{curve.colour % COLOURS}")


def _marks(drawing: Drawing, x: Scale, y: Scale, curve: Curve, shift: float) -> None:
    colour, shape = f"c{curve.colour % COLOURS}", curve.colour % len(SHAPES)
    points = [(count, value) for count, value in curve.points if value.value is not None]
    places = [(x(count) + shift, y(value.value or 0.0)) for count, value in points]
    drawing.path(places, f"line {colour}")
    ahead = curve.forecast
    if ahead.value is not None and points:
        at = x(2 * points[-1][0]) + shift
        drawing.path([places[-1], (at, y(ahead.value))], f"line forecast {colour}")
        _mark(drawing, y, at, ahead, f"hollow {colour}", shape, f"{curve.name}, forecast")
    for (count, value), (at, _) in zip(points, places, strict=True):
        _mark(drawing, y, at, value, colour, shape, f"{curve.name}, {count:,.0f} patients")


def _mark(
    drawing: Drawing, y: Scale, at: float, value: Measured, style: str, shape: int, name: str
) -> None:
    interval = ""
    if value.ends:
        drawing.line((at, y(value.ends[0])), (at, y(value.ends[1])), f"whisker {style}")
        interval = f" [{value.ends[0]:.3f}, {value.ends[1]:.3f}]"
    drawing.mark(
        (at, y(value.value or 0.0)), f"mark {style}", shape, f"{name}: {value.value:.3f}{interval}"
    )
