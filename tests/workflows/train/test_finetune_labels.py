"""Fine-tuning by every policy, loss and sampler ends in the same kind of model: one calibrated output a finding."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from heard import Heard

from hilum.bundle.model_folder import load_model
from hilum.catalog import Catalog, film_table
from hilum.classifier.options import LossOptions
from hilum.errors import DataError, OptionError
from hilum.images.enhance import Preparation
from hilum.images.films import Films
from hilum.images.store_writing import write_store
from hilum.labels import POLICIES, LabelOptions
from hilum.listener import SILENT, Listener
from hilum.metrics.ranking import auroc
from hilum.splits import patient_split
from hilum.training.inference import as_probabilities, over_films
from hilum.training.run_folder import read_log
from hilum.workflows.data.subsets import Subsets, truth_of
from hilum.workflows.evaluate.evaluate import evaluate
from hilum.workflows.evaluate.options import EvaluateOptions, ProbeOptions
from hilum.workflows.evaluate.probe import probe
from hilum.workflows.train.finetune import finetune
from hilum.workflows.train.options import FinetuneOptions, FinetuneTrainOptions
from hilum.workflows.train.run import TrainingResult

FINDINGS = ("Edema", "Mass", "Hernia")


@pytest.fixture(scope="module")
def doubtful(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """160 films of 80 patients with a bright square for each of three findings, a quarter of the cells uncertain."""
    folder, rng = tmp_path_factory.mktemp("store") / "doubtful", np.random.default_rng(0)
    truth = rng.random((160, 3)) < [0.5, 0.4, 0.15]
    images = rng.integers(0, 60, (160, 32, 32))
    for column, (row, place) in enumerate(((2, 2), (20, 20), (2, 20))):
        images[:, row : row + 8, place : place + 8] += 80 * truth[:, column, None, None]
    stated = np.where(rng.random((160, 3)) < 0.25, -1, truth).astype(np.float32)
    rows = {
        "path": [f"{number}.png" for number in range(160)],
        "patient": [f"p{number // 2}" for number in range(160)],
        "study": [f"s{number // 2}" for number in range(160)],
        **{name: stated[:, place] for place, name in enumerate(FINDINGS)},
    }
    catalog = Catalog(
        "doubtful", Path("/nowhere"), FINDINGS, film_table(pd.DataFrame(rows), FINDINGS), 160
    )
    store = write_store(folder, catalog, images.astype(np.uint8), Preparation(32))
    patient_split(store.catalog, store.findings, 0, test=0.2, val=0.3).save(folder)
    return folder


def run(store: Path, out: Path, listener: Listener = SILENT, **options: Any) -> TrainingResult:
    train = {
        "epochs": 5,
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


def validation(store: Path, model: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return logits, truth and counts of the validation films."""
    films = Films.open([store])
    rows = Subsets.of(films).rows("val")
    truth, counts = truth_of(films, rows, "absent")
    return over_films(load_model(model).classifier, films, rows, 32), truth, counts


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_learns_and_gives_one_output_a_finding(
    policy: str, doubtful: Path, tmp_path: Path
) -> None:
    done = run(
        doubtful, tmp_path / "run", labels=LabelOptions(uncertain=policy), train={"epochs": 4}
    )
    model = load_model(done.run)
    assert model.head.out_features == 3
    assert model.description.findings == FINDINGS
    logits, truth, counts = validation(doubtful, done.run)
    found = np.mean([auroc(truth[counts[:, f], f], logits[counts[:, f], f]) for f in range(3)])
    assert found == pytest.approx(done.best, abs=1e-5)
    assert done.best > 0.7


def test_policies_mix_and_the_model_is_used_like_any_other(doubtful: Path, tmp_path: Path) -> None:
    labels = LabelOptions(uncertain="ones", per_finding={"Mass": "multiclass"})
    done = run(doubtful, tmp_path / "run", labels=labels)
    result = evaluate(done.run, EvaluateOptions(data=doubtful, resamples=0, min_positives=1))
    assert {found.name for found in result.evaluation.findings} == set(FINDINGS)


def test_a_probe_refuses_a_class_of_its_own(doubtful: Path) -> None:
    labels = LabelOptions(per_finding={"Mass": "multiclass"})
    with pytest.raises(OptionError, match="choose zeros, ones, ignore or smooth") as caught:
        probe("random", ProbeOptions(data=(doubtful,), labels=labels, device="cpu"))
    assert "\n" not in str(caught.value)


