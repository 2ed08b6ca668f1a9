"""Rounds of pseudo-labels that were broken off, again and again, end as those that were not: bit for bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from hilum.training.run_folder import PSEUDO_LABELS, read_log
from hilum.workflows.data.pseudo_label_table import read_pseudo_labels
from hilum.workflows.pseudo_label.record import ROUNDS
from hilum.workflows.train.finetune import finetune
from hilum.workflows.train.options import FinetuneOptions, FinetuneTrainOptions

DRIVER = Path(__file__).with_name("pseudo_kill_driver.py")
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
}
FIRST, SECOND = "rounds/round-1", "rounds/round-2"
MOMENTS = (
    "options.yaml",
    f"{FIRST}/{PSEUDO_LABELS}",
    f"{FIRST}:20",
    f"{FIRST}/metrics.json",
    ROUNDS,
    f"{SECOND}/{PSEUDO_LABELS}",
    f"{SECOND}:30",
    f"{SECOND}/metrics.json",
    "model",
)
"""From the very beginning to the last file but one."""


@pytest.fixture(scope="module")
def store(make_store: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("killed") / "store", films=320, seed=3)


@pytest.fixture(scope="module")
def start(store: Path) -> Path:
    loop = {"batch_size": 8, "log_every": 1, "checkpoint_every": 3, "accelerator": "cpu"}
    train = FinetuneTrainOptions(min_steps=0, epochs=2, lr=3e-3, **loop)
    out = store.parent / "start"
    finetune(
        FinetuneOptions(data=(store,), out=out, backbone="test_resnet", fraction=0.1, train=train)
    )
    return out


def drive(
    store: Path, start: Path, folder: Path, number: str, moments: tuple[str, ...]
) -> list[int]:
    """Let the driver run, break off and finish; return how each broken process ended."""
    asked = [str(store), str(start), str(folder), number, *moments]
    environment = {**os.environ, **ONE_THREAD}
    done = subprocess.run(
        [sys.executable, str(DRIVER), *asked],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    account = json.loads(done.stdout.splitlines()[-1])
    assert account["codes"] == [0, 0], done.stderr
    ends: list[int] = account["ends"]
    return ends


def assert_equal_to_the_bit(folder: Path) -> None:
    whole, broken = folder / "whole", folder / "broken"
    assert json.loads((whole / ROUNDS).read_text())["rounds"][1]["films"] > 0  # there were two
    names = [
        ROUNDS,
        *(
            f"{run}model/{name}"
            for run in ("", f"{FIRST}/", f"{SECOND}/")
            for name in ("model.json",)
        ),
    ]
    names += [f"{run}model/model.safetensors" for run in ("", f"{FIRST}/", f"{SECOND}/")]
    for name in names:
        assert (whole / name).read_bytes() == (broken / name).read_bytes(), name
    for run in (FIRST, SECOND):
        mine, theirs = (read_pseudo_labels(path / run / PSEUDO_LABELS) for path in (whole, broken))
        pd.testing.assert_frame_equal(mine.cells, theirs.cells)
        assert mine.record == theirs.record
        losses = [
            {e["step"]: e["loss"] for e in read_log(path / run) if "loss" in e}
            for path in (whole, broken)
        ]
        assert losses[0] == losses[1]
    pd.testing.assert_frame_equal(
        *(pd.read_parquet(path / "model" / "seen.parquet") for path in (whole, broken))
    )
    told = [
        [event for event in read_log(path) if event["event"] == "round"] for path in (whole, broken)
    ]
    assert told[0] == told[1]
    left = [
        path.name for run in (whole, broken) for path in run.rglob(".*") if path.name != ".lock"
    ]
    assert left == []


def test_kills_at_every_stage_change_no_bit(store: Path, start: Path, tmp_path: Path) -> None:
    ends = drive(store, start, tmp_path, "SIGKILL", MOMENTS)
    assert ends == [-9] * len(MOMENTS)
    assert_equal_to_the_bit(tmp_path)


def test_wishes_to_stop_change_no_bit(store: Path, start: Path, tmp_path: Path) -> None:
    ends = drive(
        store,
        start,
        tmp_path,
        "SIGINT",
        (f"{FIRST}:20", f"{SECOND}/{PSEUDO_LABELS}", f"{SECOND}:30"),
    )
    assert ends == [130] * 3
    assert_equal_to_the_bit(tmp_path)
