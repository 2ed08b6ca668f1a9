"""Have I enough labels: what the page says where a gain is shown, is not, is forecast, and cannot be told."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from hilum.metrics.intervals import Interval
from hilum.metrics.results import Estimate
from hilum.pages.charts.dots import Measured
from hilum.pages.charts.learning_curve import Curve, learning_curves
from hilum.pages.pages import write_report
from hilum.pages.study.enough_labels import film_answers, gap_answer, label_answers
from hilum.workflows.study.analysis_record import LabelCurve, LengthComparison, PretrainingSize

STEP = Estimate(0.05, Interval(0.02, 0.08))


def gain(value: float, low: float, high: float) -> Estimate:
    return Estimate(value, Interval(low, high))


def curve(
    doubling: Estimate, steps: tuple[Estimate, ...] = (STEP,), gaps: tuple[Estimate, ...] = ()
) -> LabelCurve:
    at = (Estimate(0.7), Estimate(0.75))
    return LabelCurve(
        model="MoCo",
        policy="ignore",
        chosen=True,
        fractions=(0.5, 1.0),
        patients=(200.0, 400.0),
        draws=(3, 3),
        findings_scored=("Edema",),
        at=at,
        steps=steps,
        gaps=gaps,
        doubling=doubling,
        findings={},
    )


@pytest.mark.parametrize(
    ("doubling", "expected"),
    [
        (gain(0.03, 0.01, 0.05), "more labels would probably help: 800 labelled patients"),
        (gain(0.002, -0.004, 0.008), "enough labels for this recipe"),
        (gain(0.002, 0.001, 0.008), "enough labels for this recipe"),
        (gain(0.02, -0.01, 0.05), "would help is not shown"),
        (gain(0.004, 0.001, 0.02), "would help is not shown"),
    ],
)
def test_the_forecast_is_in_words_that_fit_its_interval(doubling: Estimate, expected: str) -> None:
    measured, forecast = label_answers(curve(doubling))
    assert measured[0] == "Measured, MoCo:"
    assert "400 labelled patients in place of 200 brought +0.050 [+0.020 to +0.080]" in measured[1]
    assert forecast[0] == "Forecast, MoCo:"
    assert expected in forecast[1]
    assert "beyond what was measured" in forecast[1]


def test_a_reason_is_given_where_nothing_can_be_told() -> None:
    unknown = Estimate(None, reason="cannot tell: two shares")
    assert label_answers(curve(unknown))[-1][1] == (
        "what 800 labelled patients would bring: cannot tell: two shares."
    )
    flat = label_answers(curve(unknown, steps=(gain(0.01, -0.01, 0.03),)))[0][1]
    assert "showed no gain" in flat


def test_where_no_difference_is_shown_it_is_said() -> None:
    gaps = (gain(0.01, -0.01, 0.03), gain(-0.02, -0.03, -0.01))
    start, words = gap_answer(curve(STEP, gaps=gaps), "from scratch")
    assert start == "MoCo, by fraction of the labels:"
    assert words == (
        "No difference to from scratch shown with 50% (200 patients): +0.010 [−0.010 to +0.030]. "
        "Worse than from scratch with 100% (400 patients): −0.020 [−0.030 to −0.010]."
    )
    better = gap_answer(curve(STEP, gaps=(gain(0.02, 0.01, 0.03), Estimate(None))), "random")[1]
    assert better.startswith("Better than random with 50%")
    assert "Not compared with 100%" in better


def test_more_films_or_epochs_are_named_only_where_they_were_tried() -> None:
    assert "not tried" in film_answers(())[0][1]
    gaps = (gain(0.03, 0.01, 0.05), gain(0.01, -0.01, 0.03))
    before, after = PretrainingSize("moco", 400, 4000), PretrainingSize("moco", 400, 12000)
    longer = LengthComparison("MoCo, long", "MoCo", before, after, (0.1, 1.0), gaps)
    ((start, words),) = film_answers((longer,))
    assert start == "Longer pretraining:"
    assert "MoCo, long against MoCo, 30 epochs in place of 10. Helped with 10% of the" in words
    assert "No difference shown with 100% of the labels: +0.010" in words
    more = LengthComparison(
        "MoCo, long", "MoCo", before, PretrainingSize("moco", 800, 8000), (1.0,), gaps[1:]
    )
    ((start, words),) = film_answers((more,))
    assert start == "More films without labels:"
    assert "800 films in place of 400" in words


def test_a_forecast_is_drawn_apart_from_what_was_measured() -> None:
    points = [(40.0, Measured(0.7, 0.65, 0.75)), (400.0, Measured(0.8, 0.75, 0.85))]
    ahead = learning_curves([Curve("MoCo", 0, points, Measured(0.82, 0.79, 0.9))])
    assert ">forecast</text>" in ahead
    assert ">800</text>" in ahead
    assert "MoCo, forecast: 0.820 [0.790, 0.900]" in ahead
    without = learning_curves([Curve("MoCo", 0, points, Measured(None))])
    assert "forecast" not in without
    assert ">800</text>" not in without
    assert "not available" in learning_curves([])


@pytest.mark.parametrize("counts", [(40, 41, 42, 400), (1, 10_000, 1_000_000), (418, 418)])
def test_numbers_of_patients_do_not_touch(counts: tuple[int, ...]) -> None:
    points = [(float(count), Measured(0.7)) for count in counts]
    picture = learning_curves([Curve("MoCo", 0, points, Measured(None))])
    ticks = re.findall(r'<text class="tick" x="([\d.]+)"[^>]*middle">([\d,]+)</text>', picture)
    ends = sorted((float(x) - 3.2 * len(label), float(x) + 3.2 * len(label)) for x, label in ticks)
    assert all(before[1] <= after[0] for before, after in pairwise(ends))
    assert f"{max(counts):,}" in [label for _, label in ticks]


def test_the_page_and_its_tables_have_the_forecast(write_study_of: Callable[..., Path]) -> None:
    folder = write_study_of(fractions=(0.1, 0.5, 1.0))
    write_report(folder)
    page = (folder / "report.html").read_text()
    section = page.partition('<section id="enough-labels">')[2].partition("</section>")[0]
    assert section.count('class="line forecast') == 2
    assert "Hollow marks with dotted lines are forecasts" in section
    rows = (folder / "tables" / "enough-labels.csv").read_text().splitlines()
    ahead = [row.split(",") for row in rows if ",forecast," in row]
    assert [(row[0], row[2], row[3]) for row in ahead] == [
        ("MoCo", "", "800"),
        ("from scratch", "", "800"),
    ]
    names = (folder / "tables" / "enough-labels-by-finding.csv").read_text()
    assert names.count("Cardiomegaly") == 2
