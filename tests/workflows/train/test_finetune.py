"""Fine-tuning as a function: from a pretrained run to a classifier with thresholds, on a share of the labels."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from heard import Heard

from hilum.bundle.model_folder import load_model
from hilum.bundle.training_manifest import were_seen
from hilum.errors import DataError, OptionError, RunError
from hilum.group_key import made_key
from hilum.images.films import Films
from hilum.labels import LabelOptions
from hilum.listener import SILENT, Listener
from hilum.methods.moco import MoCoOptions
from hilum.metrics.ranking import auroc
from hilum.training.inference import over_films
from hilum.training.options import TrainOptions
from hilum.training.run_folder import read_log
from hilum.workflows.data.subsets import Subsets
from hilum.workflows.evaluate.options import ProbeOptions
from hilum.workflows.evaluate.probe import probe
from hilum.workflows.train.finetune import finetune
from hilum.workflows.train.options import FinetuneOptions, FinetuneTrainOptions, PretrainOptions
from hilum.workflows.train.pretrain import TrainingResult, pretrain


def run(store: Path, out: Path, listener: Listener = SILENT, **options: Any) -> TrainingResult:
    train = {
        "epochs": 6,
        "batch_size": 8,
        "lr": 3e-3,
        "accelerator": "cpu",
        **options.pop("train", {}),
    }
    given = {
        "data": (store,),
        "out": out,
        "backbone": "test_resnet",
        "train": FinetuneTrainOptions(**{"min_steps": 0, **train}),
    }
    return finetune(FinetuneOptions(**{**given, **options}), listener)


@pytest.fixture(scope="module")
def done(tiny_store: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    return run(tiny_store, tmp_path_factory.mktemp("finetune") / "run")


def test_the_model_that_is_kept_is_the_best_on_validation_films(
    done: TrainingResult, tiny_store: Path
) -> None:
    scores = {e["step"]: e["score"] for e in read_log(done.run) if e.get("event") == "validation"}
    assert scores[done.best_step] == max(scores.values()) == pytest.approx(done.best, abs=1e-5)
    films = Films.open([tiny_store])
    rows = Subsets.of(films).rows("val")
    logits = over_films(load_model(done.run).classifier, films, rows, 32)
    truth = films.labels[rows]
    found = np.mean([auroc(truth[:, f], logits[:, f]) for f in range(2)])
    assert float(found) == pytest.approx(done.best, abs=1e-5)
    assert done.best > 0.75  # two bright squares are no hard findings


def test_thresholds_are_chosen_on_validation_films(done: TrainingResult) -> None:
    described = load_model(done.run).description
    assert described.findings == ("Edema", "Mass")
    assert set(described.thresholds) == set(described.findings)
    assert all(value is not None and 0 < value < 1 for value in described.thresholds.values())


def test_the_same_run_twice_gives_the_same_bytes(
    done: TrainingResult, tiny_store: Path, tmp_path: Path
) -> None:
    torch.manual_seed(5)
    run(tiny_store, tmp_path / "again")
    for name in ("model.safetensors", "model.json", "seen.parquet"):
        assert (tmp_path / "again" / "model" / name).read_bytes() == (
            done.run / "model" / name
        ).read_bytes()


def test_the_second_time_it_is_already_done(done: TrainingResult, tiny_store: Path) -> None:
    again = run(tiny_store, done.run)
    assert again.already_done
    assert (again.steps, again.best, again.best_step) == (done.steps, done.best, done.best_step)


def test_a_fraction_learns_from_fewer_patients_and_remembers_the_pretraining_films(
    tiny_store: Path, tmp_path: Path
) -> None:
    start = PretrainOptions(
        data=(tiny_store,),
        out=tmp_path / "pretrained",
        backbone="test_resnet",
        train=TrainOptions(epochs=1, batch_size=16, accelerator="cpu"),
    )
    pretrain("moco", MoCoOptions(), start)
    result = run(
        tiny_store,
        tmp_path / "tuned",
        init=str(start.out),
        backbone=None,
        fraction=0.3,
        train={"epochs": 1},
    )
    films = Films.open([tiny_store])
    subsets = Subsets.of(films)
    assert result.patients == round(0.3 * subsets.patients(subsets.rows("train")))
    seen = were_seen(
        films.catalog, load_model(result.run).seen, films.preparation.size, made_key(tiny_store)
    )
    assert np.array_equal(np.flatnonzero(seen), subsets.rows("train"))


def test_a_start_from_films_prepared_otherwise_is_said_and_not_probed(
    done: TrainingResult, make_store: Callable[..., Path], tmp_path: Path
) -> None:
    other, heard = make_store(tmp_path / "other", size=40, seed=1), Heard()
    run(
        other,
        tmp_path / "run",
        heard,
        init=str(done.run),
        backbone=None,
        train={"epochs": 1, "size": 32},
    )
    said = [note for note in heard.notes if "learnt from films prepared with" in note]
    assert len(said) == 1
    assert re.search("with --size 32 .* with --size 40 ", said[0])
    with pytest.raises(
        DataError, match=r"prepared with --size 40 .* the model with --size 32 "
    ) as caught:
        probe(str(done.run), ProbeOptions(data=(other,), device="cpu"))
    assert "\n" not in str(caught.value)


def test_a_frozen_backbone_stays_that_of_the_start(tiny_store: Path, tmp_path: Path) -> None:
    one = run(tiny_store, tmp_path / "one", freeze=True, train={"epochs": 1})
    two = run(tiny_store, tmp_path / "two", freeze=True, train={"epochs": 2}, patience=0)
    ours, theirs = (load_model(result.run) for result in (one, two))
    for name, value in ours.backbone.network.state_dict().items():
        assert torch.equal(value, theirs.backbone.network.state_dict()[name]), name
    assert not torch.equal(ours.classifier.head.weight, theirs.classifier.head.weight)


def test_options_are_written_down_as_a_config_that_repeats_the_run(done: TrainingResult) -> None:
    text = (done.run / "options.yaml").read_text()
    assert text.startswith("finetune:")
    assert "record:" in text
    assert str(done.run) not in text
    assert json.loads((done.run / "metrics.json").read_text())["training"]["films"] == 52


def test_a_start_is_written_down_so_that_it_is_found_from_every_folder(
    done: TrainingResult, tiny_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(done.run.parent)
    options: dict[str, Any] = {"backbone": None, "train": {"epochs": 1}}
    first = run(tiny_store, tmp_path / "run", init=done.run.name, **options)
    written = first.run / "options.yaml"
    assert yaml.safe_load(written.read_text())["finetune"]["init"] == str(done.run.resolve())
    lines = written.read_text().splitlines(keepends=True)[:-1]  # as it once was: without a hash,
    written.write_text("".join(lines).replace(str(done.run.resolve()), done.run.name))
    assert run(tiny_store, first.run, init=done.run.name, **options).already_done
    assert run(tiny_store, first.run, init=str(done.run), **options).already_done
    with pytest.raises(RunError, match="began with weights of SHA-256"):
        run(tiny_store, first.run, init="random", **options)
    monkeypatch.chdir(tmp_path)  # where "run" is another run: the weights tell, not the name
    assert run(tiny_store, first.run, init=str(done.run), **options).already_done
    (tmp_path / "random").mkdir()
    other = run(tiny_store, tmp_path / "other", init="random", train={"epochs": 1})
    assert yaml.safe_load((other.run / "options.yaml").read_text())["finetune"]["init"] == "random"


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"fraction": 0.0}, "--fraction is 0.0"),
        ({"fraction": 1.5}, "--fraction is 1.5"),
        ({"patience": -1}, "--patience is -1"),
        ({"backbone": "resnet5O"}, "unknown backbone 'resnet5O'"),
        ({"labels": LabelOptions(uncertain="ones?")}, "unknown policy"),
        ({"labels": LabelOptions(per_finding={"Edma": "ones"})}, "unknown finding 'Edma'"),
    ],
)
def test_mistakes_are_one_line(
    tiny_store: Path, tmp_path: Path, options: dict[str, Any], line: str
) -> None:
    with pytest.raises(OptionError, match=line.replace("?", r"\?")) as caught:
        run(tiny_store, tmp_path / "run", **options)
    assert "\n" not in str(caught.value)


def test_few_patients_of_val_and_test_are_said_before_the_training(
    tiny_store: Path, tmp_path: Path
) -> None:
    heard = Heard()
    run(tiny_store, tmp_path / "run", heard, train={"epochs": 1})
    said = [note for note in heard.notes if "Hanley and McNeil" in note]
    assert [note.split()[0] for note in said] == ["val", "test"]
