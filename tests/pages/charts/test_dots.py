"""Charts: what is drawn is where its value is, and what is missing is said."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from hilum.pages.charts.axes import x_axis
from hilum.pages.charts.curves import Line, curves
from hilum.pages.charts.dots import Measured, against_labels, dots, label_shares
from hilum.pages.charts.svg import Drawing, Scale, domain, nice_step

EVIL = '<script>alert("1")</script>'
GONE = Measured(None)


def marks(picture: str, style: str) -> list[ET.Element]:
    return [shape for shape in ET.fromstring(picture) if style in shape.get("class", "").split()]


def words(picture: str) -> list[str]:
    return [text.text or "" for text in ET.fromstring(picture).iter("text")]


def test_dots_and_whiskers_stand_at_their_values():
    picture = dots(["Edema"], [[Measured(0.75, 0.5, 1.0)]], ["MoCo"], (0.5, 1.0))
    (dot,), (whisker,) = marks(picture, "mark"), marks(picture, "whisker")
    low, high = float(whisker.get("x1")), float(whisker.get("x2"))
    assert float(dot.get("cx")) == pytest.approx((low + high) / 2, abs=0.1)
    (axis, *_) = marks(picture, "axis")
    assert (float(axis.get("x1")), float(axis.get("x2"))) == (low, high)


@pytest.mark.parametrize(
    ("form", "ends", "expected"),
    [
        ("{:+.2f}", (0.0, 0.02), ["0", "+0.005", "+0.010", "+0.015", "+0.020"]),
        ("{:+.2f}", (-0.02, 0.02), ["\u22120.02", "\u22120.01", "0", "+0.01", "+0.02"]),
        ("{:.1f}", (0.6, 0.7), ["0.60", "0.62", "0.64", "0.66", "0.68", "0.70"]),
        ("{:.1f}", (0.4, 1.0), ["0.4", "0.5", "0.6", "0.7", "0.8", "0.9", "1.0"]),
        ("{:.0%}", (0.0, 0.02), ["0.0%", "0.5%", "1.0%", "1.5%", "2.0%"]),
        ("{:.0%}", (0.0, 1.0), ["0%", "20%", "40%", "60%", "80%", "100%"]),
        ("{:,.0f}", (0, 4000), ["0", "1,000", "2,000", "3,000", "4,000"]),
    ],
)
def test_numbers_below_an_axis_are_the_values_of_its_ticks(
    form: str, ends: tuple[float, float], expected: list[str]
):
    drawing = Drawing(100, 100, "axis")
    scale = Scale(*ends, 0, 100)
    x_axis(drawing, scale, 50, scale.ticks(5), form)
    assert [word for word in words(drawing.svg()) if word] == expected


def test_models_of_a_finding_do_not_hide_each_other():
    picture = dots(["Edema"], [[Measured(0.7)], [Measured(0.7)]], ["a", "b"], (0.4, 0.9))
    first, second = marks(picture, "mark")
    assert first.tag == "circle"
    assert second.tag == "path"
    centre = float(re.match(r"M\S+ (\S+?)m", second.get("d")).group(1))
    assert centre > float(first.get("cy")) + 9


def test_a_finding_without_values_is_said_to_be_not_available():
    picture = dots(
        ["Edema", "Hernia"], [[Measured(0.7), GONE], [GONE, GONE]], ["a", "b"], (0.4, 0.9)
    )
    assert words(picture).count("not available") == 1
    assert len(marks(picture, "mark")) == 1
    assert not marks(picture, "whisker")


def test_charts_without_any_value_say_so():
    assert "not available" in words(against_labels({"MoCo": {0.1: GONE, 1.0: GONE}}))
    assert "not available" in words(curves([Line("a", 0, [])], "step", "loss"))


def test_a_missing_value_breaks_no_line():
    picture = against_labels(
        {"MoCo": {0.1: Measured(0.6), 0.5: GONE, 1.0: Measured(0.8, 0.7, 0.9)}}
    )
    assert len(marks(picture, "mark")) == 2
    assert len(marks(picture, "whisker")) == 1
    assert {"10%", "50%", "100%"} <= set(words(picture))


def test_one_share_of_labels_can_be_drawn():
    assert len(marks(against_labels({"MoCo": {1.0: Measured(0.8)}}), "mark")) == 1


def test_the_parts_of_a_bar_are_as_long_as_their_shares():
    picture = label_shares(
        ["Edema"], {"present": [0.25], "uncertain": [0.05], "absent": [0.5], "not stated": [0.2]}
    )
    widths = [float(marks(picture, f"label{kind}")[0].get("width")) for kind in range(4)]
    assert [width / sum(widths) for width in widths] == pytest.approx(
        [0.25, 0.05, 0.5, 0.2], abs=0.002
    )
    assert "25%" in words(picture)


def test_the_reference_of_curves_is_drawn_and_named():
    picture = curves([Line("MoCo", 0, [(1, 5.0), (9, 3.0)])], "step", "loss", ("chance", 5.9), 1.0)
    (level,) = marks(picture, "chance")
    assert level.get("y1") == level.get("y2")
    assert "chance" in words(picture)


def test_a_curve_of_one_point_is_seen():
    assert len(marks(curves([Line("a", 0, [(4, 0.5)])], "step", "loss"), "mark")) == 1


@pytest.mark.parametrize(
    "picture",
    [
        label_shares([EVIL], {"present": [1.0]}),
        dots([EVIL], [[Measured(0.5, 0.4, 0.6)]], [EVIL], (0.4, 0.9)),
        curves([Line(EVIL, 0, [(1, 0.5)])], EVIL, EVIL, (EVIL, 0.5)),
        against_labels({EVIL: {1.0: Measured(0.5)}}),
    ],
)
def test_text_from_data_is_escaped(picture):
    assert "<script" not in picture
    assert ET.fromstring(picture).tag == "svg"
    assert "script" not in {shape.tag for shape in ET.fromstring(picture).iter()}


def test_equal_values_give_equal_pictures():
    one, other = (
        dots(["Edema"], [[Measured(0.75, 0.5, 1.0)]], ["MoCo"], (0.5, 1.0)) for _ in range(2)
    )
    assert one == other


def test_findings_names_fit_beside_the_chart():
    drawing = dots(["Enlarged Cardiomediastinum", "x" * 80], [[GONE, GONE]], ["a"], (0.4, 0.9))
    names = [
        text for text in ET.fromstring(drawing).iter("text") if text.get("text-anchor") == "end"
    ]
    assert all(len(name.text) <= 26 for name in names)


@pytest.mark.parametrize(
    ("span", "about", "step"),
    [(1.0, 5, 0.2), (0.4, 5, 0.1), (730, 5, 200.0), (3, 6, 0.5), (1e-3, 5, 2e-4)],
)
def test_steps_are_round(span, about, step):
    assert nice_step(span, about) == pytest.approx(step)


def test_ticks_lie_within_the_scale_and_count_whole_steps():
    assert Scale(0.0, 4.0, 0, 100).ticks(6, least=1) == [0, 1, 2, 3, 4]
    assert all(0.43 <= tick <= 0.91 for tick in Scale(0.43, 0.91, 0, 1).ticks())


def test_a_logarithmic_scale_puts_the_geometric_mean_in_the_middle():
    assert Scale(0.1, 10.0, 0, 100, log=True)(1.0) == pytest.approx(50.0)


def test_a_domain_has_a_width_even_around_one_value():
    assert domain([0.5], 0.1) == (0.5, 0.6)


def test_a_hint_is_escaped():
    drawing = Drawing(10, 10, "t")
    drawing.mark((1, 1), "mark", 2, EVIL)
    assert "<script" not in drawing.svg()
