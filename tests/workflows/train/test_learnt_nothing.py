"""A model that is not shown to have learnt anything has no thresholds, says so, and calls nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from heard import Heard
from rehash import rehash

from hilum.bundle.model_folder import load_model
from hilum.images.store import Store
from hilum.splits import patient_split
from hilum.workflows.evaluate.evaluate import evaluate
from hilum.workflows.evaluate.options import EvaluateOptions
from hilum.workflows.inference.predict import predict
from hilum.workflows.train.finetune import finetune
from hilum.workflows.train.options import FinetuneOptions, FinetuneTrainOptions
from hilum.workflows.train.run import TrainingResult

LINE = "this model is not shown to have learnt anything: it calls no finding"


@pytest.fixture(scope="module")
def noise(tiny_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny store with labels that say nothing of the films."""
    folder = tmp_path_factory.mktemp("noise") / "store"
    shutil.copytree(tiny_store, folder)
    table, rng = pd.read_parquet(folder / "catalog.parquet"), np.random.default_rng(0)
    for name in ("Edema", "Mass"):
        table[name] = rng.integers(0, 2, len(table)).astype(np.float32)
    table.to_parquet(folder / "catalog.parquet", index=False)
    rehash(folder)
    store = Store.open(folder)
    patient_split(store.catalog, store.findings, 0, test=0.2, val=0.3).save(folder)
    return folder


@pytest.fixture(scope="module")
def heard() -> Heard:
    return Heard()


@pytest.fixture(scope="module")
def done(noise: Path, heard: Heard, tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    train = FinetuneTrainOptions(epochs=2, min_steps=0, batch_size=16, accelerator="cpu")
    out = tmp_path_factory.mktemp("run") / "run"
    options = FinetuneOptions(data=(noise,), out=out, backbone="test_resnet", train=train)
    return finetune(options, heard)


def test_it_has_no_threshold_and_the_reason_beside(done: TrainingResult, heard: Heard) -> None:
    described = load_model(done.run).description
    assert described.learnt is False
    assert described.thresholds == {"Edema": None, "Mass": None}
    assert set(described.not_called) == {"Edema", "Mass"}
    for points in described.operating_points.values():
        assert set(points.values()) == {None}
    said = [line for line in heard.notes if "not shown to have learnt anything" in line]
    assert len(said) == 1
    validation = json.loads((done.run / "metrics.json").read_text())["validation"]
    assert validation["learnt"] is False
    low, high = validation["auroc_macro"]["interval"]
    assert low <= 0.5
    assert low < validation["auroc_macro"]["value"] < high
    assert set(validation["auroc"]) == {"Edema", "Mass"}


def test_prediction_calls_nothing_and_says_why(
    done: TrainingResult, noise: Path, tmp_path: Path
) -> None:
    heard = Heard()
    predict(done.run, [noise], tmp_path / "out.csv", "cpu", heard)
    assert pd.read_csv(tmp_path / "out.csv")["called"].isna().all()
    assert LINE in heard.notes


def test_an_evaluation_says_so(done: TrainingResult, noise: Path) -> None:
    result = evaluate(done.run, EvaluateOptions(data=noise, resamples=0, min_positives=1))
    assert set(result.not_called) == {"Edema", "Mass"}
    assert result.call_notes == (LINE,)
    assert all(finding.threshold is None for finding in result.evaluation.findings)
    kept = json.loads((done.run / "metrics.json").read_text())
    assert kept["evaluations"]["test"]["not_called"] == dict(result.not_called)
    assert kept["validation"]["learnt"] is False


def test_a_model_of_an_earlier_version_calls_as_before(
    done: TrainingResult, noise: Path, tmp_path: Path
) -> None:
    old = tmp_path / "old"
    shutil.copytree(done.run, old)
    path = old / "model" / "model.json"
    content = json.loads(path.read_text())
    del content["learnt"], content["not_called"]
    content["thresholds"] = {"Edema": 0.0, "Mass": None}
    path.write_text(json.dumps(content))
    (old / "model" / "manifest.json").unlink()
    heard = Heard()
    predict(old, [noise], tmp_path / "out.csv", "cpu", heard)
    assert set(pd.read_csv(tmp_path / "out.csv")["called"]) == {"Edema"}
    (note,) = heard.notes  # of what an earlier version wrote, and of no finding
    assert "was written by an earlier version without a hash" in note
