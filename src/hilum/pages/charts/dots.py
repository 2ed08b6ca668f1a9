"""The report's charts: plain values in, an SVG string out; what is missing is said where it would stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from hilum.pages.charts.axes import NOT_AVAILABLE, WIDTH, x_axis, y_axis
from hilum.pages.charts.svg import COLOURS, SHAPES, Drawing, Scale, domain

NAMES = 194.0
"""Room for the findings' names on the left."""


@dataclass(frozen=True)
class Measured:
    """A value with its interval; None where it is not available."""

    value: float | None
    low: float | None = None
    high: float | None = None

    @staticmethod
    def of(value: float | None, interval: Sequence[float] | None) -> Measured:
        """Return the value with the two ends of its interval, if it has one."""
        return Measured(value, *(interval or (None, None)))

    @property
    def ends(self) -> tuple[float, float] | None:
        """Both ends of the interval, None where there is none."""
        return None if self.low is None or self.high is None else (self.low, self.high)

    def values(self) -> list[float]:
        """Return what is known of value and ends."""
        return [known for known in (self.value, self.low, self.high) if known is not None]


def label_shares(findings: Sequence[str], shares: Mapping[str, Sequence[float]]) -> Markup:
    """Draw a bar a finding, divided by what its labels say.

    Args:
        findings: [F] names.
        shares: Name of a kind of label -> [F] shares of the films from 0 to 1, in the order of the
            bar.
    """
    row, top = 22.0, 6.0
    height = top + row * len(findings) + 34
    drawing = Drawing(WIDTH, height, "Share of films by label, for each finding")
    scale = Scale(0.0, 1.0, NAMES, WIDTH - 42)
    for place, name in enumerate(findings):
        y = top + row * place
        drawing.text((NAMES - 10, y + 14.5), shortened(name), "end")
        start = 0.0
        for kind, values in enumerate(shares.values()):
            width = scale(start + values[place]) - scale(start)
            drawing.box((scale(start), y + 3), (max(width, 0.0), row - 7), f"label{kind}")
            start += values[place]
        first = next(iter(shares.values()))[place]
        drawing.text((WIDTH - 2, y + 14.5), f"{first:.0%}", "end", "number")
    x_axis(drawing, scale, top + row * len(findings) + 2, [0, 0.25, 0.5, 0.75, 1], "{:.0%}")
    return drawing.svg()


def dots(
    findings: Sequence[str],
    series: Sequence[Sequence[Measured]],
    names: Sequence[str],
    span: tuple[float, float],
) -> Markup:
    """Draw the AUROC of several models on every finding, with intervals.

    Args:
        findings: [F] names.
        series: [M] models, each with [F] values.
        names: [M] the models' names.
        span: Ends of the horizontal axis.
    """
    apart = 9.5 if len(series) <= 2 else 8.6
    row, top = max(27.0, apart * len(series) + 9), 4.0
    bottom = top + row * len(findings)
    drawing = Drawing(WIDTH, bottom + 42, "AUROC of each finding with 95% intervals")
    scale = Scale(*span, NAMES, WIDTH - 12)
    for place in range(0, len(findings), 2):
        drawing.box((0, top + row * place), (WIDTH, row), "band")
    x_axis(drawing, scale, bottom, scale.ticks(5), "{:.1f}", "AUROC", top)
    if scale.low <= 0.5 <= scale.high:
        drawing.line((scale(0.5), top), (scale(0.5), bottom), "chance")
    for place, name in enumerate(findings):
        y = top + row * (place + 0.5)
        drawing.text((NAMES - 10, y + 4.5), shortened(name), "end")
        values = [one[place] for one in series]
        if all(value.value is None for value in values):
            drawing.text((NAMES + 6, y + 4.5), NOT_AVAILABLE, style="muted")
            continue
        for model, value in enumerate(values):
            offset = (model - (len(values) - 1) / 2) * apart
            if value.value is None:
                continue
            at, style = y + offset, f"c{model % COLOURS}"
            if value.ends:
                drawing.line(
                    (scale(value.ends[0]), at), (scale(value.ends[1]), at), f"whisker {style}"
                )
            hint = _hint(f"{name}, {names[model]}", value)
            drawing.mark((scale(value.value), at), f"mark {style}", model % len(SHAPES), hint)
    return drawing.svg()


