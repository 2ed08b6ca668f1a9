"""Charts of rounds of pseudo-labels: scores by round, labels added, and how right those were."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from hilum.pages.charts.axes import NOT_AVAILABLE, WIDTH, x_axis, y_axis
from hilum.pages.charts.dots import NAMES, Measured, shortened
from hilum.pages.charts.svg import COLOURS, SHAPES, Drawing, Scale, domain

ADDS_NONE = "adds none"


@dataclass(frozen=True)
class Step:
    """What stands after a round; round 0 is the start."""

    round: int
    score: float
    kept: bool


@dataclass(frozen=True)
class ScoreCurve:
    """The rounds of one run: its name, its place among the page's colours, and its steps."""

    name: str
    colour: int
    steps: Sequence[Step]


def scores_by_round(curves: Sequence[ScoreCurve], title: str) -> Markup:
    """Draw a score by round; the marks of rounds that were not kept are hollow.

    Args:
        curves: One line each.
        title: Beside the axis.
    """
    drawing = Drawing(WIDTH, 270, f"{title} by round", "wide-ticks")
    steps = [step for curve in curves for step in curve.steps]
    if not steps:
        drawing.text((WIDTH / 2, 135), NOT_AVAILABLE, "middle", "muted")
        return drawing.svg()
    y = Scale(*domain([step.score for step in steps], 0.02), 222, 18)
    last = max(1, *(step.round for step in steps))
    x = Scale(-0.15, last + 0.15, 72, WIDTH - 16)
    y_axis(drawing, y, (x.start, x.end), title)
    x_axis(drawing, x, 222, list(range(last + 1)), "{:.0f}", "round; 0 is what it began with")
    for curve in curves:
        colour = f"c{curve.colour % COLOURS}"
        drawing.path([(x(step.round), y(step.score)) for step in curve.steps], f"line {colour}")
        for step in curve.steps:
            about, hollow = ("", "") if step.kept else (", not kept", " hollow")
            hint = f"{curve.name}, round {step.round}: {step.score:.4f}{about}"
            corner, shape = (x(step.round), y(step.score)), curve.colour % len(SHAPES)
            drawing.mark(corner, f"mark {colour}{hollow}", shape, hint)
    return drawing.svg()


def labels_added(rounds: Sequence[tuple[str, int, int]]) -> Markup:
    """Draw how many cells were labelled present, and how many absent, in each round.

    Args:
        rounds: (its name, cells present, cells absent).
    """
    row, top, left = 46.0, 4.0, 84.0
    bottom = top + row * len(rounds)
    drawing = Drawing(WIDTH, bottom + 42, "Labels added by round")
    most = max((count for _, *counts in rounds for count in counts), default=0)
    scale = Scale(0, max(most, 1), left, WIDTH - 78)
    x_axis(drawing, scale, bottom, scale.ticks(3, least=1), "{:,.0f}", "cells labelled", top)
    for place, (name, *counts) in enumerate(rounds):
        y = top + row * place
        drawing.text((left - 12, y + row / 2 + 4.5), name, "end")
        for kind, (count, style) in enumerate(zip(counts, ("label0", "label2"), strict=True)):
            drawing.box((left, y + 5 + 18 * kind), (scale(count) - left, 16), style)
            drawing.text((scale(count) + 6, y + 17.5 + 18 * kind), f"{count:,}", style="number")
    return drawing.svg()


@dataclass(frozen=True)
class Right:
    """How often the labels of one finding are right: where the truth is known, on validation films, and as target."""

    finding: str
    labels: int
    real: Measured
    validation: Measured
    target: float | None


def rightness(rows: Sequence[Right], title: str) -> Markup:
    """Draw for each finding the share of right labels with its interval, beside what validation films showed.

    Args:
        rows: The findings, from the top; the line within a row is what was target, if anything was.
        title: Below the axis.
    """
    height, top = 27.0, 4.0
    bottom = top + height * len(rows)
    drawing = Drawing(WIDTH, bottom + 42, title)
    known = [value for row in rows for one in (row.real, row.validation) for value in one.values()]
    target = [row.target for row in rows if row.target is not None]
    scale = Scale(*domain([*known, *target, 1.0], 0.1), NAMES, WIDTH - 58)
    for place in range(0, len(rows), 2):
        drawing.box((0, top + height * place), (WIDTH, height), "band")
    x_axis(drawing, scale, bottom, scale.ticks(5), "{:.0%}", title, top)
    for index, row in enumerate(rows):
        above = top + height * index
        middle = above + height / 2
        drawing.text((NAMES - 10, middle + 4.5), shortened(row.finding), "end")
        if not row.labels:
            drawing.text((NAMES + 6, middle + 4.5), ADDS_NONE, style="muted")
            continue
        about = ""
        if row.target is not None:
            x, below = scale(row.target), above + height - 2
            drawing.line((x, above + 2), (x, below), "target")
            about = f" (target {row.target:.3f})"
        drawing.text((WIDTH - 2, middle + 4.5), f"{row.labels:,}", "end", "muted")
        name = f"{row.finding}, by the labels held back{about}"
        _share(drawing, scale, middle - 5, row.real, 0, name)
        name = f"{row.finding}, on validation films{about}"
        _share(drawing, scale, middle + 5, row.validation, 1, name)
    return drawing.svg()


def _share(drawing: Drawing, scale: Scale, y: float, one: Measured, colour: int, name: str) -> None:
    if one.value is None:
        return
    if one.ends:
        drawing.line((scale(one.ends[0]), y), (scale(one.ends[1]), y), f"whisker c{colour}")
    ends = f" [{one.ends[0]:.3f}, {one.ends[1]:.3f}]" if one.ends else ""
    drawing.mark((scale(one.value), y), f"mark c{colour}", colour, f"{name}: {one.value:.3f}{ends}")
