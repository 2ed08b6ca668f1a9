"""Every stage that is killed again and again ends with the files of the one that was not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DRIVER = Path(__file__).with_name("stage_kill_driver.py")
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def drive(folder: Path, seed: int, kills: int, *stages: str) -> dict[str, Any]:
    """Let the driver run the stages, kill and compare; return its account."""
    done = subprocess.run(
        [sys.executable, str(DRIVER), str(folder), str(seed), str(kills), *stages],
        capture_output=True,
        text=True,
        env={**os.environ, **ONE_THREAD},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    account: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return account


def test_kills_of_the_first_stages_change_no_byte(tmp_path: Path) -> None:
    account = drive(tmp_path, 1, 8, "prepare", "split")
    assert account["kills"] == {"prepare": 1, "split": 1}
    assert account["differ"] == account["left"] == []


@pytest.mark.torture
def test_forty_kills_over_all_stages_change_no_byte(tmp_path: Path) -> None:
    account = drive(tmp_path, 0, 40)
    assert account["total"] >= 40
    assert account["differ"] == account["left"] == []
