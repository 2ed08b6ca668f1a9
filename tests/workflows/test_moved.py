"""What was moved is known by its hashes: stores, the run given as --init, the run that rounds began with, a study."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from heard import Heard
from safetensors.torch import load_file, save_file
from study_plans import SCRATCH, tiny_plan, weights

from hilum.cli import main
from hilum.errors import DataError, RunError
from hilum.methods.moco import MoCoOptions
from hilum.pages.pages import write_report
from hilum.training.options import TrainOptions
from hilum.training.options_file import read_options_file
from hilum.training.run_folder import read_log
from hilum.workflows.pseudo_label.options import PseudoLabelOptions
from hilum.workflows.pseudo_label.pseudo_label import pseudo_label
from hilum.workflows.pseudo_label.record import read_rounds
from hilum.workflows.pseudo_label.starting_run import kept_run
from hilum.workflows.study.plan import Pretraining, StudyModel
from hilum.workflows.study.record import StudyRecord, read_study
from hilum.workflows.study.study import study
from hilum.workflows.train.finetune import finetune
from hilum.workflows.train.options import FinetuneOptions, FinetuneTrainOptions, PretrainOptions
from hilum.workflows.train.pretrain import pretrain

ONE = {"epochs": 1, "batch_size": 16, "accelerator": "cpu"}


@pytest.fixture(scope="module")
def begun(tiny_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store, a pretraining, a fine-tuning from it and rounds from that; neither has reached its end."""
    folder = tmp_path_factory.mktemp("begun")
    shutil.copytree(tiny_store, folder / "store")
    train = TrainOptions(**ONE)
    data = {"data": (folder / "store",)}
    network = {"backbone": "test_resnet"}
    options = PretrainOptions(out=folder / "start", train=train, **data, **network)
    pretrain("moco", MoCoOptions(), options)
    finetune(tuning(folder, folder / "start"))
    pseudo_label(folder / "run", rounds(folder))
    for run in ("run", "rounds"):
        (folder / run / "metrics.json").unlink()
    return folder


def tuning(folder: Path, init: Path) -> FinetuneOptions:
    train = FinetuneTrainOptions(**{**ONE, "min_steps": 0})
    where = {"data": (folder / "store",), "out": folder / "run"}
    return FinetuneOptions(init=str(init), fraction=0.5, train=train, **where)


def rounds(folder: Path) -> PseudoLabelOptions:
    sure = {"precision": 0.5, "absent_precision": 0.5, "level": 0.5, "device": "cpu"}
    return PseudoLabelOptions(
        data=(folder / "store",), out=folder / "rounds", rounds=1, patience=1, **sure
    )


@pytest.fixture
def moved(begun: Path, tmp_path: Path) -> Path:
    """All of it in another folder, under the same names."""
    return Path(shutil.copytree(begun, tmp_path / "moved"))


def steps(run: Path) -> list[int]:
    return [event["step"] for event in read_log(run) if "loss" in event]


def test_a_run_goes_on_where_store_and_init_were_moved(moved: Path) -> None:
    before = steps(moved / "run")
    shutil.move(moved / "start", moved / "elsewhere")
    finetune(tuning(moved, moved / "elsewhere"))
    assert steps(moved / "run") == before  # its last checkpoint was that of its end
    content, hashed = read_options_file(moved / "run")
    assert content["finetune"]["init"] == str(moved / "elsewhere")
    assert content["finetune"]["data"] == [str(moved / "store")]
    assert hashed


def test_init_may_be_named_by_its_model_instead(moved: Path) -> None:
    finetune(tuning(moved, moved / "start/model"))
    assert (moved / "run/metrics.json").is_file()


@pytest.mark.parametrize("init", ["start", "elsewhere", "random"])
def test_init_that_is_not_there_is_asked_for(moved: Path, init: str) -> None:
    shutil.rmtree(moved / "start")
    named = init if init == "random" else str(moved / init)
    with pytest.raises(RunError, match="give --init where they are now"):
        finetune(replace(tuning(moved, moved), init=named))


def test_other_weights_as_init_are_refused_whatever_they_are_called(
    moved: Path, tiny_store: Path
) -> None:
    shutil.rmtree(moved / "start")
    options = PretrainOptions(
        data=(tiny_store,),
        out=moved / "start",
        backbone="test_resnet",
        train=TrainOptions(seed=1, **ONE),
    )
    pretrain("moco", MoCoOptions(), options)
    for init in (moved / "start", moved / "start/model"):
        with pytest.raises(RunError, match=r"record.init: '\w{8}' there, '\w{8}' now"):
            finetune(tuning(moved, init))


def test_a_run_of_an_earlier_version_kept_no_hash_of_init(
    moved: Path, forget_hashes: Callable[[Path], None]
) -> None:
    forget_hashes(moved / "run")
    path = moved / "run/options.yaml"
    content = yaml.safe_load(path.read_text("utf-8"))
    del content["record"]["init"]
    content["finetune"]["init"] = str(moved / "start")
    path.write_text(yaml.safe_dump(content, sort_keys=False), "utf-8")
    shutil.copytree(moved / "start", moved / "copy")
    with pytest.raises(RunError, match=r"finetune.init: '.*start' there, '.*copy' now"):
        finetune(tuning(moved, moved / "copy"))
    finetune(tuning(moved, moved / "start"))  # where it was
    assert (moved / "run/metrics.json").is_file()


