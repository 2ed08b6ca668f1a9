"""``hilum demo``: what it answers, and the real thing at full size among the long tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from hilum.cli.demo import _text, _Told
from hilum.report.pages import ReportResult
from hilum.workflows.demo import DemoResult, FinetunedModel


def told() -> _Told:
    models = (
        FinetunedModel("MoCo", 0.1, Path("demo/runs/moco-10"), 0.7123, (0.69, 0.734)),
        FinetunedModel("from scratch", 0.1, Path("demo/runs/from-scratch-10"), None, None),
    )
    return _Told(DemoResult(Path("demo"), models, False), ReportResult(Path("demo/report.html"), "demo"))


def test_the_table_says_every_model_and_the_last_line_is_the_pages_path():
    lines = _text(told()).splitlines()
    assert lines[1].split() == ["MoCo", "10%", "0.712", "[0.690,", "0.734]"]
    assert lines[2].endswith("not available")
    assert lines[-2] == "Research use only, not a medical device."
    assert lines[-1] == "demo/report.html"


def test_json_has_the_models_and_the_page():
    content = told().to_json()
    assert content["report"] == "demo/report.html"
    assert [model["auroc_macro"] for model in content["models"]] == [0.7123, None]


def test_a_folder_of_something_else_is_refused_in_one_line(hilum, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    said = hilum("demo", "--out", tmp_path)
    assert (said.code, said.out) == (1, "")
    assert "something else than a demo" in said.err
    assert len(said.err.splitlines()) == 1


@pytest.mark.torture
def test_the_demo_at_full_size_learns_and_shows_it(hilum, tmp_path):
    said = hilum("demo", "--out", tmp_path / "demo")
    assert said.code == 0
    assert said.out.splitlines()[-1] == str(tmp_path / "demo/report.html")
    full = [line for line in said.out.splitlines() if " 100% " in line]
    assert len(full) == 2
    assert all(float(line.split("%")[1].split()[0]) > 0.75 for line in full)
