"""The check of where a trained model looks runs and says what it promises."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "localisation_check.py"
SMALL = ("--count", "160", "--size", "32", "--backbone", "test_resnet", "--epochs", "1")


def test_it_says_model_control_and_chance_and_whether_it_passes(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--out", str(tmp_path / "looks"), *SMALL, "--json"]
    shown = subprocess.run(command, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    found = json.loads(shown.stdout.splitlines()[-1])
    rates = found["hit_rate"]
    assert set(rates) == {"model", "control", "chance"}
    for value, low, high in rates.values():
        assert 0 <= low <= value <= high <= 1
    for name in ("control", "chance"):
        expected = rates["model"][0] / rates[name][0] if rates[name][0] else None
        assert found["ratio"][name] is None or math.isclose(
            found["ratio"][name], expected, rel_tol=0.02, abs_tol=0.01
        )
    beaten = [
        rates["model"][0] >= 2 * rates[name][0] and rates["model"][1] > rates[name][2]
        for name in rates
    ]
    assert found["passes"] == all(beaten[1:])
    assert "No Finding" not in found["findings"]
    assert 0 <= found["validation"]["learnt"] <= found["validation"]["of"] <= 14
