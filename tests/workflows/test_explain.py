"""Explanation as a function: a folder a film, a summary, and no one else's folder touched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hilum.errors import DataError, OptionError
from hilum.workflows.explain import SUMMARY, explain
from hilum.workflows.options import ExplainOptions


def test_each_film_has_a_folder_and_what_cannot_be_read_is_said(
    classifier: Path, film_files: list[Path], tmp_path: Path
) -> None:
    result = explain(classifier, film_files, ExplainOptions(out=tmp_path / "maps", finding=("Mass",), device="cpu"))
    assert [one.folder.name for one in result.films] == ["001-film0", "002-film1", "004-film3", "005-film4"]
    assert list(result.failed) == [str(film_files[2])]
    for one in result.films:
        assert {file.name for file in one.folder.iterdir()} == {"film.png", "mass-heatmap.png", "mass-overlay.png"}
        assert set(one.probabilities) == {"Edema", "Mass"}
    told = json.loads((tmp_path / "maps" / SUMMARY).read_text("utf-8"))
    assert [film["folder"] for film in told["films"]] == [one.folder.name for one in result.films]


def test_only_an_earlier_explanation_is_replaced(classifier: Path, film_files: list[Path], tmp_path: Path) -> None:
    mine = tmp_path / "mine" / "001-film0" / "thesis.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    for out in (tmp_path / "mine", mine):
        with pytest.raises(OptionError, match=r"holds no explanation|cannot be a folder") as caught:
            explain(classifier, film_files[:1], ExplainOptions(out=out, device="cpu"))
        assert "\n" not in str(caught.value)
    assert mine.read_text() == "mine"
    (tmp_path / "new").mkdir()
    for _ in range(2):
        explain(classifier, film_files[:1], ExplainOptions(out=tmp_path / "new", device="cpu"))
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"001-film0", SUMMARY}


def test_no_film_that_can_be_read_is_one_line_and_may_be_repeated(
    classifier: Path, film_files: list[Path], tmp_path: Path
) -> None:
    options = ExplainOptions(out=tmp_path / "maps", device="cpu")
    with pytest.raises(DataError, match="none of the 1 films could be read: not a PNG or JPEG"):
        explain(classifier, film_files[2:3], options)
    assert len(explain(classifier, film_files[:1], options).films) == 1
