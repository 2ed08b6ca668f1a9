"""Fine-tuning on few labels: probe first, candidates, cross-validation within the labels, soft targets."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from heard import Heard

from hilum.bundle.initialization import initial_weights
from hilum.bundle.model_folder import load_model
from hilum.bundle.training_manifest import were_seen
from hilum.classifier.options import LossOptions
from hilum.classifier.probes import LinearProbe
from hilum.errors import DataError, HilumError, OptionError
from hilum.group_key import made_key
from hilum.images.films import Films
from hilum.images.store import Store
from hilum.labels import LabelOptions
from hilum.listener import SILENT, Listener
from hilum.methods.moco import MoCoOptions
from hilum.metrics.ranking import auroc, mean_auroc_within_folds
from hilum.splits import patient_split
from hilum.training.inference import over_films
from hilum.training.options import TrainOptions
from hilum.workflows.check.check import check
from hilum.workflows.data.subsets import Subsets
from hilum.workflows.train import within
from hilum.workflows.train.finetune import finetune
from hilum.workflows.train.options import (
    FinetuneOptions,
    FinetuneTrainOptions,
    PretrainOptions,
    SoftTargetOptions,
)
from hilum.workflows.train.pretrain import TrainingResult, pretrain

FEW: dict[str, Any] = {"backbone_rate": 0.1, "keep_norm": True, "average": 0.9}


def options(store: Path, out: Path, **more: Any) -> FinetuneOptions:
    train = {"epochs": 3, "batch_size": 8, "lr": 3e-3, "accelerator": "cpu", "min_steps": 0}
    train |= more.pop("train", {})
    given = {"data": (store,), "out": out, "train": FinetuneTrainOptions(**train)}
    if "init" not in more:
        given["backbone"] = "test_resnet"
    return FinetuneOptions(**{**given, **more})


def run(store: Path, out: Path, listener: Listener = SILENT, **more: Any) -> TrainingResult:
    return finetune(options(store, out, **more), listener)


@pytest.fixture(scope="module")
def start(tiny_store: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("few") / "start"
    loop = TrainOptions(epochs=2, batch_size=16, accelerator="cpu")
    pretrain(
        "moco",
        MoCoOptions(),
        PretrainOptions(data=(tiny_store,), out=out, backbone="test_resnet", train=loop),
    )
    return str(out)


def metrics(result: TrainingResult) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((result.run / "metrics.json").read_text())
    return content


def weights_of(result: TrainingResult) -> dict[str, torch.Tensor]:
    return load_model(result.run).classifier.state_dict()


def mean_auroc(result: TrainingResult, store: Path, part: str) -> float:
    films = Films.open([store])
    rows = Subsets.of(films).rows(part)
    logits = over_films(load_model(result.run).classifier, films, rows, 32)
    return float(np.mean([auroc(films.labels[rows][:, f], logits[:, f]) for f in range(2)]))


def test_the_best_candidate_on_validation_films_is_the_model(
    start: str, tiny_store: Path, tmp_path: Path
) -> None:
    heard = Heard()
    result = run(tiny_store, tmp_path / "run", heard, init=start, probe_first=True, train=FEW)
    candidate = metrics(result)["candidate"]
    assert f"of the candidates, the {candidate} network is the model" in heard.notes
    assert mean_auroc(result, tiny_store, "val") == pytest.approx(result.best, abs=1e-5)


def test_training_that_ruins_the_network_leaves_the_probe(
    start: str, tiny_store: Path, tmp_path: Path
) -> None:
    ruin = {"lr": 3.0, "backbone_rate": 1.0, "epochs": 1, "optimiser": "sgd", "clip": 0.0}
    result = run(tiny_store, tmp_path / "run", init=start, probe_first=True, train=ruin)
    assert metrics(result)["candidate"] == "probe"
    films = Films.open([tiny_store])
    rows = Subsets.of(films).rows("train")
    backbone = initial_weights(start, None, 32, 0).backbone
    ours = load_model(result.run).backbone.network.state_dict()
    for name, value in backbone.network.state_dict().items():
        assert torch.equal(value, ours[name]), name
    features = torch.from_numpy(over_films(backbone, films, rows, 32))
    targets = torch.from_numpy(films.labels[rows])
    best = {
        penalty: LinearProbe(features, targets, torch.ones_like(targets), penalty)(features)
        for penalty in (1e-4, 1e-3, 1e-2, 1e-1)
    }
    logits = over_films(load_model(result.run).classifier, films, rows, 32)
    alike = [
        np.allclose(np.argsort(logits, axis=0), np.argsort(other.numpy(), axis=0))
        for other in best.values()
    ]
    assert any(alike)  # calibration keeps the order


def test_options_of_pretrained_weights_are_told_to_change_nothing_on_random_ones(
    tiny_store: Path, tmp_path: Path
) -> None:
    heard = Heard()
    train = {"epochs": 1, "backbone_rate": 0.1, "keep_norm": True}
    one = run(tiny_store, tmp_path / "one", heard, probe_first=True, train=train)
    two = run(tiny_store, tmp_path / "two", train={"epochs": 1})
    assert [note for note in heard.notes if note.startswith("of pretrained weights only")] == [
        "of pretrained weights only, so without effect on random ones: "
        "--train.backbone-rate, --train.keep-norm, --probe-first"
    ]
    bytes_of = [(r.run / "model" / "model.safetensors").read_bytes() for r in (one, two)]
    assert bytes_of[0] == bytes_of[1]


@pytest.fixture(scope="module")
def no_val(make_store: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose split has no validation films."""
    folder = make_store(tmp_path_factory.mktemp("few") / "store")
    opened = Store.open(folder)
    patient_split(opened.catalog, opened.findings, 0, test=0.2, val=0.0).save(folder)
    return folder


