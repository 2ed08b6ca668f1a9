"""``hilum check`` names what of a folder that Hilum wrote is not as it was written, and what has no hash."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from study_plans import tiny_plan

from hilum.cli import main
from hilum.errors import DataError, RunError
from hilum.pages.pages import write_report
from hilum.workflows.card.card import card
from hilum.workflows.card.options import CardOptions
from hilum.workflows.check.check import check
from hilum.workflows.evaluate.evaluate import evaluate
from hilum.workflows.evaluate.options import EvaluateOptions
from hilum.workflows.pseudo_label.options import PseudoLabelOptions
from hilum.workflows.pseudo_label.pseudo_label import pseudo_label
from hilum.workflows.study.plan import StudyModel
from hilum.workflows.study.study import study

STUDY = {"from scratch": StudyModel(init="random"), "more": StudyModel(self_train="from scratch")}


def flip(file: Path, byte: int) -> None:
    content = bytearray(file.read_bytes())
    content[byte] ^= 1
    file.write_bytes(content)


@pytest.fixture(scope="module")
def made(tiny_store: Path, classifier: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store, a run that was measured and shown on a page, rounds, a study and a card."""
    folder = tmp_path_factory.mktemp("made")
    store, run = folder / "store", folder / "run"
    shutil.copytree(tiny_store, store)
    shutil.copytree(classifier, run)
    evaluate(run, EvaluateOptions(data=store, min_positives=1, resamples=2, device="cpu"))
    write_report(run)
    sure = {"precision": 0.5, "absent_precision": 0.5, "level": 0.5, "device": "cpu"}
    half = study(tiny_plan(store, folder / "study", models=STUDY)).record
    start = next(cell for cell in half.cells if cell.kind == "finetune")
    rounds = PseudoLabelOptions(data=(store,), out=folder / "rounds", rounds=1, **sure)
    pseudo_label(half.path(start), rounds)
    card([store], CardOptions(out=folder / "card", samples=1, min_positives=2, resamples=2))
    return folder


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Copies one of the folders, which a test may spoil."""
    return lambda name: Path(shutil.copytree(made / name, tmp_path / name))


def files_that_are_read() -> Iterator[tuple[str, str]]:
    """Yield folder and file of what a later command reads, of every kind of folder."""
    yield from (("store", name) for name in ("manifest.json", "catalog.parquet", "split.json"))
    yield "store", "images-00000.npy"
    run = ["options.yaml", "metrics.json", "log.jsonl", "splits/tiny/split.json"]
    run += [f"model/{name}" for name in ("model.json", "model.safetensors", "seen.parquet")]
    yield from (("run", name) for name in (*run, "predictions-test.parquet"))
    yield from (("run", f"explained/{name}") for name in ("gallery.json", "01-film.png"))
    yield from (("rounds", name) for name in (*run[:3], "rounds.json", "model/model.safetensors"))
    of_round = ("pseudo-labels.parquet", "options.yaml", "metrics.json", "log.jsonl")
    yield from (("rounds", f"rounds/round-1/{name}") for name in of_round)
    names = ("study.json", "study.yaml", "analysis.json", "localisation.json", "data.json")
    yield from (("study", name) for name in (*names, "explained/gallery.json"))
    yield from (("study", f"runs/from-scratch-50-ignore-seed-0/{name}") for name in run[:3])
    yield from (("card", name) for name in ("card.json", "pictures/mean-0.png"))


def test_nothing_is_damaged_and_all_that_is_read_has_a_hash(made: Path) -> None:
    for name in ("store", "run", "run/model", "rounds", "study", "card"):
        found = check(made / name)
        assert found.damaged == ()
        assert "earlier version" not in " ".join(found.notes)
    assert {"model", "metrics.json", "splits/tiny", "log.jsonl"} <= set(check(made / "run").checked)
    of_study = set(check(made / "study").checked)
    assert {"study.json", "runs/more-50-ignore-seed-0/rounds.json"} <= of_study
    elsewhere = f"its store {made / 'store'} lies elsewhere: give it to hilum check too"
    assert elsewhere in check(made / "study").notes
    assert "no command reads it again: report.html" in " ".join(check(made / "run").notes)


@pytest.mark.parametrize(("folder", "file"), list(files_that_are_read()))
def test_a_damaged_file_is_named_in_one_line(
    copied: Callable[[str], Path], folder: str, file: str
) -> None:
    path = copied(folder) / file
    # In the middle of a Parquet file a bit may mean nothing.
    flip(path, 60 if path.suffix == ".parquet" else path.stat().st_size // 2)
    (line,) = check(path.parents[file.count("/")]).damaged
    part = line.partition(": ")[0]
    assert file.startswith(part) or part == "manifest.json"  # a store's table is opened with it
    assert "\n" not in line


@pytest.mark.parametrize("file", ["predictions-test.parquet", "log.jsonl", "options.yaml"])
def test_no_page_is_built_from_a_damaged_file(copied: Callable[[str], Path], file: str) -> None:
    run = copied("run")
    before = (run / "report.html").read_bytes()
    flip(run / file, 60)
    with pytest.raises(RunError) as caught:
        write_report(run)
    assert file in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (run / "report.html").read_bytes() == before


@pytest.mark.parametrize("file", ["model.safetensors", "model.json", "seen.parquet"])
def test_a_damaged_file_of_a_bare_model_is_named(copied: Callable[[str], Path], file: str) -> None:
    model = copied("run") / "model"
    flip(model / file, 100)
    (line,) = check(model).damaged
    assert file in line


@pytest.mark.parametrize(
    ("folder", "file"),
    [
        ("store", "split.json"),
        ("run", "log.jsonl"),
        ("run", "splits/tiny/split.json"),
        ("run", "model/seen.parquet"),
        ("run", "explained/01-film.png"),
        ("card", "pictures/mean-0.png"),
    ],
)
def test_a_file_that_is_gone_is_named(
    copied: Callable[[str], Path], folder: str, file: str
) -> None:
    path = copied(folder)
    (path / file).unlink()
    (line,) = check(path).damaged
    assert "missing" in line


def test_an_unfinished_runs_log_is_said_to_have_no_hash(copied: Callable[[str], Path]) -> None:
    run = copied("run")
    (run / "metrics.json").unlink()
    notes = check(run).notes
    assert any("log.jsonl has no hash until the run is finished" in note for note in notes)


@pytest.mark.parametrize("folder", ["run", "rounds", "study", "card"])
def test_a_folder_without_hashes_is_read_with_a_note(
    copied: Callable[[str], Path], folder: str, forget_hashes: Callable[[Path], None]
) -> None:
    path = copied(folder)
    forget_hashes(path)
    found = check(path)
    assert found.damaged == ()
    assert any("earlier version without a hash of" in note for note in found.notes)


def test_the_command_exits_with_1_and_one_line(
    copied: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    store = copied("store")
    assert main(["check", str(store)]) == 0
    assert capsys.readouterr().out.endswith("split.json are as written\n")
    flip(store / "images-00000.npy", 5000)
    assert main(["check", str(store)]) == 1
    assert "1 of 4 parts are not what was written" in capsys.readouterr().err
    assert main(["check", str(copied("study"))]) == 0
    assert "and " in capsys.readouterr().out


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no store, run, model, study or card"):
        check(tmp_path)
