"""Charts of a study's page alone: values stand where their axis says, text from data is escaped."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest

from hilum.pages.charts.dots import Measured, against_labels
from hilum.pages.charts.intervals import Level, key, levels, moved, reliability

EVIL = '<script>alert("1")</script>'


def marks(picture: str, style: str) -> list[ET.Element]:
    return [shape for shape in ET.fromstring(picture) if style in shape.get("class", "").split()]


def words(picture: str) -> list[str]:
    return [text.text or "" for text in ET.fromstring(picture).iter("text")]


def test_a_difference_stands_right_of_the_dashed_line_if_it_is_above_nought():
    rows = [
        Level("a", 0, Measured(0.03, 0.01, 0.05), "better"),
        Level("b", 0, Measured(-0.03), "worse"),
    ]
    picture = levels(rows, "difference", 0.02, 0.0, "{:+.2f}")
    (line,) = marks(picture, "chance")
    above, below = (float(mark.get("cx")) for mark in marks(picture, "mark"))
    assert below < float(line.get("x1")) < above
    assert {"better", "worse", "0"} <= set(words(picture))
    (whisker,) = marks(picture, "whisker")
    middle = (float(whisker.get("x1")) + float(whisker.get("x2"))) / 2
    assert above == pytest.approx(middle, abs=0.1)


def test_numbers_below_an_axis_keep_apart_beside_long_words():
    rows = [Level("a", 0, Measured(0.012, -0.019, 0.02), "no difference shown")]
    ticks = [float(text.get("x")) for text in ET.fromstring(levels(rows, "d", 0.02, 0.0, "{:+.2f}")).iter("text")
             if text.get("class") == "tick"][:-1]  # fmt: skip
    assert len(ticks) >= 2
    assert all(after - before >= 48 for before, after in pairwise(ticks))


def test_rows_without_a_value_are_said_to_be_not_available():
    picture = levels([Level("a", 0, Measured(0.7)), Level("b", 1, Measured(None))], "AUROC", 0.05)
    assert words(picture).count("not available") == 1
    assert words(levels([Level("a", 0, Measured(None))], "AUROC", 0.05)) == ["not available"]


def test_perfect_bins_lie_on_the_dashed_line():
    picture = reliability([(0.0, 0.0), (0.5, 0.5), (1.0, 1.0)], "Edema")
    (line,) = marks(picture, "chance")
    first, _, last = marks(picture, "seed")
    assert [first.get("cx"), first.get("cy")] == [line.get("x1"), line.get("y1")]
    assert [last.get("cx"), last.get("cy")] == [line.get("x2"), line.get("y2")]
    assert "not available" in words(reliability([], "Edema"))


@pytest.mark.parametrize(
    ("highest", "end"), [(0.04, "0.1"), (0.1, "0.1"), (0.16, "0.2"), (0.6, "1")]
)
def test_a_reliability_chart_reaches_as_far_as_its_bins(highest: float, end: str) -> None:
    """A rare finding's probabilities would else be a dot in the corner."""
    assert words(reliability([(0.01, 0.02), (0.03, highest)], "Edema")).count(end) == 2


def test_a_share_that_rises_moves_to_the_right():
    picture = moved(["Edema"], [0.1], [0.3])
    (line,) = marks(picture, "whisker")
    assert float(line.get("x2")) > float(line.get("x1"))
    assert {"0%", "10%", "20%", "30%"} <= set(words(picture))


def test_bands_span_the_intervals_and_seeds_are_drawn_each():
    line = {0.1: Measured(0.6, 0.5, 0.7), 1.0: Measured(0.8, 0.7, 0.9)}
    picture = against_labels({"MoCo": line}, {"MoCo": {0.1: [0.58, 0.62], 1.0: [0.8]}})
    (band,) = marks(picture, "area")
    assert band.get("d").count("L") == 3
    assert len(marks(picture, "seed")) == 3
    assert not marks(against_labels({"MoCo": {1.0: Measured(0.8, 0.7, 0.9)}}), "area")


def test_the_key_tells_more_models_apart_than_there_are_colours():
    items = ET.fromstring(key([str(place) for place in range(9)]))
    drawn = [
        (mark.get("class"), mark.tag)
        for mark in items.iter()
        if "mark" in (mark.get("class") or "")
    ]
    assert len(drawn) == 9
    assert len(set(drawn[:7])) == 7


def test_text_from_data_is_escaped():
    value = Measured(0.5, 0.4, 0.6)
    for picture in (
        levels([Level(EVIL, 0, value, EVIL)], EVIL, 0.1),
        reliability([(0.1, 0.2)], EVIL),
        moved([EVIL], [0.1], [0.2]),
        key([EVIL]),
    ):
        assert "<script" not in picture
        assert ET.fromstring(picture) is not None
