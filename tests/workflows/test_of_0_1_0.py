"""A store, a run and a card that version 0.1.0 wrote: they open with a note, and every command goes on with them.

``of_0_1_0.zip`` was made by that version: 24 phantoms of 32 px, and timm's smallest network fine-tuned and
evaluated on them.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from hilum.bundle.model_folder import age_notes
from hilum.cli import main
from hilum.images.store import Store
from hilum.workflows.check.check import check

TRAINED = (
    *("--backbone", "test_convnext", "--train.epochs", "2", "--train.batch-size", "8"),
    *("--train.log-every", "1", "--train.accelerator", "cpu", "--train.min-steps", "0"),
)
MEASURED = ("--min-positives", "1", "--resamples", "20", "--device", "cpu")
NOTE = "was written by an earlier version without a hash of"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    with zipfile.ZipFile(Path(__file__).with_name("of_0_1_0.zip")) as packed:
        packed.extractall(tmp_path)
    return tmp_path


def test_check_says_what_has_no_hash_and_finds_no_damage(old: Path) -> None:
    assert "earlier version" in Store.open(old / "store").notes[0]
    files = "model/model.json, model/seen.parquet, options.yaml, metrics.json, log.jsonl"
    assert f"{NOTE} {files}: changes there are not noticed" in age_notes(old / "run")[0]
    for name in ("store", "run", "run/model", "card"):
        found = check(old / name)
        assert found.damaged == ()
        assert "earlier version" in " ".join(found.notes)
    assert {"options.yaml", "metrics.json", "log.jsonl", "model"} <= set(check(old / "run").checked)


@pytest.mark.parametrize(
    ("words", "noted"),
    [
        (("evaluate", "run", "--data", "store", *MEASURED), "run"),
        (("predict", "run", "store", "--out", "out.csv", "--device", "cpu"), "run"),
        (("explain", "run", "store", "--out", "heat", "--limit", "1", "--device", "cpu"), "run"),
        (("report", "run"), "run"),
        (("report", "card"), "card"),
        (("finetune", "--data", "store", "--out", "run", *TRAINED), "run"),
        (("finetune", "--data", "store", "--out", "new", "--init", "run", *TRAINED[2:]), "run"),
        (("check", "run"), "run"),
        (("check", "card"), "card"),
    ],
    ids=[
        "evaluate",
        "predict",
        "explain",
        "report run",
        "report card",
        "done",
        "init",
        "check run",
        "check card",
    ],
)
def test_every_command_goes_on_with_a_note(
    old: Path,
    words: tuple[str, ...],
    noted: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(old)
    before = (old / "run/model/model.safetensors").read_bytes()
    assert main(words) == 0
    said = capsys.readouterr().err
    assert f"{noted} {NOTE}" in said
    assert said.count(NOTE) == 1
    assert (old / "run/model/model.safetensors").read_bytes() == before


def test_what_is_written_to_it_today_has_a_hash(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(old)
    known = (old / "run/predictions-test.parquet").read_bytes()
    assert main(["evaluate", "run", "--data", "store", *MEASURED]) == 0
    assert (old / "run/predictions-test.parquet").read_bytes() == known  # of the same model
    metrics = (old / "run/metrics.json").read_bytes()
    assert "sha256" in json.loads(metrics)
    assert "metrics.json" not in age_notes(old / "run")[0]
    (old / "run/metrics.json").write_bytes(metrics.replace(b'"films": ', b'"films": 1'))
    assert [line.partition(":")[0] for line in check(old / "run").damaged] == ["metrics.json"]