def test_calibration_is_folded_into_the_head_before_thresholds_are_chosen(
    doubtful: Path, tmp_path: Path
) -> None:
    raw, done = (run(doubtful, tmp_path / str(on), calibrate=on) for on in (False, True))
    told = load_model(done.run).description
    assert load_model(raw.run).description.calibration == dict.fromkeys(FINDINGS)
    before, truth, counts = validation(doubtful, raw.run)
    after, _, _ = validation(doubtful, done.run)
    for f, name in enumerate(FINDINGS):
        fitted = told.calibration[name]
        cell = counts[:, f]
        if fitted is None:
            assert min(truth[cell, f].sum(), (1 - truth[cell, f]).sum()) < 10
            fitted = {"temperature": 1.0, "shift": 0.0}
        else:
            assert as_probabilities(after)[cell, f].mean() == pytest.approx(
                truth[cell, f].mean(), abs=0.02
            )
        np.testing.assert_allclose(
            after[:, f], before[:, f] / fitted["temperature"] + fitted["shift"], atol=1e-4
        )
        cut, scores = told.thresholds[name], as_probabilities(after)[cell, f]
        assert told.operating_points[name]["youden"] == cut
        assert ((scores >= cut) & (truth[cell, f] == 1)).sum() > 0
        points = told.operating_points[name]
        assert points["sensitivity 0.9"] is not None
        assert np.mean(scores[truth[cell, f] == 1] >= points["sensitivity 0.9"]) >= 0.9
    assert any(told.calibration.values())


def test_no_validation_film_leaves_the_model_as_it_was_trained(
    make_store: Callable[..., Path], tmp_path: Path
) -> None:
    store = make_store(tmp_path / "store")
    films = Films.open([store]).stores[0]
    patient_split(films.catalog, films.findings, 0, test=0.2, val=0.0).save(store)
    told = load_model(run(store, tmp_path / "run", train={"epochs": 1}).run).description
    assert told.calibration == told.thresholds == {"Edema": None, "Mass": None}


def test_weights_and_losses_change_what_is_learnt(doubtful: Path, tmp_path: Path) -> None:
    options = {
        "plain": LossOptions(),
        "focal": LossOptions(name="focal"),
        "balanced": LossOptions(positive_weight="balanced"),
        "number": LossOptions(positive_weight=3.0),
        "effective": LossOptions(beta=0.99),
    }
    heads = {}
    for name, loss in options.items():
        done = run(doubtful, tmp_path / name, loss=loss, calibrate=False, train={"epochs": 1})
        heads[name] = load_model(done.run).head
    weights = torch.stack([head.weight for head in heads.values()])
    assert torch.pdist(weights.flatten(1)).min() > 0
    assert (
        heads["number"].bias > heads["plain"].bias + 0.5
    ).all()  # it starts at the share that the loss sees


def test_the_weighted_sampler_says_what_it_does(doubtful: Path, tmp_path: Path) -> None:
    heard = Heard()
    done = run(doubtful, tmp_path / "run", heard, sampler="weighted", train={"epochs": 2})
    (told,) = [event for event in read_log(done.run) if event.get("event") == "sampler"]
    films = Films.open([doubtful])
    labels = films.labels[Subsets.of(films).rows("train")]
    shares = (labels == 1).sum(0) / (labels >= 0).sum(0)
    np.testing.assert_allclose(told["before"], shares, rtol=1e-5)
    assert told["findings"] == list(FINDINGS)
    assert told["after"][2] > 1.5 * told["before"][2]
    assert 0.5 < told["distinct"] < 1
    assert any("draws films by weight: Hernia from" in note for note in heard.notes)
    assert "sampler: weighted" in (done.run / "options.yaml").read_text()
    assert not any(
        e.get("event") == "sampler" for e in read_log(run(doubtful, tmp_path / "plain").run)
    )


def test_the_same_weighted_run_twice_gives_the_same_bytes(doubtful: Path, tmp_path: Path) -> None:
    options = {
        "sampler": "weighted",
        "labels": LabelOptions(uncertain="multiclass"),
        "train": {"epochs": 2},
    }
    one, two = (run(doubtful, tmp_path / name, **{**options}) for name in ("one", "two"))
    for name in ("model.safetensors", "model.json"):
        assert (one.run / "model" / name).read_bytes() == (two.run / "model" / name).read_bytes()


@pytest.mark.parametrize(
    "backbone",
    [
        "densenet121",
        *(pytest.param(name, marks=pytest.mark.torture) for name in ("resnet50", "inception_v3")),
    ],
)
def test_the_baselines_train_from_random_weights(
    backbone: str, make_store: Callable[..., Path], tmp_path: Path
) -> None:
    store = make_store(tmp_path / "store", films=12, size=64)
    result = run(store, tmp_path / "run", backbone=backbone, train={"epochs": 1, "batch_size": 2})
    assert result.steps >= 2
    assert load_model(result.run).description.backbone == backbone


def test_a_hundredth_of_the_patients_is_at_least_one(doubtful: Path, tmp_path: Path) -> None:
    result = run(doubtful, tmp_path / "run", fraction=0.01, train={"epochs": 1})
    assert (result.patients, result.films) == (1, 2)
    with pytest.raises(
        DataError, match="2 films are too few for a step of 2 x 2 films: train on more films"
    ) as caught:
        run(doubtful, tmp_path / "none", fraction=0.01, train={"accumulate": 2})
    assert "\n" not in str(caught.value)


def test_films_whose_labels_are_all_uncertain_teach_nothing_when_ignored(
    doubtful: Path, tmp_path: Path
) -> None:
    sure = Films.open([doubtful])
    assert (sure.labels == -1).any()
    films = run(doubtful, tmp_path / "run", train={"epochs": 1}).films
    rows = Subsets.of(sure).rows("train")
    assert films == int((sure.labels[rows] != -1).any(axis=1).sum())
