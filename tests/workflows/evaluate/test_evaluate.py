"""Evaluation: films that the model has seen, other stores, stores split anew, and the model's own door."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from heard import Heard

import hilum
from hilum.bundle.model_folder import load_model
from hilum.catalog import Catalog, film_table
from hilum.errors import DataError, RunError
from hilum.images.enhance import Preparation
from hilum.images.films import Films
from hilum.images.store_writing import write_store
from hilum.labels import LabelOptions
from hilum.splits import patient_split
from hilum.training.run_folder import METRICS
from hilum.workflows.data.subsets import Subsets
from hilum.workflows.evaluate.compare import compare
from hilum.workflows.evaluate.evaluate import EvaluateResult, evaluate
from hilum.workflows.evaluate.options import EvaluateOptions, ProbeOptions
from hilum.workflows.evaluate.predictions import read_predictions
from hilum.workflows.evaluate.probe import probe
from hilum.workflows.prepare.split import SplitOptions, split
from hilum.workflows.train.finetune import finetune
from hilum.workflows.train.options import FinetuneOptions, FinetuneTrainOptions

TRAIN = FinetuneTrainOptions(min_steps=0, epochs=1, batch_size=16, accelerator="cpu")


@pytest.fixture(scope="module")
def run(tiny_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("evaluate") / "run"
    finetune(FinetuneOptions(data=(tiny_store,), out=out, backbone="test_resnet", train=TRAIN))
    return out


def measured(run: Path, store: Path, **options: Any) -> EvaluateResult:
    return evaluate(
        run, EvaluateOptions(data=store, min_positives=1, resamples=20, device="cpu", **options)
    )


def test_films_seen_in_training_are_refused_by_name(run: Path, tiny_store: Path) -> None:
    for part in ("train", "all"):
        with pytest.raises(
            DataError, match=r"trained on 52 of the .* films .*\.png.*--exclude-training-images"
        ) as caught:
            measured(run, tiny_store, split=part)
        assert "\n" not in str(caught.value)


def test_seen_films_are_left_out_and_counted_when_asked(run: Path, tiny_store: Path) -> None:
    result = measured(run, tiny_store, split="all", exclude_training_images=True)
    assert (result.dropped, result.evaluation.films) == (52, 44)
    assert any("52 films" in line for line in result.lines)
    with pytest.raises(DataError, match="nothing is left"):
        measured(run, tiny_store, split="train", exclude_training_images=True)


def test_saved_predictions_are_used_again_and_made_anew_when_spoilt(
    run: Path, tiny_store: Path
) -> None:
    first = measured(run, tiny_store)
    saved = pd.read_parquet(first.predictions)
    saved["Edema"] = saved["Edema"] * 0
    attrs, saved.attrs = saved.attrs, {}
    assert attrs.keys() == {"model", "data", "rows", "content_sha256"}
    saved.to_parquet(first.predictions, index=False)
    assert measured(run, tiny_store).to_json() == first.to_json()
    saved.attrs = attrs
    saved.to_parquet(first.predictions, index=False)
    assert measured(run, tiny_store).to_json() == first.to_json()
    saved.to_parquet(first.predictions, index=False)
    with pytest.raises(RunError, match="own SHA-256"):
        read_predictions(first.predictions)
    first.predictions.unlink()


def test_another_data_set_is_named_and_its_missing_findings_are_said(
    run: Path, make_store: Callable[..., Path], tmp_path: Path
) -> None:
    other = make_store(tmp_path / "other", films=40, seed=3)
    result = measured(
        run, other, split="all", exclude_training_images=True
    )  # of the same name as the run's, and so its paths
    assert result.name == "tiny-all"
    assert result.evaluation.films + result.dropped == 40


def test_a_run_of_several_stores_tells_their_evaluations_apart(
    tiny_store: Path, make_store: Callable[..., Path], tmp_path: Path
) -> None:
    second = make_store(tmp_path / "second", seed=1)
    options = FinetuneOptions(
        data=(tiny_store, second), out=tmp_path / "run", backbone="test_resnet", train=TRAIN
    )
    finetune(options)
    name = measured(options.out, tiny_store, exclude_training_images=True).name
    assert name == "tiny-test"


@pytest.fixture(scope="module")
def sparse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 96 films, every third of which does not mention Edema; no training film mentions Hernia."""
    rng, paths = np.random.default_rng(0), [f"{number}.png" for number in range(96)]
    patients = [f"p{number // 2}" for number in range(96)]
    labels = rng.integers(0, 2, (96, 3)).astype(np.float32)
    labels[::3, 0] = np.nan
    findings = ("Edema", "Hernia", "Mass")
    rows = {"path": paths, "patient": patients, "study": patients}
    table = pd.DataFrame(rows).assign(**dict(zip(findings, labels.T, strict=True)))
    parts = patient_split(film_table(table, findings), findings, 0, test=0.25, val=0.25)
    table.loc[~table["patient"].isin(parts.parts["test"]), "Hernia"] = np.nan
    catalog = Catalog("sparse", Path("/nowhere"), findings, film_table(table, findings), 96)
    images = rng.integers(0, 256, (96, 32, 32)).astype(np.uint8)
    folder = tmp_path_factory.mktemp("sparse") / "store"
    write_store(folder, catalog, images, Preparation(32))
    parts.save(folder)
    return folder


