"""The page about Python is run as it is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

PAGE = Path(__file__).resolve().parents[1] / "docs" / "python.md"


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2
    assert set(re.findall(r"^(?:import|from) (\S+)", blocks[0], re.MULTILINE)) == {
        "hilum",
        "pathlib",
    }
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    films = names["films"]
    assert set(names["probabilities"]) == set(names["catalog"].findings)
    assert all(0 <= value <= 1 for value in names["probabilities"].values())
    table = names["table"]
    assert list(table.index) == [str(film) for film in films]
    assert table.iloc[0].to_dict() == pytest.approx(names["probabilities"], abs=1e-6)
    written = pd.read_csv(tmp_path / "predictions.csv", index_col="film")
    np.testing.assert_allclose(written[table.columns], table, atol=2e-6)
    assert names["evaluation"]["films"] > 0
    assert names["probes"]["linear_auroc_macro"] is not None
    assert names["page"].is_file()
    assert names["features"].dtype == np.float32
    assert len(names["features"]) == len(films)
    assert names["heatmap"].shape == (32, 32)
    assert names["heatmap"].dtype == np.float32
    assert len(pd.read_parquet(tmp_path / "features.parquet")) == 150
    assert len(list((tmp_path / "heatmaps").rglob("cardiomegaly-overlay.png"))) == 1
    pretrained = names["hilum"].load("runs/moco")
    with torch.inference_mode():
        plain = names["network"].eval().to(pretrained.device)(pretrained.preprocess(films))
    assert np.array_equal(plain.cpu().numpy(), names["features"])
