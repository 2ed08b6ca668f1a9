"""Drawing in SVG: a few shapes, whose colours come from the page's style, so that light, dark and print all fit."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup, escape

Point = tuple[float, float]
SHAPES = (
    "",
    "m0 -5.2l5.2 5.2l-5.2 5.2l-5.2 -5.2",
    "m-4 -4h8v8h-8",
    "m0 -5l4.9 8.6h-9.8",
    "m0 5l4.9 -8.6h-9.8",
    "m-1.7 -4.9h3.4v3.2h3.2v3.4h-3.2v3.2h-3.4v-3.2h-3.2v-3.4h3.2",
    "m-2.6 -4.5h5.2l2.6 4.5l-2.6 4.5h-5.2l-2.6 -4.5",
    "m-4.8 -2.4l2.4 -2.4l2.4 2.4l2.4 -2.4l2.4 2.4l-2.4 2.4l2.4 2.4l-2.4 2.4l-2.4 -2.4l-2.4 2.4l-2.4 -2.4l2.4 -2.4",
    "m0 -5l4.75 3.45l-1.81 5.6h-5.88l-1.81 -5.6",
)
"""Marks, as paths from their centre: disc, diamond, square, triangle, the same upside down, cross,
hexagon, cross of diagonals, pentagon."""
COLOURS = 9
"""Of models, in the page's style."""


@dataclass(frozen=True)
class Scale:
    """A straight line from values to places; with ``log`` from their logarithms."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Return the place of a value."""
        low, high, value = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def ticks(self, about: int = 5, least: float = 0.0) -> list[float]:
        """Return round values within the scale, about that many, at least ``least`` apart.

        >>> Scale(0.0, 1.0, 0, 100).ticks(5)
        [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
        """
        step = max(nice_step(self.high - self.low, about), least)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(place * step, 10) for place in range(first, last + 1)]


def nice_step(span: float, about: int) -> float:
    """Return 1, 2 or 5 times a power of ten that divides a span into about so many steps.

    >>> nice_step(1.0, 5), nice_step(730, 5)
    (0.2, 200.0)
    """
    raw = span / about
    power = 10.0 ** math.floor(math.log10(raw))
    return min(
        (factor * power for factor in (1, 2, 5, 10)), key=lambda step: abs(math.log(step / raw))
    )


def domain(values: Iterable[float], step: float) -> tuple[float, float]:
    """Return the multiples of a step that enclose the values, at least one step apart.

    >>> domain([0.62, 0.81], 0.1)
    (0.6, 0.9)
    """
    known = list(values)
    low, high = math.floor(min(known) / step + 1e-9), math.ceil(max(known) / step - 1e-9)
    return round(low * step, 10), round(max(high, low + 1) * step, 10)


@dataclass
class Drawing:
    """An SVG picture, built shape by shape; its text is escaped."""

    width: float
    height: float
    title: str
    kind: str = ""
    """A further class for the page's style."""
    parts: list[str] = field(default_factory=list)

    def line(self, start: Point, end: Point, style: str) -> None:
        """Draw a straight line."""
        self._add("line", style, x1=start[0], y1=start[1], x2=end[0], y2=end[1])

    def path(self, points: Sequence[Point], style: str) -> None:
        """Draw straight lines from point to point."""
        if points:
            self._add(
                "path", style, d="M" + "L".join(f"{_number(x)} {_number(y)}" for x, y in points)
            )

    def area(self, points: Sequence[Point], style: str) -> None:
        """Fill what a path encloses."""
        if points:
            self._add(
                "path",
                style,
                d="M" + "L".join(f"{_number(x)} {_number(y)}" for x, y in points) + "Z",
            )

    def box(
        self, corner: Point, size: Point, style: str, hint: str = "", opacity: str = ""
    ) -> None:
        """Draw a filled rectangle; ``hint`` is shown on pointing at it."""
        more = {"fill-opacity": opacity}  # left out where it is empty
        self._add(
            "rect", style, hint, x=corner[0], y=corner[1], width=size[0], height=size[1], **more
        )

    def mark(self, place: Point, style: str, shape: int, hint: str = "") -> None:
        """Draw a mark of one of SHAPES; ``hint`` is shown on pointing at it."""
        x, y = place
        if shape == 0:
            self._add("circle", style, hint, cx=x, cy=y, r=4.2)
        else:
            self._add("path", style, hint, d=f"M{_number(x)} {_number(y)}{SHAPES[shape]}z")

    def dot(self, place: Point, style: str, hint: str = "") -> None:
        """Draw a small dot."""
        self._add("circle", style, hint, cx=place[0], cy=place[1], r=1.9)

    def text(
        self, place: Point, words: str, anchor: str = "start", style: str = "", turned: bool = False
    ) -> None:
        """Write words whose baseline begins, ends or is centred at a place."""
        more = (
            {"transform": f"rotate(-90 {_number(place[0])} {_number(place[1])})"} if turned else {}
        )
        attributes = _attributes(
            {"class": style, "x": place[0], "y": place[1], "text-anchor": anchor, **more}
        )
        self.parts.append(f"<text{attributes}>{escape(words)}</text>")

    def svg(self) -> Markup:
        """Return the picture."""
        style = f"chart {self.kind}".rstrip()
        frame = _attributes(
            {"viewBox": f"0 0 {_number(self.width)} {_number(self.height)}", "role": "img"}
        )
        title = escape(self.title)
        inner = "".join(self.parts)
        return Markup(f'<svg class="{style}" aria-label="{title}"{frame}>{inner}</svg>')

    def _add(self, tag: str, style: str, hint: str = "", **attributes: float | str) -> None:
        inner = f"<title>{escape(hint)}</title>" if hint else ""
        self.parts.append(f"<{tag}{_attributes({'class': style, **attributes})}>{inner}</{tag}>")


def _attributes(values: dict[str, float | str]) -> str:
    attributes = {
        name: value if isinstance(value, str) else _number(value)
        for name, value in values.items()
        if value != ""
    }
    return "".join(f' {name}="{escape(value)}"' for name, value in attributes.items())


def _number(value: float) -> str:
    return f"{round(value, 1):g}"