def test_what_is_not_mentioned_counts_as_in_the_training_of_the_run(
    sparse: Path, tmp_path: Path
) -> None:
    films, counted = {}, {}
    for unstated in ("absent", "ignore"):
        out = tmp_path / unstated
        labels = LabelOptions(unstated=unstated)
        finetune(
            FinetuneOptions(
                data=(sparse,), out=out, backbone="test_resnet", labels=labels, train=TRAIN
            )
        )
        edema = measured(out, sparse).evaluation.findings[0]
        counted[unstated] = edema.films
        assert (
            json.loads((out / METRICS).read_text())["evaluations"]["test"]["options"]["unstated"]
            == unstated
        )
        films[unstated] = {
            way: measured(out, sparse, unstated=way).evaluation.findings[0].films for way in counted
        }
    assert counted["ignore"] < counted["absent"]
    assert films["ignore"] == counted
    options = EvaluateOptions(data=sparse, resamples=5, min_positives=1)
    with pytest.raises(RunError, match=r"'absent', .*'ignore'") as caught:
        compare(tmp_path / "absent", tmp_path / "ignore", options)
    assert "\n" not in str(caught.value)
    both = compare(tmp_path / "absent", tmp_path / "ignore", replace(options, unstated="ignore"))
    assert both.difference.findings_scored == (
        "Edema",
        "Mass",
    )  # Hernia is an output of the first alone


def test_a_finding_without_a_label_to_learn_from_is_left_out_and_said(
    sparse: Path, tmp_path: Path
) -> None:
    heard = Heard()
    options = {"backbone": "test_resnet", "labels": LabelOptions(unstated="ignore")}
    finetune(FinetuneOptions(data=(sparse,), out=tmp_path / "run", train=TRAIN, **options), heard)
    described = load_model(tmp_path / "run").description
    assert described.findings == tuple(described.thresholds) == ("Edema", "Mass")
    assert [line for line in heard.notes if "Hernia" in line] == [
        "no training film has a label that counts for Hernia: left out"
    ]
    measures = measured(tmp_path / "run", sparse).evaluation
    assert [finding.name for finding in measures.findings] == ["Edema", "Mass"]
    asked = ProbeOptions(
        data=(sparse,), split="test", resamples=5, min_positives=1, device="cpu", **options
    )
    probed, heard.notes = probe("random", asked, heard), []
    for evaluation in (probed.knn, probed.linear):
        assert [finding.name for finding in evaluation.findings] == ["Edema", "Mass"]
    everything = FinetuneOptions(
        data=(sparse,), out=tmp_path / "all", backbone="test_resnet", train=TRAIN
    )
    finetune(everything, heard)  # by default a cell that is not stated is absent, all of Hernia
    assert load_model(tmp_path / "all").description.findings == ("Edema", "Mass")
    assert [line for line in heard.notes if "left out" in line] == [
        "every training label that counts says absent for Hernia: left out"
    ]


def test_a_model_that_does_not_say_what_it_took_for_absent_is_of_the_published_practice(
    run: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(run / "model", tmp_path / "model")
    content = json.loads((folder / "model.json").read_text())
    assert content.pop("unstated") == "absent"
    (folder / "model.json").write_text(json.dumps(content))
    (folder / "manifest.json").unlink()
    assert load_model(folder).description.unstated == "absent"


def test_a_store_split_anew_is_said(run: Path, tiny_store: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(tiny_store, tmp_path / "copy")
    assert not any("anew" in line for line in measured(run, copy).lines)
    split(copy, SplitOptions(seed=5))
    assert any(
        "split anew" in line for line in measured(run, copy, exclude_training_images=True).lines
    )


def test_evaluations_are_added_to_what_the_run_says_of_itself(run: Path, tiny_store: Path) -> None:
    measured(run, tiny_store, split="val")
    metrics = json.loads((run / METRICS).read_text())
    assert metrics["training"]["films"] == 52
    assert metrics["evaluations"]["val"]["films"] == 24


def test_nothing_is_written_into_a_bundle(run: Path, tiny_store: Path) -> None:
    with pytest.raises(RunError, match="is a bundle"):
        measured(run / "model", tiny_store)
    assert {file.name for file in (run / "model").iterdir()} == {
        "manifest.json",
        "model.json",
        "model.safetensors",
        "seen.parquet",
    }


def test_weights_out_of_range_end_the_run_in_one_line(tiny_store: Path, tmp_path: Path) -> None:
    train = FinetuneTrainOptions(
        min_steps=0, epochs=1, batch_size=26, lr=1e30, warmup=0, clip=0, accelerator="cpu"
    )
    options = FinetuneOptions(
        data=(tiny_store,), out=tmp_path / "run", backbone="test_resnet", train=train
    )
    with pytest.raises(RunError, match=r"not finite|is nan|is inf") as caught:
        finetune(options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "model").exists()


def test_the_door_for_python(run: Path, tiny_store: Path, tmp_path: Path) -> None:
    import cv2

    films = Films.open([tiny_store])
    rows = Subsets.of(films).rows("test")
    cv2.imwrite(str(tmp_path / "film.png"), films.read(rows[:1])[0])
    model = hilum.load(run)
    found = model.predict(tmp_path / "film.png")
    assert list(found) == ["Edema", "Mass"]
    assert list(found.values()) == pytest.approx(
        model.score_films(films, rows[:1])[0].tolist(), abs=1e-5
    )
    (tmp_path / "set").mkdir()
    shutil.copy(tmp_path / "film.png", tmp_path / "set")
    assert list(hilum.read_source("folder", tmp_path / "set").table["path"]) == ["film.png"]
