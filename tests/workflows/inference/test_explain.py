"""Explanation as a function: a folder a film, a summary, and no one else's folder touched."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from hilum.bundle.predictor import Predictor
from hilum.errors import DataError, OptionError
from hilum.heatmaps.overlay import enlarged
from hilum.images.films import Films
from hilum.workflows.data.subsets import Subsets
from hilum.workflows.inference.explain import STORE_LIMIT, SUMMARY, explain
from hilum.workflows.inference.options import ExplainOptions


def test_each_film_has_a_folder_and_what_cannot_be_read_is_said(
    classifier: Path, film_files: list[Path], tmp_path: Path
) -> None:
    result = explain(
        classifier,
        film_files,
        ExplainOptions(out=tmp_path / "maps", finding=("Mass",), device="cpu"),
    )
    assert [one.folder.name for one in result.films] == [
        "001-film0",
        "002-film1",
        "004-film3",
        "005-film4",
    ]
    assert list(result.failed) == [str(film_files[2])]
    for one in result.films:
        assert {file.name for file in one.folder.iterdir()} == {
            "film.png",
            "mass-heatmap.png",
            "mass-overlay.png",
        }
        assert set(one.probabilities) == {"Edema", "Mass"}
    told = json.loads((tmp_path / "maps" / SUMMARY).read_text("utf-8"))
    assert [film["folder"] for film in told["films"]] == [one.folder.name for one in result.films]


def test_only_an_earlier_explanation_is_replaced(
    classifier: Path, film_files: list[Path], tmp_path: Path
) -> None:
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
    with pytest.raises(DataError, match=r"film2.png could not be read: not a PNG, JPEG or DICOM"):
        explain(classifier, film_files[2:3], options)
    assert not (tmp_path / "maps").exists()
    assert len(explain(classifier, film_files[:1], options).films) == 1


def test_an_earlier_explanations_folders_go_and_nothing_else_does(
    classifier: Path, film_files: list[Path], tmp_path: Path
) -> None:
    options = ExplainOptions(out=tmp_path / "maps", finding=("Mass",), device="cpu")
    explain(classifier, [film_files[0], film_files[1]], options)
    (options.out / "mine").mkdir()
    (tmp_path / "outside").mkdir()
    told = json.loads((options.out / SUMMARY).read_text("utf-8"))
    told["films"] += [
        {"folder": name} for name in ("..", ".", "", "../outside", str(tmp_path / "outside"))
    ]
    del told["sha256"]  # as in summaries of earlier versions
    (options.out / SUMMARY).write_text(json.dumps(told), "utf-8")
    with pytest.raises(DataError):
        explain(classifier, film_files[2:3], options)
    assert {path.name for path in options.out.iterdir()} == {
        "001-film0",
        "002-film1",
        "mine",
        SUMMARY,
    }
    explain(classifier, film_files[3:4], options)
    assert {path.name for path in options.out.iterdir()} == {"001-film3", "mine", SUMMARY}
    assert (tmp_path / "outside").is_dir()


@pytest.mark.parametrize("damaged", ["", "[]", '{"films": 3}', '{"films": [{"folder": 7}]}'])
def test_a_damaged_summary_removes_nothing(
    classifier: Path, film_files: list[Path], tmp_path: Path, damaged: str
) -> None:
    (tmp_path / "001-old").mkdir()
    (tmp_path / SUMMARY).write_text(damaged)
    explain(
        classifier, film_files[:1], ExplainOptions(out=tmp_path, finding=("Mass",), device="cpu")
    )
    assert {path.name for path in tmp_path.iterdir()} == {"001-old", "001-film0", SUMMARY}


def test_a_stores_prepared_films_are_explained_by_split_and_limit(
    classifier: Path, tiny_store: Path, tmp_path: Path
) -> None:
    options = ExplainOptions(out=tmp_path / "maps", finding="Mass", split="val", limit=3)  # type: ignore[arg-type]
    result = explain(classifier, str(tiny_store), options)
    films = Films.open([tiny_store])
    rows = Subsets.of(films).rows("val")[:3]
    assert [str(film.film) for film in result.films] == list(films.catalog["path"].iloc[rows])
    scores = Predictor.load(classifier).score_films(films, rows)
    found = [list(film.probabilities.values()) for film in result.films]
    np.testing.assert_allclose(found, scores, atol=1e-6)
    shown = cv2.imread(str(result.films[0].folder / "film.png"), cv2.IMREAD_GRAYSCALE)
    assert np.array_equal(shown, enlarged(films.read(rows[:1])[0]))
    whole = explain(classifier, tiny_store, ExplainOptions(out=tmp_path / "test"))
    assert len(whole.films) == min(STORE_LIMIT, len(Subsets.of(films).rows("test")))


def test_split_is_of_a_store_and_a_store_among_files_is_left_out(
    classifier: Path, tiny_store: Path, film_files: list[Path], tmp_path: Path
) -> None:
    with pytest.raises(OptionError, match="--split is val and no store is given: leave it out"):
        explain(classifier, film_files, ExplainOptions(out=tmp_path / "maps", split="val"))
    result = explain(
        classifier, [tiny_store, film_files[0]], ExplainOptions(out=tmp_path / "maps", limit=2)
    )
    assert result.failed == {str(tiny_store): "it is a store: give it alone"}
    with pytest.raises(OptionError, match="--limit is 0: allowed is 1 or more"):
        ExplainOptions(out=tmp_path, limit=0)
