"""Hostile bundles: each refused in one line, and nothing in them runs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[3] / "benchmarks"))

from hostile_bundles import HOSTILE, ONE_WAY, opened, written


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_bundle_is_refused(
    name: str, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    results = opened(written(name, bundle, tmp_path / "hostile"))
    refused = [line for _, line, _ in results if line]
    assert len(refused) >= (1 if name in ONE_WAY else 2), results
    assert all("\n" not in line and len(line) < 600 for line in refused)
    assert not (tmp_path / "was-run").exists()
