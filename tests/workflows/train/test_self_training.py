"""The policy self-train: a first model labels uncertain cells; a run that was broken off ends as a whole one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from heard import Heard
from rehash import rehash

from hilum.bundle.model_folder import load_model
from hilum.bundle.predictor import Predictor
from hilum.catalog import ABSENT, PRESENT, Catalog, film_table
from hilum.errors import DataError, OptionError, RunError
from hilum.files import sha256
from hilum.images.enhance import Preparation
from hilum.images.films import Films
from hilum.images.store_writing import write_store
from hilum.labels import LabelOptions
from hilum.listener import SILENT, Listener
from hilum.splits import patient_split
from hilum.training.run_folder import PSEUDO_LABELS, TEACHER, read_log
from hilum.workflows.data.pseudo_label_table import read_pseudo_labels
from hilum.workflows.data.subsets import Subsets
from hilum.workflows.evaluate.evaluate import evaluate
from hilum.workflows.evaluate.options import EvaluateOptions, ProbeOptions
from hilum.workflows.evaluate.probe import probe
from hilum.workflows.train.finetune import finetune
from hilum.workflows.train.labelling_options import PseudoOptions
from hilum.workflows.train.options import FinetuneOptions, FinetuneTrainOptions
from hilum.workflows.train.run import TrainingResult

FINDINGS = ("Edema", "Mass")
MODEL_FILES = ("model.safetensors", "model.json")


EASY = PseudoOptions(precision=0.7, absent_precision=0.7, level=0.6)
"""What 60 validation films can show."""


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    return np.random.default_rng(0).random((200, 2)) < [0.5, 0.4]


@pytest.fixture(scope="module")
def doubtful(truth: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 films of 100 patients with bright squares, three in ten of the cells uncertain whatever the truth."""
    folder, rng = tmp_path_factory.mktemp("store") / "doubtful", np.random.default_rng(1)
    images = rng.integers(0, 60, (200, 32, 32))
    for column, place in enumerate((2, 20)):
        images[:, place : place + 8, place : place + 8] += 90 * truth[:, column, None, None]
    stated = np.where(rng.random((200, 2)) < 0.3, -1, truth).astype(np.float32)
    rows = {
        "path": [f"{number}.png" for number in range(200)],
        "patient": [f"p{number // 2}" for number in range(200)],
        "study": [f"s{number // 2}" for number in range(200)],
        **{name: stated[:, place] for place, name in enumerate(FINDINGS)},
    }
    catalog = Catalog(
        "doubtful", Path("/nowhere"), FINDINGS, film_table(pd.DataFrame(rows), FINDINGS), 200
    )
    store = write_store(folder, catalog, images.astype(np.uint8), Preparation(32))
    patient_split(store.catalog, store.findings, 0, test=0.2, val=0.3).save(folder)
    return folder


def options(store: Path, out: Path, **more: Any) -> FinetuneOptions:
    epochs = more.pop("epochs", 4)
    train = FinetuneTrainOptions(
        min_steps=0, epochs=epochs, batch_size=8, lr=3e-3, checkpoint_every=5, accelerator="cpu"
    )
    labels = LabelOptions(uncertain="self-train")
    given = {
        "data": (store,),
        "out": out,
        "backbone": "test_resnet",
        "labels": labels,
        "train": train,
    }
    return FinetuneOptions(**{**given, "self_train": EASY, **more})


def run(store: Path, out: Path, listener: Listener = SILENT, **more: Any) -> TrainingResult:
    return finetune(options(store, out, **more), listener)


