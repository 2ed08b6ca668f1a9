"""``hilum pseudo-label`` from the line: what it prints, as text and as JSON, and how it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from hilum.cli import main

LOOSE = ["--precision", 0.8, "--absent-precision", 0.8, "--level", 0.8, "--device", "cpu"]


@pytest.fixture(scope="module")
def few(make_store: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("few") / "store", films=320, seed=3)


@pytest.fixture(scope="module")
def start(few: Path) -> Path:
    out = few.parent / "start"
    train = [
        "--train.epochs",
        3,
        "--train.min-steps",
        0,
        "--train.batch-size",
        8,
        "--train.lr",
        3e-3,
        "--train.accelerator",
        "cpu",
    ]
    words = [
        "finetune",
        "--data",
        few,
        "--out",
        out,
        "--backbone",
        "test_resnet",
        "--fraction",
        0.1,
        *train,
    ]
    assert main([str(word) for word in words]) == 0
    return out


def test_rounds_are_told_as_a_table_and_as_json(hilum, few, start):
    out = few.parent / "more"
    said = hilum(
        "pseudo-label", "--data", few, "--from", start, "--out", out, "--rounds", 1, *LOOSE
    )
    assert (said.code, said.out.splitlines()[-1]) == (0, str(out))
    assert "round 1: labels" in said.err
    header, zero, one, *_ = said.out.splitlines()
    assert header.split()[:3] == ["round", "films", "present"]
    assert (zero.split()[0], one.split()[0]) == ("0", "1")
    assert (
        "required precision: 80% of present, 80% of absent; right: mean over findings by held back labels"
        in said.out
    )
    again = hilum("pseudo-label", "--config", out / "options.yaml", "--out", out, "--json")
    assert again.code == 0
    assert "already done" in again.err
    content = json.loads(again.out)
    assert {
        "run",
        "validation_auroc",
        "already_done",
        "kept",
        "rounds",
        "from",
        "wanted",
        "truth",
    } <= set(content)
    assert content["rounds"] == json.loads((out / "rounds.json").read_text())["rounds"]


def test_without_thresholds_no_share_is_said_to_be_wanted(hilum, few, start, tmp_path):
    out = tmp_path / "all"
    words = ["--rounds", 1, "--train.epochs", 1, "--no-abstain", "--device", "cpu"]
    said = hilum("pseudo-label", "--data", few, "--from", start, "--out", out, *words)
    assert said.code == 0
    assert (
        "every film is labelled: no precision was required; right: mean over findings by held back labels"
        in said.out
    )
    assert "required precision" not in said.out
    told = json.loads((out / "rounds.json").read_text())
    assert told["wanted"] is None
    for one in told["rounds"][0]["findings"].values():
        assert (one["cut"], one["reason"], one["abstained"]) == (
            {"present": 0.5, "absent": 0.5},
            None,
            0,
        )
    page = hilum("report", out)
    assert page.code == 0
    assert "Every film was labelled, at a probability of 0.5" in (out / "report.html").read_text()


def test_a_run_that_is_none_is_one_line(hilum, few, tmp_path):
    said = hilum(
        "pseudo-label", "--data", few, "--from", tmp_path / "none", "--out", tmp_path / "out"
    )
    assert said.code == 1
    assert said.err.splitlines()[-1].startswith(
        f"hilum pseudo-label: {tmp_path / 'none'} holds no run"
    )
    assert not (tmp_path / "out").exists()


def test_a_missing_start_is_a_usage_mistake(hilum, few, tmp_path):
    said = hilum("pseudo-label", "--data", few, "--out", tmp_path / "out")
    assert said.code == 2
    assert "--from" in said.err
