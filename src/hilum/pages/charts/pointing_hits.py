"""The chart of where models look: pointing-game hits by finding, beside random weights and chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from hilum.pages.charts.axes import NOT_AVAILABLE, WIDTH, x_axis
from hilum.pages.charts.dots import NAMES, Measured, shortened
from hilum.pages.charts.svg import Drawing, Scale

MODEL, CONTROL = 0, 1
"""Places among the page's colours."""


@dataclass(frozen=True)
class HitRow:
    """A finding: the model's hit rate, the control's, and the share of a film that the finding covers."""

    name: str
    model: Measured
    control: Measured
    chance: float | None


def hits_chart(rows: Sequence[HitRow], model: str, control: str) -> Markup:
    """Draw hit rates with intervals on an axis from 0 to 1; a tick marks the chance of a random point.

    Args:
        rows: From the top.
        model: The model's name, for those who point at a mark.
        control: The control's.
    """
    row, top = 27.0, 4.0
    bottom = top + row * len(rows)
    drawing = Drawing(
        WIDTH, bottom + 42, "Pointing-game hit rate of each finding with 95% intervals"
    )
    scale = Scale(0.0, 1.0, NAMES, WIDTH - 20)
    for place in range(0, len(rows), 2):
        drawing.box((0, top + row * place), (WIDTH, row), "band")
    x_axis(
        drawing,
        scale,
        bottom,
        scale.ticks(5),
        "{:.0%}",
        "films on which the hottest place lies on the finding",
        top,
    )
    for place, one in enumerate(rows):
        y = top + row * (place + 0.5)
        drawing.text((NAMES - 10, y + 4.5), shortened(one.name), "end")
        if one.model.value is None:
            drawing.text((NAMES + 6, y + 4.5), NOT_AVAILABLE, style="muted")
            continue
        if one.chance is not None:
            drawing.line((scale(one.chance), y - 10), (scale(one.chance), y + 10), "axis")
        _mark(drawing, scale, y - 4.75, one.model, MODEL, f"{one.name}, {model}")
        _mark(drawing, scale, y + 4.75, one.control, CONTROL, f"{one.name}, {control}")
    return drawing.svg()


def _mark(
    drawing: Drawing, scale: Scale, y: float, value: Measured, colour: int, name: str
) -> None:
    if value.value is None:
        return
    if value.ends:
        drawing.line((scale(value.ends[0]), y), (scale(value.ends[1]), y), f"whisker c{colour}")
    ends = f" [{value.ends[0]:.1%} to {value.ends[1]:.1%}]" if value.ends else ""
    drawing.mark(
        (scale(value.value), y), f"mark c{colour}", colour, f"{name}: {value.value:.1%}{ends}"
    )
