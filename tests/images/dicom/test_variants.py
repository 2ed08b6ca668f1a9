"""Every seventh file of the benchmark's, and all of polarity's shapes, against the statement written apart."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[3] / "benchmarks" / "dicom_variants.py"


def test_files_of_every_kind_are_shown_as_the_standard_says() -> None:
    command = [sys.executable, str(SCRIPT), "--every", "7", "--json"]
    shown = subprocess.run(command, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    result = json.loads(shown.stdout.splitlines()[-1])
    assert result["compared"] == 4 * result["variants"] > 250
    assert (result["differing"], result["wrong_way_round"], result["unread"]) == ([], [], [])