def test_rounds_go_on_where_their_start_was_moved(moved: Path) -> None:
    finetune(tuning(moved, moved / "start"))
    shutil.move(moved / "run", moved / "elsewhere")
    known = read_rounds(moved / "rounds")
    pseudo_label(moved / "elsewhere", rounds(moved))
    now = read_rounds(moved / "rounds")
    assert (now.start, now.rounds) == (str(moved / "elsewhere"), known.rounds)
    shutil.move(moved / "elsewhere", moved / "again")
    listener = Heard()
    assert pseudo_label(moved / "again", rounds(moved), listener).already_done
    assert read_rounds(moved / "rounds").start == str(moved / "again")
    if now.kept == 0:
        assert kept_run(moved / "rounds") == moved / "again"


def test_a_moved_run_is_measured_on_a_moved_store(
    classifier: Path, tiny_store: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(classifier, tmp_path / "there/run")
    store = shutil.copytree(tiny_store, tmp_path / "elsewhere/store")
    words = ["--split", "test", "--min-positives", "1", "--resamples", "2", "--device", "cpu"]
    assert main(["evaluate", str(run), "--data", str(store), *words]) == 0
    assert (run / "predictions-test.parquet").is_file()  # its own store, so no source in the name
    assert main(["check", str(run)]) == 0


@pytest.mark.parametrize("absolute", [True, False])
def test_a_study_is_moved_with_its_store_or_away_from_it(
    tiny_store: Path, tmp_path: Path, absolute: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    shutil.copytree(tiny_store, work / "store")
    at = work if absolute else Path()
    study(tiny_plan(at / "store", at / "study", models=SCRATCH))
    before = weights(work / "study")

    monkeypatch.chdir(tmp_path)
    work.rename(tmp_path / "moved")
    folder = tmp_path / "moved/study"
    with pytest.raises(DataError, match=r"is not there: if it was moved, run `hilum study --con"):
        write_report(folder)
    at = tmp_path / "moved" if absolute else Path("moved")
    assert study(tiny_plan(at / "store", at / "study", models=SCRATCH)).already_done
    assert weights(folder) == before
    assert read_study(folder).stores[0].path == tmp_path / "moved/store"
    assert write_report(folder).report.is_file()
    assert main(["check", str(folder)]) == 0


def test_a_study_goes_on_in_another_place_from_its_own_pretraining(
    tiny_store: Path, tmp_path: Path
) -> None:
    study(tiny_plan(tiny_store, tmp_path / "study"))
    (run,) = (tmp_path / "study/runs").glob("moco-50-*")
    for file in ("metrics.json", "predictions-test.parquet", "predictions-val.parquet"):
        (run / file).unlink()
    (tmp_path / "study/study.json").unlink()
    before = weights(tmp_path / "study")
    moved = (tmp_path / "study").rename(tmp_path / "moved")
    assert not study(tiny_plan(tiny_store, moved)).record.failed
    assert weights(moved) == before


@pytest.fixture
def started(tiny_store: Path, tmp_path: Path) -> Callable[[Path], StudyRecord]:
    """Runs a study of two models and a pretraining that all start from weights at a path."""

    def run(init: Path) -> StudyRecord:
        train = TrainOptions(**ONE)
        pretraining = PretrainOptions(train=train, init=str(init), data=(), out=Path())
        return study(
            tiny_plan(
                tiny_store,
                tmp_path / "study",
                models={"MoCo": StudyModel(pretrain="moco"), "given": StudyModel(init=str(init))},
                pretrain={"moco": Pretraining(options=pretraining, method=MoCoOptions())},
            )
        ).record

    return run


@pytest.mark.parametrize("kind", ["run", "model", "file"])
def test_a_study_goes_on_where_the_weights_it_starts_from_were_moved(
    begun: Path, tmp_path: Path, kind: str, started: Callable[[Path], StudyRecord]
) -> None:
    run = shutil.copytree(begun / "start", tmp_path / "start")
    inside = {"run": Path(), "model": Path("model"), "file": Path("model/model.safetensors")}[kind]
    assert not started(run / inside).failed
    study_folder = tmp_path / "study"
    before = weights(study_folder)
    (given,) = (study_folder / "runs").glob("given-50-*")
    (given / "metrics.json").unlink()
    (study_folder / "study.json").unlink()
    shutil.move(run, tmp_path / "elsewhere")
    moved = tmp_path / "elsewhere" / inside
    assert not started(moved).failed
    assert weights(study_folder) == before
    plan = read_study(study_folder).plan
    assert plan["models"]["given"]["init"] == plan["pretrain"]["moco"]["init"] == str(moved)
    assert started(moved).finished


@pytest.mark.parametrize("other", ["changed", "elsewhere", "random"])
def test_a_study_refuses_other_weights_to_start_from(
    begun: Path, tmp_path: Path, other: str, started: Callable[[Path], StudyRecord]
) -> None:
    run = shutil.copytree(begun / "start", tmp_path / "start")
    file = run / "model/model.safetensors"
    started(file)
    tensors = {name: tensor + 1 for name, tensor in load_file(file).items()}
    where = file if other == "changed" else tmp_path / "other.safetensors"
    save_file(tensors, where)
    with pytest.raises(RunError, match=r"holds another study \(.*models.given.init: '.+' there"):
        started(Path("random") if other == "random" else where)


def test_a_finished_study_is_shown_without_the_weights_it_started_from(
    begun: Path, tmp_path: Path, started: Callable[[Path], StudyRecord]
) -> None:
    run = shutil.copytree(begun / "start", tmp_path / "start")
    started(run)
    shutil.move(run, tmp_path / "elsewhere")
    assert started(run).finished
