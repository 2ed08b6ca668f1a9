"""Curves: points where their values are, numbers that can be told apart, and no leap lost where there are too many."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from hilum.pages.charts.axes import WIDTH
from hilum.pages.charts.curves import (
    LETTER,
    MOST_POINTS,
    Line,
    curves,
    extremes,
    fitting_step,
    means,
)

LONG = [(step, 1.0 + (4.0 if step == 3210 else 0.0) + step % 7 / 100) for step in range(1, 5001)]


def shapes(picture: str, style: str) -> list[ET.Element]:
    return [shape for shape in ET.fromstring(picture) if style in shape.get("class", "").split()]


def places(path: ET.Element) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"([\d.]+) ([\d.]+)", path.get("d", ""))]


def beside(picture: str) -> list[ET.Element]:
    return [text for text in shapes(picture, "tick") if text.get("text-anchor") == "end"]


@pytest.mark.parametrize("top", [1e-9, 3e-6, 0.0004, 0.7, 1.0, 37.0, 12_500.0, 4e6, 1e30])
def test_numbers_beside_an_axis_differ_and_stay_clear_of_its_title(top: float) -> None:
    numbers = beside(curves([Line("a", 0, [(1, 0.0), (9, top)])], "step", "value"))
    said = [number.text or "" for number in numbers]
    assert len(set(said)) == len(said) >= 3
    for number in numbers:
        assert float(number.get("x", 0)) - LETTER * len(number.text or "") > 22
    assert [float(text.replace(",", "")) for text in said] == sorted(
        float(text.replace(",", "")) for text in said
    )


@pytest.mark.parametrize("last", [3, 108, 200_000, 4_000_000])
def test_the_last_number_below_is_not_cut(last: int) -> None:
    picture = curves([Line("a", 0, [(1, 0.1), (last, 0.2)])], "step", "value")
    for number in (text for text in shapes(picture, "tick") if text.get("transform") is None):
        half = LETTER * len(number.text or "") / 2
        assert number.get("text-anchor") == "end" or float(number.get("x", 0)) + half <= WIDTH


def test_values_asked_for_are_within_the_axis() -> None:
    picture = curves([Line("a", 0, [(1, 0.4), (2, 0.5)])], "step", "value", shown=(0.0, 1.0))
    said = {text.text for text in beside(picture)}
    assert {"0.0", "1.0"} <= said
    assert {"0%", "100%"} <= {
        text.text
        for text in beside(
            curves([Line("a", 0, [(1, 0.4)])], "step", "s", form="{:.0%}", shown=(0, 1))
        )
    }


def test_a_long_curve_is_a_band_and_its_means_and_keeps_its_leap() -> None:
    picture = curves([Line("a", 0, LONG)], "step", "value")
    pale, line = shapes(picture, "line")
    assert "pale" in pale.get("class", "")
    assert len(places(pale)) <= MOST_POINTS
    assert len(places(line)) <= MOST_POINTS // 8
    assert min(y for _, y in places(pale)) < min(y for _, y in places(line)) - 40
    assert len(shapes(curves([Line("a", 0, LONG[:MOST_POINTS])], "step", "value"), "line")) == 1


def test_extremes_and_means_of_a_curve() -> None:
    assert max(extremes(LONG), key=lambda point: point[1])[0] == 3210
    steps = [step for step, _ in extremes(LONG)]
    assert steps == sorted(steps)
    assert sum(value for _, value in means(LONG, 50)) / 50 == pytest.approx(
        sum(value for _, value in LONG) / len(LONG), rel=1e-6
    )


@pytest.mark.parametrize(
    "values", [[0.0], [5.0], [-2.0], [0.1, 0.1], [1.0, 1.0 + 1e-6], [0.0, 1e30]]
)
def test_a_step_fits_whatever_the_values(values: list[float]) -> None:
    step = fitting_step(values)
    assert step > 0
    assert curves([Line("a", 0, list(enumerate(values)))], "step", "value").count("tick") >= 3


def test_a_level_is_written_over_the_curve_that_runs_through_it() -> None:
    picture = curves([Line("a", 0, [(1, 5.0), (9, 5.0)])], "step", "loss", ("chance", 5.0))
    order = [shape.get("class", "") for shape in ET.fromstring(picture)]
    assert order.index("muted level") > order.index("line c0")
