"""The page about Python is run as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

PAGE = Path(__file__).resolve().parents[1] / "docs" / "python.md"


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert code is not None
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(code.group(1), str(PAGE), "exec"), names)
    assert set(names["probabilities"]) == set(names["catalog"].findings)
    assert all(0 <= value <= 1 for value in names["probabilities"].values())
    assert names["evaluation"]["films"] > 0
    assert names["probes"]["linear_auroc_macro"] is not None
    assert (tmp_path / "predictions.csv").is_file()
    assert len(pd.read_parquet(tmp_path / "features.parquet")) == names["features"].films == 150
    assert len(list((tmp_path / "heatmaps").rglob("cardiomegaly-overlay.png"))) == 1
