"""Short forms of ``planted_leaks.py`` and ``million_films.py``: what is planted is found, and nothing else is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
KINDS = {"patient overlap", "exact", "jpeg 30", "resize", "crop 2 %", "brightness 10 %", "all four"}


def run(*arguments: str, script: str = "planted_leaks.py") -> dict[str, object]:
    command = [sys.executable, str(BENCHMARKS / script), "--json", *arguments]
    shown = subprocess.run(command, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    return dict(json.loads(shown.stdout.splitlines()[-1]))


def check(result: dict, films: int) -> None:
    assert result["test_films"] == pytest.approx(films, rel=0.05)
    assert result["found"].keys() == KINDS
    for kind in ("patient overlap", "exact"):
        found = result["found"][kind]
        assert found["found"] == found["planted"] > 0, kind
    assert result["near_recall"] >= 0.99
    assert len(result["false_pairs"]) <= 5
    assert len(result["refused"]) == 2


def test_leaks_planted_among_phantoms_are_found(tmp_path: Path) -> None:
    result = run("--out", str(tmp_path), "--phantoms", "--films", "250")
    assert result["data"] == "phantoms"
    check(result, 250)
    assert not result["false_pairs"]


def test_phantoms_alone_have_no_copies(tmp_path: Path) -> None:
    result = run("--out", str(tmp_path), "--scale", "200")
    assert (result["films"], result["pairs"]) == (200, 0)
    assert result["seconds"] > 0


def test_copies_planted_among_mixed_films_are_found(tmp_path: Path) -> None:
    arguments = ("--out", str(tmp_path), "--phantoms", "--films", "150", "--count", "2000")
    result = run(*arguments, script="million_films.py")
    assert result["films"] == 2000
    assert result["found"].keys() == KINDS - {"patient overlap", "exact"}
    assert all(found["found"] >= 39 for found in result["found"].values())
    assert all(found["planted"] == 40 for found in result["found"].values())
    assert result["pairs_not_planted"] == 0
    assert result["candidates"] < 2000 * 1999 / 2 / 100  # not all with all


@pytest.mark.torture
def test_leaks_planted_among_real_films_are_found(shared_data: Path, tmp_path: Path) -> None:
    check(run("--out", str(tmp_path), "--data", str(shared_data / "nih14")), 5000)
