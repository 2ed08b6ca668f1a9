"""Evaluations as text."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from hilum.cli.probe import _text as probe_text
from hilum.cli.terminal.evaluation_details import _points
from hilum.cli.terminal.results import cell_text, difference_text, estimate_text, evaluation_text
from hilum.cli.terminal.tables import aligned
from hilum.metrics.interval_options import IntervalOptions
from hilum.metrics.intervals import Interval
from hilum.metrics.operating import RULES, OperatingPoint
from hilum.metrics.resampling import EvaluationLabels
from hilum.metrics.summary import Estimate, evaluate_findings
from hilum.workflows.evaluate.probe import ProbeResult

TRUTH = np.array([[1, 0], [1, 0], [0, 0], [0, 0]], np.float32)
SCORES = np.array([[0.9, 0.1], [0.4, 0.2], [0.6, 0.3], [0.1, 0.4]], np.float32)


LONG = [
    "Enlarged Cardiomediastinum with Widening of the Upper Mediastinum",
    "a-finding-whose-name-has-no-space-at-all-and-is-longer-than-any-column-can-be",
]


def evaluation(resamples=100, min_positives=1, findings=("Edema", "Hernia")):
    patients, findings = ["a", "b", "c", "d"], list(findings)
    known = np.ones_like(TRUTH)
    return evaluate_findings(
        EvaluationLabels.of(TRUTH, known, patients),
        SCORES,
        findings,
        [0.5, None],
        IntervalOptions(resamples=resamples, min_positives=min_positives),
    )


def test_table_has_values_and_says_what_is_not_available():
    lines = evaluation_text(evaluation()).splitlines()
    edema = next(line for line in lines if line.startswith("Edema"))
    hernia = next(line for line in lines if line.startswith("Hernia  "))
    assert edema.split()[1:4] == ["2", "0.500", "0.750"]
    assert hernia.split()[1:] == ["0", *["-"] * 8]
    assert lines[0] == "4 films of 4 patients; in brackets 95% intervals over patients"
    assert any(
        line.startswith("mean AUROC 0.750 [") and "1 of 2 findings" in line for line in lines
    )
    assert lines[-1].startswith("Hernia: not available, no positives")


def test_without_resamples_no_interval_is_announced():
    text = evaluation_text(evaluation(resamples=0))
    assert text.splitlines()[0] == "4 films of 4 patients"
    assert "[" not in text


def test_missing_means_are_said_once_with_the_option():
    text = evaluation_text(evaluation(min_positives=3))
    assert (
        text.count("no finding has 3 positive patients and a negative one: lower --min-positives")
        == 1
    )
    assert "mean AUROC" not in text


def test_probe_text_has_both_probes():
    text = probe_text(ProbeResult("random", "val", 1.0, 10, 0.1, evaluation(), evaluation()))
    assert text.splitlines()[:2] == [
        "random: features of 10 films",
        "measured on 4 films of 4 patients of the split val",
    ]
    assert "nearest neighbours" in text
    assert text.count("0.750 [") == 4
    assert text.splitlines()[-1] == "Research use only, not a medical device."


def widest(text: str) -> int:
    return max(map(len, text.splitlines()))


def test_long_names_of_findings_stay_within_120_columns_and_whole():
    measured = evaluation(findings=LONG)
    text = evaluation_text(measured)
    assert widest(text) <= 120
    assert "".join(LONG[0].split()) in "".join(
        line[:22] for line in text.splitlines() if not line.startswith("a-")
    ).replace(" ", "").replace("finding", "")
    unscored = evaluation(findings=LONG, min_positives=3)
    for knn in (measured, unscored):
        assert widest(probe_text(ProbeResult("random", "val", 1.0, 10, 0.1, knn, unscored))) <= 120


def test_both_tables_of_operating_points_stay_within_120_columns():
    value = Estimate(0.812, Interval(0.790, 0.833))
    for prevalence in (None, 0.05):
        chance = None if prevalence is None else value
        points = tuple(
            OperatingPoint(
                rule, 0.5, 1234, 56, 78, 9012, value, value, value, prevalence, chance, chance
            )
            for rule in RULES
        )
        details = SimpleNamespace(operating_points=dict.fromkeys([*LONG, "Edema"], points))
        text = "\n".join(_points(details))
        assert widest(text) <= 120
        assert text.count("0.812 [0.790, 0.833]") == 9 * (3 if prevalence is None else 4)


def test_a_difference_says_when_it_shows_none():
    assert difference_text(Estimate(0.05, Interval(0.01, 0.09))) == "+0.050 [+0.010, +0.090]"
    assert difference_text(Estimate(-0.05, Interval(-0.09, -0.01))) == "-0.050 [-0.090, -0.010]"
    assert difference_text(Estimate(0.05, Interval(-0.01, 0.09))).endswith("]: no difference shown")
    assert difference_text(Estimate(0.05)) == "+0.050 (no interval)"
    assert difference_text(Estimate(None, reason="no positives")) == "not available (no positives)"


def test_estimates():
    assert estimate_text(Estimate(0.5)) == "0.500"
    assert estimate_text(Estimate(None, reason="no positives")) == "not available (no positives)"
    assert cell_text(Estimate(None, reason="no positives")) == "-"


def test_columns_are_aligned():
    assert aligned(["a", "long"], [["bbb", "1"]]) == "a    long\nbbb     1"
