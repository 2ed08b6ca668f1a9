"""A MedMNIST set from its archive to the page: accuracy and AUC as the set is measured elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, roc_auc_score

from hilum.cli.terminal.evaluation_details import details_text
from hilum.files import read_hashed_json, write_hashed_json
from hilum.images.store import MANIFEST, Store
from hilum.pages.pages import run_page
from hilum.sources import read_source
from hilum.training.run_folder import METRICS
from hilum.workflows.evaluate.evaluate import EvaluateResult, evaluate
from hilum.workflows.evaluate.options import EvaluateOptions
from hilum.workflows.prepare.prepare import PrepareOptions, prepare
from hilum.workflows.train.finetune import finetune
from hilum.workflows.train.options import FinetuneOptions, FinetuneTrainOptions

COUNTS = {"train": 60, "val": 40, "test": 50}
SIDE = 32


def archive(folder: Path, name: str, labels: int, classes: int) -> Path:
    """Write a set whose films are bright in the rows of their classes; return its file."""
    rng = np.random.default_rng(3)
    arrays: dict[str, Any] = {}
    for part, films in COUNTS.items():
        drawn = rng.integers(0, classes, (films, labels)).astype(np.uint8)
        if labels == 1:
            drawn[:classes, 0] = np.arange(classes)
        images = rng.integers(0, 120, (films, SIDE, SIDE)).astype(np.uint8)
        for film, row in enumerate(drawn):
            for place in row if labels == 1 else np.flatnonzero(row):
                images[film, 7 * place : 7 * place + 6] += 90
        arrays |= {f"{part}_images": images, f"{part}_labels": drawn}
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / f"{name}.npz", **arrays)
    return folder / f"{name}.npz"


def measured(run: Path, store: Path, **options: Any) -> EvaluateResult:
    asked = EvaluateOptions(data=store, min_positives=2, resamples=30, device="cpu", **options)
    return evaluate(run, asked)


def trained(folder: Path, file: Path, **named: Any) -> tuple[Path, Path]:
    """Prepare and fine-tune on the archive; return store and run."""
    store, run = folder / "store", folder / "run"
    prepare(read_source("medmnist", file, **named), store, PrepareOptions(SIDE, workers=1))
    train = FinetuneTrainOptions(min_steps=0, epochs=1, batch_size=16, accelerator="cpu")
    finetune(FinetuneOptions(data=(store,), out=run, backbone="test_resnet", train=train))
    return store, run


@pytest.fixture(scope="module")
def derma(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A set of four classes and a run on it, measured."""
    folder = tmp_path_factory.mktemp("derma")
    store, run = trained(folder, archive(folder, "dermamnist_64", 1, 4))
    measured(run, store)
    return store, run


def recorded(run: Path, name: str = "test") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / METRICS).read_text())["evaluations"][name]["medmnist"]
    return found


def test_a_set_of_classes_has_the_published_measures_of_its_saved_predictions(
    derma: tuple[Path, Path],
) -> None:
    store, run = derma
    table = pd.read_parquet(run / "predictions-test.parquet")
    scores = table[[f"class {number}" for number in range(4)]].to_numpy(np.float64)
    numbers = np.load(store.parent / "dermamnist_64.npz")["test_labels"][:, 0]
    assert [int(path.rpartition("/")[2]) for path in table["path"]] == list(range(50))
    told = recorded(run)
    assert told["accuracy"]["value"] == pytest.approx(accuracy_score(numbers, scores.argmax(1)))
    areas = [roc_auc_score(numbers == number, scores[:, number]) for number in range(4)]
    assert told["auc"]["value"] == pytest.approx(np.mean(areas))
    assert (told["task"], told["films"], told["patients"]) == ("multi-class", 50, 50)
    assert all(len(told[name]["interval"]) == 2 for name in ("accuracy", "auc"))


def test_the_page_and_the_terminal_say_it_with_films_and_split(derma: tuple[Path, Path]) -> None:
    store, run = derma
    told, page = recorded(run), " ".join(run_page(run).split())
    assert "As MedMNIST measures this set (by the most probable class" in page
    assert f"accuracy {told['accuracy']['value']:.3f} (" in page
    assert "on 50 films of 50 patients of the test split" in page
    result = measured(run, store)
    text = details_text(result.details, result.evaluation)
    assert f"MedMNIST's accuracy {told['accuracy']['value']:.3f} [" in text


def test_with_findings_left_out_there_is_a_reason_and_no_number(derma: tuple[Path, Path]) -> None:
    store, run = derma
    left = measured(run, store, split="val", findings=("class 0", "class 2")).details.set_scores
    assert left is not None
    assert (left.accuracy.value, left.auc.value) == (None, None)
    assert "class 1, class 3" in str(left.accuracy.reason)
    assert "not available" in run_page(run)


def test_a_store_without_a_task_is_measured_as_before(derma: tuple[Path, Path]) -> None:
    store, run = derma
    manifest, _ = read_hashed_json(store / MANIFEST)
    assert manifest.pop("task") == "multi-class"
    kept = (store / MANIFEST).read_bytes()
    write_hashed_json(store / MANIFEST, manifest)
    assert Store.open(store).task is None
    assert measured(run, store, split="val").details.set_scores is None
    (store / MANIFEST).write_bytes(kept)


@pytest.mark.parametrize(
    ("name", "labels", "classes", "named", "task"),
    [
        ("chestmnist", 14, 2, (), "multi-label"),
        ("breastmnist", 1, 2, (), "binary"),
        ("breastmnist", 1, 2, ("Malignant", "Benign"), "binary"),
        ("organamnist", 1, 11, (), "multi-class"),
        ("retinamnist_128", 1, 5, (), "multi-class"),
    ],
)
def test_the_source_names_the_task(
    tmp_path: Path, name: str, labels: int, classes: int, named: tuple[str, ...], task: str
) -> None:
    catalog = read_source("medmnist", archive(tmp_path, name, labels, classes), findings=named)
    assert catalog.task == task


def test_a_binary_set_is_measured_at_one_half(tmp_path: Path) -> None:
    store, run = trained(tmp_path, archive(tmp_path, "pneumoniamnist", 1, 2))
    result = measured(run, store)
    found, films = result.details.set_scores, result.films
    assert found is not None
    right = (films.scores[:, 0] > 0.5) == (films.truth[:, 0] == 1)
    assert found.accuracy.value == pytest.approx(right.mean())
    assert found.task == "binary"
    assert found.auc.value == pytest.approx(result.evaluation.findings[0].measures["auroc"].value)