@pytest.fixture(scope="module")
def whole(doubtful: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    return run(doubtful, tmp_path_factory.mktemp("runs") / "whole")


def assert_same(one: Path, two: Path) -> None:
    for name in (
        *(f"model/{file}" for file in MODEL_FILES),
        *(f"{TEACHER}/model/{file}" for file in MODEL_FILES),
    ):
        assert (one / name).read_bytes() == (two / name).read_bytes(), name
    assert sha256(one / PSEUDO_LABELS) == sha256(two / PSEUDO_LABELS)


def test_uncertain_training_cells_are_labelled_and_no_others(
    whole: TrainingResult, doubtful: Path, truth: np.ndarray
) -> None:
    films = Films.open([doubtful])
    table = read_pseudo_labels(whole.run / PSEUDO_LABELS)
    assert set(table.cells["provenance"]) == {"uncertain"}
    targets, _ = table.on(films, films.findings)
    taken = ~np.isnan(targets)
    assert taken.sum() > 30
    assert (films.labels[taken] == -1).all()
    assert np.isin(targets[taken], (PRESENT, ABSENT)).all()
    assert (targets[taken] == truth[taken]).mean() > 0.7
    teacher = whole.run / TEACHER
    assert table.record["teacher"] == sha256(teacher / "model" / "model.safetensors")
    assert table.record["options"]["precision"] == 0.7
    (told,) = [event for event in read_log(whole.run) if event.get("event") == "pseudo-labels"]
    assert sum(sum(counts.values()) for counts in told["findings"].values()) == taken.sum()


def test_the_first_model_is_what_ignore_trains(
    whole: TrainingResult, doubtful: Path, tmp_path: Path
) -> None:
    plain = run(doubtful, tmp_path / "plain", labels=LabelOptions(uncertain="ignore"))
    for name in MODEL_FILES:
        assert (plain.run / "model" / name).read_bytes() == (
            whole.run / TEACHER / "model" / name
        ).read_bytes()
    assert not (whole.run / TEACHER / "checkpoints").exists()
    student = load_model(whole.run)
    assert student.description.findings == FINDINGS
    assert not (plain.run / PSEUDO_LABELS).exists()
    assert (plain.run / "model" / MODEL_FILES[0]).read_bytes() != (
        whole.run / "model" / MODEL_FILES[0]
    ).read_bytes()


def test_the_run_and_its_first_model_are_evaluated_like_any_other(
    whole: TrainingResult, doubtful: Path
) -> None:
    how = EvaluateOptions(data=doubtful, resamples=0, min_positives=1)
    for folder in (whole.run, whole.run / TEACHER):
        assert evaluate(folder, how).evaluation.auroc_macro.value > 0.7


def test_the_second_time_it_is_already_done_even_without_the_first_model(
    whole: TrainingResult, tmp_path: Path, doubtful: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(whole.run, copy)
    shutil.rmtree(copy / TEACHER)
    (copy / PSEUDO_LABELS).unlink()
    assert run(doubtful, copy).already_done
    assert not (copy / TEACHER).exists()


class Falling(Listener):
    """Ends the process's work at the n-th time that it hears of progress or a note."""

    def __init__(self, last: int) -> None:
        self.left = last

    def note(self, line: str) -> None:
        self._count()

    def progress(self, stage: str, done: int, total: int, detail: str = "") -> None:
        self._count()

    def _count(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("step", [5, 16])
def test_a_run_that_falls_again_and_again_ends_as_the_whole_one(
    step: int, whole: TrainingResult, doubtful: Path, tmp_path: Path
) -> None:
    falls, last = 0, step
    while falls < 60:
        try:
            run(doubtful, tmp_path / "run", Falling(last))
        except KeyboardInterrupt:
            falls, last = (
                falls + 1,
                last + 5,
            )  # each time a little later, so that it comes to its end
        else:
            break
    assert 1 <= falls < 60
    assert_same(tmp_path / "run", whole.run)


@pytest.mark.parametrize(
    "lost",
    [
        ("log.jsonl", "metrics.json", "model", "checkpoints", PSEUDO_LABELS),
        ("log.jsonl", "metrics.json", "checkpoints"),
    ],
)
def test_it_goes_on_between_labelling_and_training(
    lost: tuple[str, ...], whole: TrainingResult, doubtful: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(whole.run, copy)
    for name in lost:
        shutil.rmtree(copy / name) if (copy / name).is_dir() else (copy / name).unlink()
    before = (copy / TEACHER / "metrics.json").stat().st_mtime_ns
    run(doubtful, copy)
    assert (copy / TEACHER / "metrics.json").stat().st_mtime_ns == before
    assert_same(copy, whole.run)


def test_other_options_are_refused_once_the_first_model_trains(
    doubtful: Path, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(doubtful, tmp_path / "run", Falling(12))
    assert (tmp_path / "run" / TEACHER / "log.jsonl").is_file()
    with pytest.raises(RunError, match=r"other options .*self_train\.soft"):
        run(doubtful, tmp_path / "run", self_train=replace(EASY, soft=True))


def test_what_is_refused_leaves_nothing(doubtful: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="unknown backbone"):
        run(doubtful, tmp_path / "run", backbone="resnet5O")
    assert not (tmp_path / "run").exists()


def another(store: Path, folder: Path, pixels: Callable[[pd.DataFrame], np.ndarray]) -> Path:
    """Write a store of the same names with these pixels and another label: the same one is not opened twice."""
    shutil.copytree(store, folder)
    catalog = pd.read_parquet(folder / "catalog.parquet")
    catalog["pixels"] = pixels(catalog)
    stated = catalog.index[catalog["Mass"] == 0][0]
    catalog.loc[stated, "Mass"] = 1
    catalog.to_parquet(folder / "catalog.parquet", index=False)
    rehash(folder)
    return folder


def test_films_of_one_name_in_two_stores_are_refused_before_the_first_model(
    doubtful: Path, tmp_path: Path
) -> None:
    other = another(
        doubtful, tmp_path / "other", lambda catalog: catalog["pixels"].iloc[::-1].to_numpy()
    )
    with pytest.raises(
        DataError,
        match=r"^200 films, first 0.png, are others in two stores of the source 'doubtful'",
    ):
        run(doubtful, tmp_path / "run", data=(doubtful, other))
    assert not (tmp_path / "run").exists()


def test_an_uncertain_cell_of_a_film_in_two_stores_is_labelled_once(
    doubtful: Path, tmp_path: Path
) -> None:
    other = another(doubtful, tmp_path / "other", lambda catalog: catalog["pixels"].to_numpy())
    always = PseudoOptions(soft=True, abstain=False)
    done = run(doubtful, tmp_path / "run", data=(doubtful, other), self_train=always, epochs=1)
    films = Films.open([doubtful])
    uncertain = (films.labels[Subsets.of(films).rows("train")] == -1).sum()
    assert len(read_pseudo_labels(done.run / PSEUDO_LABELS).cells) == uncertain


def test_irvins_form_labels_every_uncertain_cell_by_its_probability(
    doubtful: Path, tmp_path: Path
) -> None:
    done = run(
        doubtful, tmp_path / "run", self_train=PseudoOptions(soft=True, abstain=False), epochs=1
    )
    films = Films.open([doubtful])
    targets, _ = read_pseudo_labels(done.run / PSEUDO_LABELS).on(films, films.findings)
    rows = Subsets.of(films).rows("train")
    assert (np.isnan(targets[rows]) == (films.labels[rows] != -1)).all()
    told = Predictor.load(done.run / TEACHER, "cpu").score_films(films, rows)
    uncertain = films.labels[rows] == -1
    np.testing.assert_allclose(targets[rows][uncertain], told[uncertain], atol=1e-5)


def test_single_findings_self_train_on_a_share_of_the_patients(
    doubtful: Path, tmp_path: Path
) -> None:
    labels = LabelOptions(uncertain="multiclass", per_finding={"mass": "self-train"})
    done = run(doubtful, tmp_path / "run", labels=labels, fraction=0.7, epochs=2)
    table = read_pseudo_labels(done.run / PSEUDO_LABELS)
    assert set(table.cells["finding"]) == {"Mass"}
    films = Films.open([doubtful])
    outside = np.setdiff1d(np.arange(200), Subsets.of(films).rows("train", 0.7))
    assert not table.cells["path"].isin(films.catalog["path"].iloc[outside]).any()


def test_thresholds_that_nothing_reaches_label_nothing(doubtful: Path, tmp_path: Path) -> None:
    done = run(
        doubtful,
        tmp_path / "run",
        self_train=PseudoOptions(precision=0.99, absent_precision=0.99),
        epochs=1,
    )
    table = read_pseudo_labels(done.run / PSEUDO_LABELS)
    assert len(table.cells) == 0
    assert (
        "at no threshold" in table.record["cuts"]["Edema"]["reason"]
        or "bound" in table.record["cuts"]["Edema"]["reason"]
    )
    for name in MODEL_FILES:
        assert (done.run / "model" / name).read_bytes() == (
            done.run / TEACHER / "model" / name
        ).read_bytes()


def test_what_does_nothing_and_what_labels_nothing_is_said(doubtful: Path, tmp_path: Path) -> None:
    heard = Heard()
    run(doubtful, tmp_path / "ignored", heard, labels=LabelOptions(uncertain="ignore"), epochs=1)
    assert (
        "--self-train.* changes nothing here: no finding has --labels.uncertain self-train"
        in heard.notes
    )
    heard = Heard()
    run(
        doubtful,
        tmp_path / "none",
        heard,
        self_train=PseudoOptions(precision=0.999, absent_precision=0.999),
        epochs=1,
    )
    why = [
        line
        for line in heard.notes
        if line.startswith("no uncertain cell of Edema is labelled: present: ")
    ]
    assert len(why) == 1
    assert not any("changes nothing" in line for line in heard.notes)


def test_a_probe_has_no_first_model(doubtful: Path) -> None:
    with pytest.raises(
        OptionError, match="no policy self-train: choose zeros, ones, ignore or smooth"
    ) as caught:
        probe(
            "random",
            ProbeOptions(
                data=(doubtful,), labels=LabelOptions(uncertain="self-train"), device="cpu"
            ),
        )
    assert "\n" not in str(caught.value)
