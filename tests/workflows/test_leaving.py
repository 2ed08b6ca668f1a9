"""Nothing leaves its folder: links out of a store, run, study or card, and names in its files that lead out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from study_plans import SCRATCH, tiny_plan

from hilum.bundle.predictor import Predictor
from hilum.cli import main
from hilum.duplicates.stored import read_duplicates
from hilum.errors import HilumError
from hilum.files import is_plain_name, write_hashed_json, write_hashed_text
from hilum.images.store import Store
from hilum.pages.card.read import read_card
from hilum.pages.gallery import read_gallery
from hilum.pages.pages import write_report
from hilum.pages.read import read_run
from hilum.sources.paths import dataset_name
from hilum.splits import Split
from hilum.training.run_folder import open_run, read_log, read_metrics
from hilum.workflows.card.card import card
from hilum.workflows.card.options import CardOptions
from hilum.workflows.evaluate.evaluate import evaluate
from hilum.workflows.evaluate.options import EvaluateOptions
from hilum.workflows.evaluate.predictions import read_predictions
from hilum.workflows.pseudo_label.record import Rounds, read_rounds, write_rounds
from hilum.workflows.pseudo_label.starting_run import kept_run, start_run
from hilum.workflows.study.record import read_study
from hilum.workflows.study.study import study

Spoil = Callable[[Path, Path], None]
OUTSIDE = ["../elsewhere", "/etc", "runs/../../elsewhere", "a\\b", "C:runs", "..", ""]


@pytest.fixture(scope="module")
def study_folder(tiny_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("study") / "study"
    study(tiny_plan(tiny_store, out, models=SCRATCH))
    return out


@pytest.fixture
def run(classifier: Path, tiny_store: Path, tmp_path: Path) -> Path:
    copied = Path(shutil.copytree(classifier, tmp_path / "run"))
    evaluate(copied, EvaluateOptions(data=tiny_store, min_positives=1, resamples=2, device="cpu"))
    return copied


def moved_out(folder: Path, name: str) -> Path:
    """Put a file or folder elsewhere and a link in its place; return where it is."""
    elsewhere = folder.parent / "elsewhere" / Path(name).name
    elsewhere.parent.mkdir(exist_ok=True)
    shutil.move(folder / name, elsewhere)
    (folder / name).symlink_to(elsewhere)
    return elsewhere


def refusal(call: Callable[[], Any]) -> str:
    with pytest.raises(HilumError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


READS: dict[str, Callable[[Path], Any]] = {
    "options.yaml": read_run,
    "metrics.json": read_metrics,
    "log.jsonl": read_log,
    "crops.png": lambda run: open_run(run, {}).__enter__(),
    "checkpoints": lambda run: open_run(run, {}).__enter__(),
    "checkpoints/best": lambda run: open_run(run, {}).__enter__(),
    ".lock": lambda run: open_run(run, {}).__enter__(),
    "splits": lambda run: open_run(run, {}).__enter__(),
    "splits/tiny/split.json": lambda run: open_run(run, {}).__enter__(),
    "model": lambda run: Predictor.load(run, "cpu"),
    "model/model.safetensors": lambda run: Predictor.load(run, "cpu"),
    "model/seen.parquet": lambda run: Predictor.load(run, "cpu"),
    "predictions-test.parquet": lambda run: read_predictions(run / "predictions-test.parquet"),
}


@pytest.mark.parametrize("name", READS)
def test_a_run_whose_file_or_folder_lies_elsewhere_is_refused(run: Path, name: str) -> None:
    if not (run / name).exists():
        (run / name).write_bytes(b"")
    elsewhere = moved_out(run, name)
    before = sorted(elsewhere.rglob("*")) if elsewhere.is_dir() else elsewhere.read_bytes()
    assert "leads out of" in refusal(lambda: READS[name](run))
    assert before == (
        sorted(elsewhere.rglob("*")) if elsewhere.is_dir() else elsewhere.read_bytes()
    )


def test_a_lock_that_leads_out_is_not_emptied(run: Path, tiny_store: Path) -> None:
    elsewhere = run.parent / "mine"
    elsewhere.write_text("mine")
    (run / ".lock").unlink(missing_ok=True)
    (run / ".lock").symlink_to(elsewhere)
    words = ["finetune", "--data", str(tiny_store), "--out", str(run), "--backbone", "test_resnet"]
    assert main(words) == 1
    assert elsewhere.read_text() == "mine"


def test_links_within_a_run_and_to_a_whole_run_are_followed(run: Path, tmp_path: Path) -> None:
    shutil.move(run / "model", run / "kept")
    (run / "model").symlink_to("kept")
    (tmp_path / "link").symlink_to(run)
    assert Predictor.load(tmp_path / "link", "cpu").findings == ("Edema", "Mass")
    assert read_run(tmp_path / "link").finished


def test_the_files_of_a_bare_model_may_be_links_as_in_caches_of_published_ones(run: Path) -> None:
    model = shutil.copytree(run / "model", run.parent / "model")
    for name in ("model.json", "model.safetensors", "seen.parquet", "manifest.json"):
        moved_out(model, name)
    assert Predictor.load(model, "cpu").findings == ("Edema", "Mass")


@pytest.mark.parametrize("name", ["split.json", "duplicates.parquet"])
def test_a_store_whose_file_lies_elsewhere_is_refused(
    tiny_store: Path, tmp_path: Path, name: str
) -> None:
    store = Path(shutil.copytree(tiny_store, tmp_path / "store"))
    (store / "duplicates.parquet").write_bytes(b"")
    moved_out(store, name)
    read = Split.load if name == "split.json" else lambda at: read_duplicates(Store.open(at))
    assert "leads out of" in refusal(lambda: read(store))


@pytest.mark.parametrize("name", ["study.json", "runs", "runs/from-scratch-50-ignore-seed-0"])
def test_a_study_whose_file_or_folder_lies_elsewhere_is_refused(
    study_folder: Path, tmp_path: Path, name: str
) -> None:
    folder = Path(shutil.copytree(study_folder, tmp_path / "study"))
    moved_out(folder, name)
    assert "leads out of" in refusal(lambda: read_study(folder))


@pytest.mark.parametrize(
    "name", ["study.yaml", ".lock", "runs/from-scratch-50-ignore-seed-0/model", "tables"]
)
def test_a_study_that_would_write_elsewhere_is_not_begun(
    study_folder: Path, tiny_store: Path, tmp_path: Path, name: str
) -> None:
    folder = Path(shutil.copytree(study_folder, tmp_path / "study"))
    (folder / "tables").mkdir(exist_ok=True)
    (folder / ".lock").touch()
    moved_out(folder, name)
    plan = tiny_plan(tiny_store, folder, models=SCRATCH)
    assert "leads out of" in refusal(lambda: study(plan))


@pytest.mark.parametrize("name", ["tables", "explained"])
def test_a_page_whose_tables_lie_elsewhere_is_not_built(
    study_folder: Path, tmp_path: Path, name: str
) -> None:
    folder = Path(shutil.copytree(study_folder, tmp_path / "study"))
    (folder / name).mkdir(exist_ok=True)
    elsewhere = moved_out(folder, name)
    (elsewhere / "mine.csv").write_text("mine")
    assert "leads out of" in refusal(lambda: write_report(folder))
    assert (elsewhere / "mine.csv").read_text() == "mine"


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_study_whose_record_names_a_run_outside_is_refused(
    study_folder: Path, tmp_path: Path, name: str
) -> None:
    content = json.loads((study_folder / "study.json").read_bytes())
    content["cells"][0]["run"] = name
    write_hashed_json(tmp_path / "study.json", content)
    assert "no name of a file below" in refusal(lambda: read_study(tmp_path))


@pytest.mark.parametrize("name", ["../store", "a/../../store", ""])
def test_a_study_whose_record_names_a_store_outside_by_a_relative_path_is_refused(
    study_folder: Path, tmp_path: Path, name: str
) -> None:
    content = json.loads((study_folder / "study.json").read_bytes())
    content["stores"][0]["path"] = name
    write_hashed_json(tmp_path / "study.json", content)
    assert "no name of a file below" in refusal(lambda: read_study(tmp_path))


@pytest.mark.parametrize("name", OUTSIDE)
def test_rounds_that_name_a_run_outside_are_refused(tmp_path: Path, name: str) -> None:
    write_rounds(tmp_path, Rounds("/start", 0.5, None, None))
    content = json.loads((tmp_path / "rounds.json").read_bytes())
    write_hashed_json(tmp_path / "rounds.json", {**content, "rounds": [{"run": name}]})
    assert "no name of a file below" in refusal(lambda: read_rounds(tmp_path))
    (tmp_path / "rounds.json").unlink()


def test_rounds_whose_start_was_moved_say_how_to_name_the_new_place(tmp_path: Path) -> None:
    write_rounds(tmp_path, Rounds(str(tmp_path / "gone"), 0.5, None, None))
    assert "which is not there: if it was moved, run `hilum pseudo-label" in refusal(
        lambda: kept_run(tmp_path)
    )


def test_rounds_that_lie_elsewhere_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "rounds"
    folder.mkdir()
    write_rounds(folder, Rounds("/start", 0.5, None, None))
    moved_out(folder, "rounds.json")
    assert "leads out of" in refusal(lambda: read_rounds(folder))


@pytest.mark.parametrize("name", ["card.json", "pictures", "pictures/mean-0.png"])
def test_a_card_whose_file_lies_elsewhere_is_refused(
    tiny_store: Path, tmp_path: Path, name: str
) -> None:
    options = CardOptions(out=tmp_path / "card", samples=0, min_positives=2, resamples=2)
    card([tiny_store], options)
    moved_out(options.out, name)
    assert "leads out of" in refusal(lambda: card([tiny_store], options))
    assert "leads out of" in refusal(lambda: write_report(options.out))
    assert "leads out of" in refusal(lambda: read_card(options.out).picture("mean-0.png"))


def test_a_gallery_shows_no_picture_from_elsewhere(tmp_path: Path) -> None:
    folder = tmp_path / "explained"
    folder.mkdir()
    (folder / "01-film.png").write_bytes(b"mine")
    moved_out(folder, "01-film.png")
    film = {"pictures": {"film": "01-film.png", "overlay": "01-film.png", "mask": None}}
    about = {"model": "a", "fraction": 1.0, "rule": "", "layer": "", "films": [film]}
    row = {
        "finding": "Mass",
        "probability": 0.1,
        "threshold": None,
        "called": False,
        "present": None,
    }
    film |= {"findings": [row], "finding": "Mass", "outcome": "", "view": None}
    film |= {"called": [], "missed": [], "false_calls": []}
    write_hashed_json(folder / "gallery.json", about)
    assert "leads out of" in refusal(lambda: read_gallery(folder, "delete it"))


@pytest.mark.parametrize("name", [".preparing", ".preparing/plan.json"])
def test_a_store_that_would_be_written_elsewhere_is_not_begun(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["phantom", str(tmp_path / "phantoms"), "--count", "4", "--size", "32"]) == 0
    store = tmp_path / "store"
    (store / ".preparing").mkdir(parents=True)
    (store / ".preparing/plan.json").write_text("{}")
    elsewhere = moved_out(store, name)
    words = ["prepare", "chexpert", str(tmp_path / "phantoms"), "--out", str(store)]
    assert main([*words, "--size", "32", "--workers", "1"]) == 1
    assert "leads out of" in capsys.readouterr().err
    assert [path.name for path in (elsewhere.parent).rglob("*")][-1] in (name, "plan.json")


@pytest.mark.parametrize("name", ["a/b", "../x", "a\\b", "C:x"])
def test_a_data_set_that_is_called_by_a_path_gets_a_plain_name(name: str) -> None:
    assert is_plain_name(dataset_name(name))


@pytest.mark.parametrize("backbone", ["local-dir:/etc", "../resnet18", "hf-hub:someone/network"])
def test_a_model_whose_network_is_named_by_a_place_is_refused(
    run: Path, backbone: str, forget_hashes: Callable[[Path], None]
) -> None:
    forget_hashes(run)
    path = run / "model/model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "backbone": backbone}))
    assert "unknown backbone" in refusal(lambda: Predictor.load(run, "cpu"))


def test_options_that_were_changed_are_not_followed(run: Path, tiny_store: Path) -> None:
    text = (run / "options.yaml").read_text("utf-8")
    (run / "options.yaml").write_text(text.replace("test_resnet", "test_vit"), "utf-8")
    for call in (lambda: read_run(run), lambda: start_run(run, [tiny_store])):
        assert "options.yaml is damaged" in refusal(call)
    content = yaml.safe_load(text)
    write_hashed_text(run / "options.yaml", yaml.safe_dump(content, sort_keys=False))
    assert read_run(run).finished
