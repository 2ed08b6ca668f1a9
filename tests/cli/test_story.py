"""The commands one after another on a few phantoms: what they print, write and say as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from hilum.cli import main

TINY = [
    "--train.epochs",
    "1",
    "--train.batch-size",
    "16",
    "--train.lr",
    "1e-3",
    "--train.accelerator",
    "cpu",
]


@pytest.fixture(scope="module")
def pretrained(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "moco"
    words = ["pretrain", "moco", "--data", store, "--out", run, "--backbone", "resnet10t", *TINY]
    assert main([str(word) for word in words]) == 0
    return run


@pytest.fixture(scope="module")
def classifier(store: Path, pretrained: Path, give_thresholds: Callable[[Path], None]) -> Path:
    run = pretrained.parent / "classifier"
    words = ["finetune", "--data", store, "--out", run, "--init", pretrained, *TINY]
    words += ["--train.min-steps", 0]
    assert main([str(word) for word in words]) == 0
    give_thresholds(run)
    return run


def last_json(text: str) -> dict[str, object]:
    lines = text.splitlines()
    assert len(lines) == 1
    return json.loads(lines[0])


def test_phantom(hilum, phantoms):
    said = hilum("phantom", phantoms, "--count", 90, "--size", 32, "--json")
    assert last_json(said.out)["films"] == 90


def test_prepare_again_is_already_done(hilum, phantoms, store):
    said = hilum("prepare", "chexpert", phantoms, "--out", store, "--size", 32, "--json")
    content = last_json(said.out)
    assert {"rows_read", "rows_kept", "rows_excluded", "rows_failed", "store"} <= set(content)
    assert (content["rows_read"], content["rows_kept"], content["already_done"]) == (90, 90, True)


def test_prepare_says_rows_and_path(hilum, phantoms, tmp_path):
    said = hilum(
        "prepare", "chexpert", phantoms, "--out", tmp_path / "s", "--size", 16, "--views", "frontal"
    )
    first, last = said.out.splitlines()
    assert "of 90 rows kept" in first
    assert last == str(tmp_path / "s")
    assert "MB" in said.err


def test_pretrain_again_is_already_done(hilum, store, pretrained):
    said = hilum(
        "pretrain", "moco", "--config", pretrained / "options.yaml", "--out", pretrained, "--json"
    )
    assert said.code == 0
    content = last_json(said.out)
    assert {"run", "steps", "images_per_second"} <= set(content)
    assert "already done" in said.err


def test_same_out_with_another_method_option_is_refused(hilum, store, pretrained):
    options = ["--config", pretrained / "options.yaml", "--method.temperature", 0.3]
    said = hilum("pretrain", "moco", "--out", pretrained, *options)
    assert said.code == 1
    assert "temperature: 0.1 there, 0.3 now" in said.err


def test_evaluate(hilum, store, classifier):
    words = [
        "evaluate",
        classifier,
        "--data",
        store,
        "--min-positives",
        1,
        "--resamples",
        50,
        "--device",
        "cpu",
    ]
    text, content = hilum(*words), last_json(hilum(*words, "--json").out)
    keys = {"auroc_macro", "auroc_macro_interval", "auroc", "films", "patients", "findings_scored"}
    assert keys <= set(content)
    assert text.code == 0
    assert "Pleural Effusion" in text.out
    assert "mean AUROC" in text.out
    assert "Research use only" in text.out
    assert Path(text.out.splitlines()[-1]).is_file()
    more = {"calibration", "operating_points", "subgroups", "per_study", "competition"}
    assert more <= set(content)
    assert "view position" not in text.out


def test_evaluate_prints_more_for_those_who_ask(hilum, store, classifier):
    words = [
        "evaluate",
        classifier,
        "--data",
        store,
        "--min-positives",
        1,
        "--resamples",
        20,
        "--device",
        "cpu",
    ]
    shown = hilum(*words, "--subgroups", "--operating-points", "--prevalence", 0.1).out
    assert "view position" in shown
    assert "PPV at 0.1" in shown
    assert "no threshold" not in shown


def test_probe(hilum, store, pretrained):
    words = [
        "probe",
        pretrained,
        "--data",
        store,
        "--split",
        "test",
        "--min-positives",
        1,
        "--resamples",
        50,
    ]
    content = last_json(hilum(*words, "--device", "cpu", "--json").out)
    macros = {f"{probe}_auroc_macro" for probe in ("knn", "linear")}
    assert macros | {f"{name}_interval" for name in macros} <= set(content)


def test_predict_films_and_store(hilum, store, phantoms, classifier, tmp_path):
    films = sorted(phantoms.glob("valid/*/*/*.jpg"))[:3]
    said = hilum("predict", classifier, *films, "--out", tmp_path / "films.csv", "--device", "cpu")
    assert (said.code, said.out.splitlines()[-1]) == (0, str(tmp_path / "films.csv"))
    assert len((tmp_path / "films.csv").read_text().splitlines()) == 4
    hilum("predict", classifier, store, "--out", tmp_path / "store.csv", "--device", "cpu")
    assert len((tmp_path / "store.csv").read_text().splitlines()) == 91


def test_embed(hilum, store, pretrained, tmp_path):
    words = [
        "embed",
        pretrained,
        "--data",
        store,
        "--out",
        tmp_path / "features.parquet",
        "--device",
        "cpu",
    ]
    said = hilum(*words)
    assert (said.code, said.out.splitlines()[-1]) == (0, str(tmp_path / "features.parquet"))
    content = last_json(hilum(*words, "--json").out)
    assert (content["films"], content["features"], content["already_done"]) == (90, 512, True)


def test_explain(hilum, phantoms, classifier, tmp_path):
    film = sorted(phantoms.glob("valid/*/*/*.jpg"))[0]
    findings = ["--finding", "Edema", "Pleural Effusion", "--device", "cpu"]
    said = hilum("explain", classifier, film, "--out", tmp_path / "maps", *findings)
    assert said.code == 0
    assert said.out.splitlines()[-1] == str(tmp_path / "maps")
    assert len(list((tmp_path / "maps").rglob("*overlay.png"))) == 2


@pytest.mark.parametrize("command", ["explain", "predict", "evaluate"])
def test_pretrained_run_is_no_classifier(hilum, store, phantoms, pretrained, tmp_path, command):
    film = sorted(phantoms.glob("valid/*/*/*.jpg"))[0]
    words = ["--data", store] if command == "evaluate" else [film, "--out", tmp_path / "out"]
    said = hilum(command, pretrained, *words)
    assert said.code == 1
    assert said.err.splitlines()[-1].startswith(f"hilum {command}: ")
    assert "finetune" in said.err


def test_unknown_finding_of_a_model(hilum, store, phantoms, classifier, tmp_path):
    film = sorted(phantoms.glob("valid/*/*/*.jpg"))[0]
    said = hilum("explain", classifier, film, "--out", tmp_path / "maps", "--finding", "Edemma")
    assert said.code == 1
    assert "Did you mean 'Edema'?" in said.err
    said = hilum("evaluate", classifier, "--data", store, "--findings", "Edemma")
    assert said.code == 1
    assert "Did you mean 'Edema'?" in said.err


def test_files_that_are_no_films(hilum, classifier, tmp_path):
    (tmp_path / "a.png").write_text("no film")
    said = hilum("predict", classifier, tmp_path / "a.png", "--out", tmp_path / "out.csv")
    assert said.code == 1
    assert said.err.splitlines()[-1].endswith(
        "a.png could not be read: not a PNG, JPEG or DICOM image"
    )