def against_labels(
    lines: Mapping[str, Mapping[float, Measured]],
    seeds: Mapping[str, Mapping[float, Sequence[float]]] | None = None,
) -> Markup:
    """Draw the mean AUROC of every model against the fraction of labels, on a logarithmic axis, with interval bands.

    Args:
        lines: Model -> fraction of the labels -> mean AUROC.
        seeds: The same of every seed alone, drawn as small dots.
    """
    seeds = seeds or {}
    fractions = sorted({fraction for line in lines.values() for fraction in line})
    values = [
        known for line in lines.values() for value in line.values() for known in value.values()
    ]
    height = 330.0 + 25 * max(0, len(lines) - 3)
    bottom, top = height - 48, 12.0
    drawing = Drawing(WIDTH, height, "Mean AUROC against the fraction of labels")
    if not values:
        drawing.text((WIDTH / 2, height / 2), NOT_AVAILABLE, "middle", "muted")
        return drawing.svg()
    alone = [value for line in seeds.values() for found in line.values() for value in found]
    y = Scale(*domain([*values, *alone], 0.05), bottom, top)
    few, most = fractions[0] / 1.6, max(fractions[-1], fractions[0] * 1.5) * 1.6
    x = Scale(few, most, 62, WIDTH - 14, log=True)
    y_axis(drawing, y, (62, WIDTH - 14), "mean AUROC")
    for fraction in fractions:
        drawing.line((x(fraction), bottom), (x(fraction), bottom + 5), "axis")
        drawing.text((x(fraction), bottom + 20), f"{100 * fraction:g}%", "middle", "tick")
    drawing.text(
        ((62 + WIDTH - 14) / 2, bottom + 40), "share of the labelled patients", "middle", "tick"
    )
    # Each model's marks are moved aside, so that those of one fraction do not cover each other.
    shifts = {name: (index - (len(lines) - 1) / 2) * 9 for index, name in enumerate(lines)}
    for model, line in enumerate(lines.values()):
        _band(drawing, x, y, line, model)
    for model, (name, line) in enumerate(lines.items()):
        _line(drawing, x, y, line, (model, shifts[name], name))
        for fraction, found in seeds.get(name, {}).items():
            for value in found:
                drawing.dot(
                    (x(fraction) + shifts[name], y(value)),
                    f"seed c{model % COLOURS}",
                    f"{name}: {value:.3f}",
                )
    return drawing.svg()


def _band(drawing: Drawing, x: Scale, y: Scale, line: Mapping[float, Measured], model: int) -> None:
    """Fill the band between the ends of the intervals, where there are at least two."""
    ends = [(x(fraction), *value.ends) for fraction, value in sorted(line.items()) if value.ends]
    if len(ends) > 1:
        upper, lower = (
            [(at, y(high)) for at, _, high in ends],
            [(at, y(low)) for at, low, _ in ends],
        )
        drawing.area([*upper, *reversed(lower)], f"area c{model % COLOURS}")


def _line(
    drawing: Drawing,
    x: Scale,
    y: Scale,
    line: Mapping[float, Measured],
    model: tuple[int, float, str],
) -> None:
    place, shift, name = model
    colour = f"c{place % COLOURS}"
    points = [(x(f) + shift, value) for f, value in sorted(line.items())]
    drawing.path([(at, y(v.value)) for at, v in points if v.value is not None], f"line {colour}")
    for at, value in points:
        if value.value is None:
            continue
        if value.ends:
            drawing.line((at, y(value.ends[0])), (at, y(value.ends[1])), f"whisker {colour}")
        drawing.mark(
            (at, y(value.value)), f"mark {colour}", place % len(SHAPES), _hint(name, value)
        )


def shortened(name: str, most: int = 26) -> str:
    """Return a name that fits beside a chart.

    >>> shortened("Enlarged Cardiomediastinum"), shortened("A finding that has far too long a name")
    ('Enlarged Cardiomediastinum', 'A finding that has far to…')
    """
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _hint(name: str, value: Measured) -> str:
    ends = f" [{value.ends[0]:.3f}, {value.ends[1]:.3f}]" if value.ends else ""
    return f"{name}: {value.value:.3f}{ends}"
