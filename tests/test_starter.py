"""The starter model: in the package, small, whole, honest in its card, and read by its name."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from huggingface_hub import ModelCard

import hilum
from hilum.bundle.exported import CARD, DESCRIPTION, FILES, GRAPH, read_exported
from hilum.bundle.onnx_model import OnnxModel
from hilum.bundle.starter import FOLDER
from hilum.cli import main
from hilum.images.film_check import FLAGS
from hilum.phantoms import PhantomOptions
from hilum.phantoms.cohort import cohort
from hilum.phantoms.film import draw
from hilum.serving.model import open_model
from hilum.workflows.check.check import check
from service_client import dicom

LARGEST = 12_000_000
"""Bytes of all its files."""


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    """What model.json has of films that it never saw."""
    content: dict[str, Any] = json.loads((FOLDER / DESCRIPTION).read_bytes())["results"]
    return content


@pytest.fixture(scope="module")
def film() -> np.ndarray:
    """A drawn frontal film, [256, 256]."""
    options = PhantomOptions(count=20, size=256, seed=3)
    frontal = next(film for film in cohort(options) if film.position == "PA")
    return draw(frontal, 256, 3)[0]


def test_it_is_whole_and_small() -> None:
    starter = read_exported(FOLDER)
    starter.verify(FILES)
    assert sum(path.stat().st_size for path in FOLDER.iterdir() if path.is_file()) <= LARGEST
    assert 64 <= starter.description.size <= 128
    assert len(starter.description.findings) == 14
    # Hilum's own runs from random weights: no foreign ones.
    assert {start["kind"] for start in starter.content.derived_from} == {"run"}
    assert starter.content.licence == "cc-by-4.0"
    assert not check("starter").damaged


def test_its_card_has_the_figures_of_its_description(results: dict[str, Any]) -> None:
    card = ModelCard((FOLDER / CARD).read_text("utf-8"), ignore_metadata_errors=False)
    assert set(results) == {"test", "official-test"}
    for name, scored in results.items():
        _, _, below = card.text.partition(f"### {name}\n")
        films, patients = f"{scored['films']:,} films", f"{scored['patients']:,} patients"
        assert f"{films} of {patients}. Mean AUROC {shown(scored['auroc'])}" in below[:200]
        table, *_ = below.split("###")
        rows = dict(re.findall(r"^\| ([\w ]+) \| [\d,]+ \([\d,]+\) \| ([^|]+) \|", table, re.M))
        assert rows == {one: shown(auroc) for one, auroc in scored["findings"].items()}
    values = {result.dataset_name: result.metric_value for result in card.data.eval_results}
    assert values == {name: round(one["auroc"]["value"], 4) for name, one in results.items()}


def shown(estimate: dict[str, Any]) -> str:
    if estimate["interval"] is None:
        return f"{estimate['value']:.3f} (no interval)"
    low, high = estimate["interval"]
    return f"{estimate['value']:.3f} [{low:.3f}, {high:.3f}]"


def test_its_card_names_its_sources_and_what_it_is_for(results: dict[str, Any]) -> None:
    card = " ".join((FOLDER / CARD).read_text("utf-8").split())
    for words in (
        "For trying things",
        "Research use only, not a medical device",
        "https://nihcc.app.box.com/v/ChestXray-NIHCC",
        "IEEE CVPR 2017",
        "The NIH Clinical Center is the provider of these films",
        "Kermany D, Zhang K, Goldbaum M.",
        "licence CC BY 4.0",
    ):
        assert words in card, words
    page = Path(__file__).parents[1].joinpath("docs", "starter.md").read_text("utf-8")
    for scored in results.values():
        low, high = scored["auroc"]["interval"]
        assert f"{scored['auroc']['value']:.3f} ({low:.3f} to {high:.3f})" in page


def test_png_jpeg_and_dicom_are_read_by_its_name(
    film: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("film.png", film)
    cv2.imwrite("film.jpg", film, [cv2.IMWRITE_JPEG_QUALITY, 95])
    Path("film.dcm").write_bytes(dicom(tmp_path / "tree", film))
    words = ["predict", "starter", "film.png", "film.jpg", "film.dcm", "--device", "cpu"]
    assert main([*words, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    png, jpeg, archived = (list(one["probabilities"].values()) for one in answer["predictions"])
    assert png == pytest.approx(archived, abs=1e-4)
    assert png == pytest.approx(jpeg, abs=0.05)
    assert all(0 < value < 1 for value in png)
    assert not list(tmp_path.rglob("hilum.key"))
    assert main(words) == 0
    table = capsys.readouterr().out
    assert table.count("Cardiomegaly") == 3
    assert "film 3 of 3" in table
    assert main([*words[:4], "--out", "p.csv", "--device", "cpu"]) == 0
    assert Path("p.csv").read_text().count("\n") == 3


def test_every_way_to_it_gives_the_same(film: np.ndarray) -> None:
    expected = hilum.load("starter", device="cpu").predict(film)
    graph = OnnxModel(FOLDER)
    prepared = graph.preparation.apply(film)[None]
    assert dict(zip(graph.findings, graph.probabilities(prepared)[0], strict=True)) == (
        pytest.approx(expected, abs=1e-4)
    )
    served = open_model(Path("starter"), "cpu", 1)
    assert served.facts.sha256 == read_exported(FOLDER).sha256
    logits = np.asarray(served.logits(prepared))[0]
    assert 1 / (1 + np.exp(-logits)) == pytest.approx(list(expected.values()), abs=1e-4)
    assert (FOLDER / GRAPH).stat().st_size < LARGEST / 2


def test_the_film_check_behaves_as_with_any_model(
    film: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("negative.png", 255 - film)
    cv2.imwrite("turned.png", np.rot90(film))
    Path("letter.txt").write_text("no film")
    words = ["negative.png", "turned.png", "letter.txt"]
    assert main(["predict", "starter", *words, "--json", "--device", "cpu"]) == 1
    answer = json.loads(capsys.readouterr().out)
    seen = [one["looks_like"] for one in answer["predictions"]]
    assert seen[0] == "inverted"
    assert seen[1].startswith("turned")
    assert set(seen) <= set(FLAGS)
    assert list(answer["failed"]) == ["letter.txt"]


def test_its_heatmaps_are_drawn(
    film: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("film.png", film)
    words = ["--out", "maps", "--finding", "Cardiomegaly", "--device", "cpu"]
    assert main(["explain", "starter", "film.png", *words]) == 0
    assert list(Path("maps").rglob("*.png"))