@pytest.fixture(scope="module")
def cross(no_val: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    return run(no_val, tmp_path_factory.mktemp("few") / "cross", **WITHIN)


WITHIN: dict[str, Any] = {"validation": "within", "folds": 3, "train": {"epochs": 4}}
MODEL_FILES = ("model.safetensors", "model.json", "seen.parquet")


def test_within_needs_no_validation_film_and_gives_thresholds_and_calibration(
    cross: TrainingResult, no_val: Path
) -> None:
    described = load_model(cross.run).description
    assert all(value is not None for value in described.thresholds.values())
    assert all(described.calibration.values())
    chosen = metrics(cross)["within"]
    assert (chosen["folds"], chosen["candidate"]) == (3, "tuned")
    assert chosen["auroc"] == max(chosen["scores"]["tuned"]) == pytest.approx(cross.best)
    assert chosen["epoch"] == 1 + chosen["scores"]["tuned"].index(chosen["auroc"])
    films = Films.open([no_val])
    everyone = Subsets.of(films).rows("train")
    assert (cross.films, cross.patients) == (len(everyone), Subsets.of(films).patients(everyone))
    assert cross.steps == chosen["epoch"] * (len(everyone) // 8)
    assert not (cross.run / "folds").exists()
    assert not check(cross.run).damaged


def test_what_chooses_are_scores_of_networks_that_never_saw_the_patient(
    no_val: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[set[int]] = []
    chosen_by: list[Any] = []

    def spied(backbone: Any, films: Films, training_set: Any, *rest: Any) -> Any:
        trained.append(set(films.patient_codes[training_set.rows].tolist()))
        return real(backbone, films, training_set, *rest)

    def kept(logits: Any, validation: Any, parts: Any) -> Any:
        chosen_by.append((logits, validation, parts))
        return choose(logits, validation, parts)

    real, choose = within.new_fitting, within.choose
    monkeypatch.setattr(within, "new_fitting", spied)
    monkeypatch.setattr(within, "choose", kept)
    result = run(no_val, tmp_path / "run", **WITHIN)
    ((logits, validation, parts),) = chosen_by
    for number, patients in enumerate(trained):
        assert not patients & set(validation.patients[parts == number].tolist())
        assert patients | set(validation.patients[parts == number].tolist()) == set(
            validation.patients.tolist()
        )
    recorded = metrics(result)["within"]
    again = mean_auroc_within_folds(
        validation.truth, validation.counts, logits[f"tuned/{recorded['epoch']}"], parts
    )
    assert again == recorded["auroc"]


class Falling(Listener):
    """Ends the work at the n-th report of progress."""

    def __init__(self, last: int) -> None:
        self.left = last

    def progress(self, stage: str, done: int, total: int, detail: str = "") -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("first", [3, 9])
def test_a_cross_validation_that_falls_again_and_again_ends_as_the_whole_one(
    first: int, cross: TrainingResult, no_val: Path, tmp_path: Path
) -> None:
    falls, last = 0, first
    while falls < 40:
        try:
            run(no_val, tmp_path / "run", Falling(last), **WITHIN)
        except KeyboardInterrupt:
            falls, last = falls + 1, last + 4
            assert not check(tmp_path / "run").damaged
        else:
            break
    assert 2 <= falls < 40
    for name in MODEL_FILES:
        ours = (tmp_path / "run" / "model" / name).read_bytes()
        assert ours == (cross.run / "model" / name).read_bytes(), name
    again = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert again["within"] == metrics(cross)["within"]


def test_a_damaged_score_of_a_fold_is_made_again(
    cross: TrainingResult, no_val: Path, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(no_val, tmp_path / "run", Falling(14), **WITHIN)
    saved = sorted((tmp_path / "run" / "folds").glob("*/scores/step-*/state.safetensors"))
    assert saved
    for file in saved:
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(bytes(content))
    run(no_val, tmp_path / "run", **WITHIN)
    for name in MODEL_FILES:
        ours = (tmp_path / "run" / "model" / name).read_bytes()
        assert ours == (cross.run / "model" / name).read_bytes(), name


@pytest.mark.parametrize("fraction", [0.06, 0.12])
def test_within_a_handful_of_patients(
    fraction: float, start: str, tiny_store: Path, tmp_path: Path
) -> None:
    heard = Heard()
    result = run(
        tiny_store, tmp_path / "run", heard, init=start, probe_first=True, validation="within",
        fraction=fraction, train={**FEW, "batch_size": 2, "epochs": 2},
    )  # fmt: skip
    assert metrics(result)["within"]["folds"] == min(5, result.patients)
    assert result.patients < 5
    assert load_model(result.run).description.calibration.keys() == {"Edema", "Mass"}


def test_the_probe_may_win_within_too(start: str, tiny_store: Path, tmp_path: Path) -> None:
    ruin = {"lr": 3.0, "epochs": 1, "optimiser": "sgd", "clip": 0.0}
    result = run(
        tiny_store, tmp_path / "run", init=start, probe_first=True, validation="within",
        folds=2, train=ruin,
    )  # fmt: skip
    chosen = metrics(result)["within"]
    assert (chosen["candidate"], chosen["epoch"], result.steps) == ("probe", 0, 0)
    ours = load_model(result.run).backbone.network.state_dict()
    for name, value in initial_weights(start, None, 32, 0).backbone.network.state_dict().items():
        assert torch.equal(value, ours[name]), name


def test_one_patient_cannot_be_divided(tiny_store: Path, tmp_path: Path) -> None:
    films = Films.open([tiny_store])
    rows = Subsets.of(films).rows("train", 0.01)
    if len(np.unique(films.labels[rows], axis=0)) < 2:
        pytest.skip("the one patient of that draw has no finding of both kinds")
    with pytest.raises(DataError, match="divides the labelled patients, and there is one"):
        run(tiny_store, tmp_path / "run", validation="within", fraction=0.01)


def test_soft_targets_of_the_films_whose_labels_are_held_back(
    start: str, tiny_store: Path, tmp_path: Path
) -> None:
    heard, films = Heard(), Films.open([tiny_store])
    subsets = Subsets.of(films)
    soft: dict[str, Any] = {
        "init": start, "probe_first": True, "fraction": 0.3, "train": {**FEW, "epochs": 1},
    }  # fmt: skip
    result = run(tiny_store, tmp_path / "soft", heard, unlabelled=(tiny_store,), **soft)
    rest = np.setdiff1d(subsets.rows("train"), subsets.rows("train", 0.3))
    assert f"learns from {len(rest)} films without their labels, by soft targets" in heard.notes
    assert result.films == len(subsets.rows("train", 0.3))
    seen = were_seen(
        films.catalog, load_model(result.run).seen, films.preparation.size, made_key(tiny_store)
    )
    assert np.array_equal(np.flatnonzero(seen), subsets.rows("train"))


@pytest.mark.parametrize(
    "how",
    [
        {"unlabelled": True},
        {"unlabelled": True, "further_start": True},
        {"loss": LossOptions(name="focal", positive_weight="balanced")},
        {"validation": "within", "folds": 2},
    ],
    ids=["soft targets", "two teachers", "focal loss", "validation within"],
)
def test_each_way_of_fine_tuning_works_in_bfloat16(
    how: dict[str, Any], start: str, tiny_store: Path, tmp_path: Path
) -> None:
    more = {key: value for key, value in how.items() if key in ("loss", "validation", "folds")}
    if how.get("unlabelled"):
        more["unlabelled"] = (tiny_store,)
    if how.get("further_start"):
        more["soft_targets"] = SoftTargetOptions(starts=(Path(start),))
    train = {**FEW, "epochs": 1, "precision": "bf16-mixed"}
    result = run(
        tiny_store,
        tmp_path / "run",
        init=start,
        probe_first=True,
        fraction=0.3,
        train=train,
        **more,
    )
    assert {value.dtype for value in weights_of(result).values() if value.is_floating_point()} == {
        torch.float32
    }
    assert mean_auroc(result, tiny_store, "train") > 0.5


def test_labels_that_are_held_back_change_nothing_under_soft_targets(
    start: str, make_store: Callable[..., Path], tmp_path: Path
) -> None:
    ends = []
    for turned in (False, True):
        store = make_store(tmp_path / f"store-{turned}")
        films = Films.open([store])
        rest = np.setdiff1d(Subsets.of(films).rows("train"), Subsets.of(films).rows("train", 0.3))
        labels = films.labels.copy()
        if turned:
            labels[rest] = 1 - labels[rest]
        result = run_with_labels(films, labels, store, tmp_path / f"run-{turned}", start)
        ends.append(result)
    for name, value in ends[0].items():
        assert torch.equal(value, ends[1][name]), name


def run_with_labels(
    films: Films, labels: np.ndarray, store: Path, out: Path, start: str
) -> dict[str, torch.Tensor]:
    """Train one epoch on films whose labels are these; return the network's tensors."""
    from hilum.training.distributed import ALONE
    from hilum.training.run_folder import RunFolder
    from hilum.workflows.train.fitting import new_fitting
    from hilum.workflows.train.training_set import TrainingSet

    given = options(
        store, out, init=start, fraction=0.3, unlabelled=(store,), train={**FEW, "epochs": 1},
        soft_targets=SoftTargetOptions(starts=(Path(start),)),
    )  # fmt: skip
    films.__dict__["labels"] = labels
    training_set = TrainingSet.of(films, Subsets.of(films), given)
    backbone = initial_weights(start, None, 32, 0).backbone
    out.mkdir()
    fitting = new_fitting(backbone, films, training_set, given, 32, RunFolder(out), ALONE)
    fitting.trainer().train()
    return {name: value.clone() for name, value in fitting.learner.state_dict().items()}


def test_a_further_store_teaches_without_its_labels(
    tiny_store: Path, make_store: Callable[..., Path], tmp_path: Path
) -> None:
    more = make_store(tmp_path / "more", seed=3)
    heard = Heard()
    train = {"average": 0.9, "epochs": 1}
    run(tiny_store, tmp_path / "run", heard, unlabelled=(more,), train=train)
    films = len(Subsets.of(Films.open([more])).rows("train"))
    assert f"learns from {films} films without their labels, by soft targets" in heard.notes


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"validation": "within", "pseudo_labels": Path("t")}, "--validation is within and --pseudo-labels"),
        ({"validation": "within", "labels": LabelOptions(uncertain="self-train")}, "policy self-train is given"),
        ({"validation": "within", "devices": 2}, "--devices is 2 with --validation within"),
        ({"folds": 1}, "--folds is 1: allowed is 2 or more"),
        ({"probe_first": True, "labels": LabelOptions(uncertain="multiclass")}, "--probe-first .* multiclass"),
        ({"unlabelled": (Path("s"),)}, "give --train.average"),
        ({"train": {"backbone_rate": 0.0}}, "--train.backbone-rate is 0.0"),
        ({"train": {"layer_decay": 1.5}}, "--train.layer-decay is 1.5"),
        ({"train": {"average": 1.0}}, "--train.average is 1.0"),
    ],
)  # fmt: skip
def test_options_that_do_not_go_together_are_one_line(
    wrong: dict[str, Any], line: str, tmp_path: Path
) -> None:
    with pytest.raises(OptionError, match=line) as caught:
        options(tmp_path / "store", tmp_path / "run", **wrong)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"ratio": 0}, "--soft-targets.ratio is 0"),
        ({"weight": 0.0}, "--soft-targets.weight is 0.0"),
    ],
)
def test_soft_target_options_are_checked(wrong: dict[str, Any], line: str) -> None:
    with pytest.raises(HilumError, match=line):
        SoftTargetOptions(**wrong)


def test_nothing_to_learn_softly_from_is_refused(tiny_store: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no training film without a label that is used"):
        run(tiny_store, tmp_path / "run", unlabelled=(tiny_store,), train={"average": 0.9})
    assert not (tmp_path / "run").exists()


def test_a_run_of_before_these_options_goes_on(tiny_store: Path, tmp_path: Path) -> None:
    done = run(tiny_store, tmp_path / "run", train={"epochs": 1})
    written = done.run / "options.yaml"
    lines = written.read_text().splitlines(keepends=True)[:-1]  # 0.1.0 wrote no hash
    new = (
        "backbone_rate",
        "layer_decay",
        "keep_norm",
        "average",
        "probe_first",
        "validation",
        "folds",
    )
    kept = [line for line in lines if line.strip().partition(":")[0] not in new]
    text = "".join(kept)
    begin = text.index("  soft_targets:")
    text = text[:begin] + text[text.index("  train:", begin) :]
    assert "starts" not in text
    written.write_text(text)
    assert run(tiny_store, done.run, train={"epochs": 1}).already_done
    shutil.rmtree(done.run)
