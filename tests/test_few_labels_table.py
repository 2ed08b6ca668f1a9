"""The table of benchmarks/few_labels.py: paired by draw and film, draws and patients resampled together."""

from __future__ import annotations

import argparse
import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "few_labels.py"


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("few_labels", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def keep(folder: Path, name: str, draw: int, **logits: np.ndarray) -> None:
    truth = truth_of(draw)
    patients = np.arange(len(truth)) // 2
    kept = {f"logits-{key}": value for key, value in logits.items()}
    np.savez(
        folder / f"{name}-{draw}.npz", truth=truth, counts=np.ones_like(truth, np.bool_),
        patients=patients, seconds=60.0, **kept,
    )  # fmt: skip


def truth_of(draw: int) -> np.ndarray:
    return (np.random.default_rng(draw).random((300, 2)) < 0.4).astype(np.float32)


def scored(draw: int, strength: float) -> np.ndarray:
    noise = np.random.default_rng(100 + draw).normal(size=(300, 2))
    return np.asarray(strength * truth_of(draw) + noise, np.float32)


def test_a_better_network_lies_above_with_its_interval(
    benchmark: ModuleType, tmp_path: Path
) -> None:
    for draw in range(4):
        keep(tmp_path, "one-rate", draw, weights=scored(draw, 0.5), alike=scored(draw, 0.5))
        keep(tmp_path, "few", draw, tuned=scored(draw, 1.5))
    lines = benchmark.table(tmp_path, "one-rate: weights").splitlines()[2:]
    rows = {line.split(" | ")[0].strip("| "): line.split(" | ") for line in lines}
    assert next(iter(rows)) == "few: tuned"
    gap, low = rows["few: tuned"][2].split(" (")
    assert float(gap) > 0.15
    assert 0.1 < float(low.split(" to ")[0]) < float(gap)
    assert rows["one-rate: alike"][2] == "+0.000 (+0.000 to +0.000)"
    assert rows["one-rate: weights"][2] == ""
    assert {cells[3] for cells in rows.values()} == {"4"}


def test_draws_that_differ_widen_the_interval(benchmark: ModuleType) -> None:
    rng = np.random.default_rng(0)
    base = {draw: rng.normal(0.6, 0.01, 1001) for draw in range(4)}
    steady = {draw: area + 0.02 for draw, area in base.items()}
    unsteady = {draw: area + 0.02 + 0.05 * (-1) ** draw for draw, area in base.items()}
    widths = []
    for other in (steady, unsteady):
        gap, low, high = benchmark.difference(other, base)
        assert gap == pytest.approx(0.02)
        widths.append(high - low)
    assert widths[0] < 1e-9
    assert widths[1] > 0.05
    assert benchmark.difference({5: base[0]}, base) is None


def test_findings_of_few_patients_enter_no_mean(benchmark: ModuleType) -> None:
    truth = truth_of(0)
    truth[:, 1] = 0
    truth[:20, 1] = 1  # ten patients
    counts, patients = np.ones_like(truth, np.bool_), np.arange(300) // 2
    logits = scored(0, 1.0)
    weights = benchmark.weightings(150)
    assert weights.shape == (1001, 150)
    assert set(weights.sum(axis=1).tolist()) == {150}
    both = benchmark.mean_aurocs(truth, counts, patients, logits, weights)
    first = benchmark.mean_aurocs(truth[:, :1], counts[:, :1], patients, logits[:, :1], weights)
    assert np.array_equal(both, first)


def test_the_test_part_is_read_once_for_each_share(benchmark: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "final-0.1.json").write_text(json.dumps({"rows": "| as it was |"}))
    chosen = argparse.Namespace(
        out=tmp_path, store=Path("no-store"), init=Path("no-run"), fractions=[0.1], trained=False
    )
    assert benchmark.final(chosen).splitlines()[2:] == ["| as it was |"]


def test_a_joined_start_is_frozen(benchmark: ModuleType, tmp_path: Path, monkeypatch: Any) -> None:
    given: list[Any] = []
    monkeypatch.setattr(benchmark, "finetune", given.append)
    monkeypatch.setattr(benchmark, "is_model", lambda _: True)
    monkeypatch.setattr(benchmark, "described", lambda path: argparse.Namespace(backbone=path.name))
    for name in ("resnet10t+resnet18", "resnet10t"):
        chosen = argparse.Namespace(
            store=tmp_path, init=tmp_path / name, out=tmp_path, backbone="resnet10t", precision="32"
        )
        benchmark.final_run(chosen, "recipe", 0.1, 0, 1e-3)
        benchmark.final_run(chosen, "resnet18", 0.1, 0, 1e-3)
    assert [options.freeze for options in given] == [True, False, False, False]
    assert [options.train.epochs for options in given] == [1, 10, 10, 10]
