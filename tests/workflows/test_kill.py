"""A run that was killed, again and again, ends as the one that was not: bit for bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from hilum.methods import METHODS
from hilum.training.run_folder import read_log

DRIVER = Path(__file__).with_name("kill_driver.py")
KINDS = (*METHODS, "finetune", "weighted")
PYARROWS_OWN = "jemalloc_bg_thd"  # frees memory in the background, and knows how to be forked
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
}


def drive(
    kind: str, store: Path, folder: Path, seed: int, kills: int, number: str = "SIGKILL"
) -> dict[str, Any]:
    """Let the driver train, kill and compare; return its account."""
    asked = [kind, str(store), str(folder), str(seed), str(kills), number]
    done = subprocess.run(
        [sys.executable, str(DRIVER), *asked],
        capture_output=True,
        text=True,
        env={**os.environ, **ONE_THREAD},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    account: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert len([name for name in account["threads"] if name != PYARROWS_OWN]) <= 1, account[
        "threads"
    ]
    assert account["codes"] == [0, 0], done.stderr
    return account


def newest(run: Path) -> Path:
    return sorted((run / "checkpoints").glob("step-*"))[-1]


def losses(run: Path) -> dict[int, float]:
    return {event["step"]: event["loss"] for event in read_log(run) if "loss" in event}


def assert_equal_to_the_bit(folder: Path) -> None:
    whole, broken = folder / "whole", folder / "broken"
    for name in ("model.safetensors", "model.json"):
        assert (whole / "model" / name).read_bytes() == (broken / "model" / name).read_bytes(), name
    pd.testing.assert_frame_equal(
        *(pd.read_parquet(run / "model" / "seen.parquet") for run in (whole, broken))
    )
    assert newest(whole).name == newest(broken).name
    for name in ("state.safetensors", "state.json", "manifest.json"):
        assert (newest(whole) / name).read_bytes() == (newest(broken) / name).read_bytes(), name
    assert losses(whole) == losses(broken)
    left = [
        path.name for run in (whole, broken) for path in run.rglob(".*") if path.name != ".lock"
    ]
    assert left == []


def assert_stopped_early_with_a_best_before_the_last(run: Path) -> None:
    """Check that the fine-tuned run is one that can go wrong: early stopping, and weights of an earlier step."""
    told = json.loads((run / "metrics.json").read_text())["training"]
    assert told["steps"] < 12 * (told["films"] // 8)
    assert 0 < told["best_step"] < told["steps"]
    assert (run / "checkpoints" / "best" / "state.safetensors").is_file()


@pytest.mark.parametrize("kind", KINDS)
def test_four_kills_change_no_bit(kind: str, tiny_store: Path, tmp_path: Path) -> None:
    account = drive(kind, tiny_store, tmp_path, seed=1, kills=4)
    assert [status for _, status in account["ends"]] == [-9] * 4
    assert_equal_to_the_bit(tmp_path)
    if kind == "finetune":
        assert_stopped_early_with_a_best_before_the_last(tmp_path / "whole")


@pytest.mark.parametrize(("kind", "number"), [("moco", "SIGTERM"), ("finetune", "SIGINT")])
def test_a_wish_to_stop_saves_and_changes_no_bit(
    kind: str, number: str, tiny_store: Path, tmp_path: Path
) -> None:
    account = drive(kind, tiny_store, tmp_path, seed=2, kills=2, number=number)
    assert [status for _, status in account["ends"]] == [130] * 2
    assert_equal_to_the_bit(tmp_path)
    interrupted = [
        event["step"]
        for event in read_log(tmp_path / "broken")
        if event.get("event") == "interrupted"
    ]
    resumed = [
        event["step"] for event in read_log(tmp_path / "broken") if event.get("event") == "resumed"
    ]
    assert interrupted
    assert interrupted == resumed  # not a step was done twice


@pytest.mark.torture
@pytest.mark.parametrize("kind", KINDS)
def test_fifty_kills_change_no_bit(kind: str, tiny_store: Path, tmp_path: Path) -> None:
    cut_short = 0
    for seed in range(10, 15):
        account = drive(kind, tiny_store, tmp_path / str(seed), seed=seed, kills=10)
        assert [status for _, status in account["ends"]] == [-9] * 10
        assert_equal_to_the_bit(tmp_path / str(seed))
        cut_short += account["cut_short"]
    assert cut_short > 0  # some came while a checkpoint was being written
