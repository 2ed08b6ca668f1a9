"""Two runs compared on the same films: the sign, and what it needs."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hilum.bundle.model_folder import load_model, save_model
from hilum.bundle.training_manifest import seen_films
from hilum.errors import DataError, RunError
from hilum.group_key import made_key
from hilum.images.films import Films
from hilum.images.store_writing import write_manifest
from hilum.labels import LabelOptions
from hilum.training.run_folder import read_metrics
from hilum.workflows.data.subsets import Subsets
from hilum.workflows.evaluate.compare import compare
from hilum.workflows.evaluate.evaluate import evaluate
from hilum.workflows.evaluate.options import EvaluateOptions
from hilum.workflows.train.finetune import finetune
from hilum.workflows.train.options import FinetuneOptions, FinetuneTrainOptions


@pytest.fixture(scope="module")
def how(tiny_store: Path) -> EvaluateOptions:
    return EvaluateOptions(data=tiny_store, min_positives=1, resamples=40)


def train(store: Path, out: Path, seed: int, **more: Any) -> Path:
    loop = FinetuneTrainOptions(min_steps=0, epochs=1, batch_size=16, seed=seed, accelerator="cpu")
    finetune(FinetuneOptions(data=(store,), out=out, backbone="test_resnet", train=loop, **more))
    return out


@pytest.fixture(scope="module")
def runs(tiny_store: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("compared")
    return train(tiny_store, folder / "0", 0), train(tiny_store, folder / "1", 1)


def test_a_comparison_turned_round_has_the_other_sign(
    runs: tuple[Path, Path], how: EvaluateOptions
) -> None:
    there, back = compare(*runs, how), compare(*reversed(runs), how)
    assert there.difference.auroc_macro.value == pytest.approx(-back.difference.auroc_macro.value)
    assert there.difference.auroc_macro.interval.low == pytest.approx(
        -back.difference.auroc_macro.interval.high
    )


def test_the_difference_is_that_of_the_two_evaluations(
    runs: tuple[Path, Path], how: EvaluateOptions
) -> None:
    found = compare(*runs, how)
    mine, other = (evaluate(run, how).evaluation for run in runs)
    assert (found.first.evaluation, found.second.evaluation) == (mine, other)
    assert found.films == mine.films
    assert found.difference.auroc_macro.value == pytest.approx(
        mine.auroc_macro.value - other.auroc_macro.value
    )
    told = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert told["auroc_macro"] == mine.auroc_macro.value
    assert told["against"]["auroc_macro"] == other.auroc_macro.value
    assert told["against"]["dropped_seen"] == 0
    assert told["against"]["predictions"] == str(found.second.predictions)
    assert told["against"]["difference"]["auroc_macro"] == found.difference.auroc_macro.to_json()


def test_findings_of_too_few_patients_have_their_difference_with_its_interval(
    runs: tuple[Path, Path], how: EvaluateOptions
) -> None:
    compared = compare(*runs, replace(how, min_positives=1000))
    assert compared.difference.auroc_macro.value is None
    for result in compared.first.evaluation.findings:
        finding = compared.findings[result.name]
        assert finding.positive_patients == result.positive_patients
        assert finding.first == pytest.approx(result.measures["auroc"].value)
        assert finding.difference.value == pytest.approx(finding.first - finding.second)
        assert finding.difference.interval is not None
        assert finding.difference.p is None


def test_the_first_runs_metrics_keep_the_comparison(
    runs: tuple[Path, Path], how: EvaluateOptions
) -> None:
    compared = compare(*runs, how)
    evaluate(runs[0], how)  # an evaluation alone leaves it
    kept = read_metrics(runs[0])["comparisons"]["test"][runs[1].name]
    assert kept == json.loads(json.dumps(compared.difference_json()))
    assert kept["findings"]["Edema"]["difference"] == kept["auroc"]["Edema"]


def test_runs_are_compared_on_the_films_that_neither_was_trained_on(
    runs: tuple[Path, Path], how: EvaluateOptions, tmp_path: Path
) -> None:
    half, other = (
        train(how.data, tmp_path / str(draw), seed=2, fraction=0.5, subset_seed=draw)
        for draw in range(2)
    )
    everything = replace(how, split="train", exclude_training_images=True)
    found = compare(half, other, everything)
    seen = 52 - found.first.evaluation.films, 52 - found.second.evaluation.films
    assert 0 < found.films < min(found.first.evaluation.films, found.second.evaluation.films)
    assert found.films >= 52 - sum(seen)
    assert not found.same
    alone = compare(half, half, everything)
    assert (alone.same, alone.difference.auroc_macro.value) == (True, 0)
    with pytest.raises(DataError, match=f"^{runs[0]} was trained on all 52 films"):
        compare(half, runs[0], everything)


def test_no_film_that_neither_was_trained_on_is_one_line(
    how: EvaluateOptions, tmp_path: Path
) -> None:
    first = train(how.data, tmp_path / "first", seed=0, fraction=0.5)
    films, subsets = Films.open([how.data]), Subsets.of(Films.open([how.data]))
    others = films.catalog.iloc[np.setdiff1d(subsets.rows("train"), subsets.rows("train", 0.5))]
    second = shutil.copytree(first, tmp_path / "second")
    model = load_model(second)
    save_model(second / "model", replace(model, seen=seen_films(others, made_key(how.data))))
    with pytest.raises(
        RunError,
        match=r"were trained on every film of 'train' between them: give another --split\.$",
    ):
        compare(first, second, replace(how, split="train", exclude_training_images=True))


def test_findings_of_other_spelling_are_compared(
    runs: tuple[Path, Path], how: EvaluateOptions, tmp_path: Path
) -> None:
    store = shutil.copytree(how.data, tmp_path / "store")
    manifest = json.loads((store / "manifest.json").read_text())
    manifest["findings"] = ["Oedema", "Mass"]
    catalog = pd.read_parquet(store / "catalog.parquet").rename(columns={"Edema": "Oedema"})
    catalog.to_parquet(store / "catalog.parquet", index=False)
    write_manifest(store, manifest)
    found = compare(runs[0], train(store, tmp_path / "other", seed=1), how).difference
    assert tuple(found.auroc) == ("Edema", "Mass")
    assert found == compare(*runs, how).difference


def test_findings_are_those_that_both_call(runs: tuple[Path, Path], how: EvaluateOptions) -> None:
    assert tuple(compare(*runs, replace(how, findings=("Mass",))).difference.auroc) == ("Mass",)


def test_what_counts_as_absent_must_be_clear(
    runs: tuple[Path, Path], how: EvaluateOptions, tmp_path: Path
) -> None:
    other = train(how.data, tmp_path / "other", seed=0, labels=LabelOptions(unstated="ignore"))
    with pytest.raises(RunError, match="say which counts here by --unstated, absent or ignore"):
        compare(runs[0], other, how)
    assert compare(runs[0], other, replace(how, unstated="absent")).films == 20
