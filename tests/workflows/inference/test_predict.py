"""Prediction as a function: a row a film, the same in whatever batch it is, and no film lost without a word."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from heard import Heard

import hilum
from hilum.bundle.film_reading import BATCH
from hilum.bundle.predictor import Predictor
from hilum.catalog import Catalog, film_table
from hilum.cli.terminal.predictions import predictions_text
from hilum.errors import DataError, OptionError
from hilum.images.films import Films
from hilum.phantoms import PhantomOptions
from hilum.phantoms.cohort import cohort
from hilum.phantoms.film import draw
from hilum.workflows.inference.explain import explain
from hilum.workflows.inference.options import ExplainOptions
from hilum.workflows.inference.predict import predict
from hilum.workflows.prepare.prepare import PrepareOptions, prepare
from service_client import dicom


def test_each_film_has_its_own_probabilities_in_whatever_batch_it_is(
    classifier: Path, film_files: list[Path], tmp_path: Path
) -> None:
    films = [film_files[0]] * (BATCH - 1) + film_files
    result = predict(classifier, films, tmp_path / "below" / "table.csv", "cpu")
    assert (result.films, list(result.failed)) == (BATCH + 3, [str(film_files[2])])
    table = pd.read_csv(result.out, dtype={"called": "string"})
    assert list(table.columns) == ["film", "Edema", "Mass", "called", "looks_like"]
    assert list(table["film"]) == [str(film) for film in films if film != film_files[2]]
    predictor = Predictor.load(classifier, "cpu")
    for row in (0, BATCH - 2, BATCH, BATCH + 1, BATCH + 2):
        expected = predictor.predict(table["film"][row])
        assert table.loc[row, ["Edema", "Mass"]].to_dict() == pytest.approx(expected, abs=2e-6)
        assert table["called"].fillna("")[row] == "|".join(predictor.called(expected))
    assert table["Edema"].nunique() == 4


def test_without_a_file_the_same_numbers_are_in_the_result(
    classifier: Path, film_files: list[Path], tiny_store: Path, tmp_path: Path
) -> None:
    written = predict(classifier, film_files, tmp_path / "table.csv", "cpu")
    result = predict(classifier, film_files, device="cpu")
    table = pd.read_csv(tmp_path / "table.csv", keep_default_na=False)
    assert (result.out, result.films, result.failed) == (None, written.films, written.failed)
    assert [one.film for one in result.predictions] == list(table["film"])
    assert ["|".join(one.called) for one in result.predictions] == list(table["called"])
    for name in ("Edema", "Mass"):
        shown = [one.probabilities[name] for one in result.predictions]
        np.testing.assert_allclose(shown, table[name], atol=1e-6)
    plain = result.to_json()
    assert set(plain) == {"films", "failed", "flagged", "thresholds", "predictions"}
    assert set(written.to_json()) == {"out", "films", "failed", "flagged"}
    text = predictions_text(result).splitlines()
    assert [line for line in text if line in set(table["film"])] == list(table["film"])
    assert sum(line.startswith("Edema") for line in text) == result.films
    with pytest.raises(OptionError, match=r"is a store: give --out"):
        predict(classifier, tiny_store, device="cpu")


def test_films_that_look_inverted_or_turned_are_named(classifier: Path, tmp_path: Path) -> None:
    options = PhantomOptions(count=40, size=96, seed=4)
    drawn = [draw(film, 96, 4)[0] for film in cohort(options) if film.position != "LATERAL"][:4]
    films = [tmp_path / f"{number}.png" for number in range(4)]
    for file, film in zip(
        films, (drawn[0], 255 - drawn[1], drawn[2], np.rot90(drawn[3])), strict=True
    ):
        cv2.imwrite(str(file), np.ascontiguousarray(film))
    heard = Heard()
    result = predict(classifier, films, tmp_path / "table.csv", "cpu", heard)
    table = pd.read_csv(result.out, keep_default_na=False)
    assert list(table["looks_like"]) == ["", "inverted", "", "turned to the left"]
    assert result.to_json()["flagged"] == {"inverted": 1, "turned to the left": 1}
    (note,) = [note for note in heard.notes if "look" in note]
    assert note.startswith("2 of 4 films look odd (1 inverted, 1 turned to the left): ")
    assert not any(film.name in note for film in films)
    names = [film.name for film in films]
    rows = pd.DataFrame({"path": names, "patient": names, "Edema": np.nan})
    table = film_table(rows, ("Edema",))
    catalog = Catalog("here", tmp_path, ("Edema",), table, 4)
    prepare(catalog, tmp_path / "store", PrepareOptions(32, workers=1))
    again = predict(classifier, tmp_path / "store", tmp_path / "stored.csv", "cpu")
    assert list(pd.read_csv(again.out, keep_default_na=False)["looks_like"]) == [
        "", "inverted", "", "turned to the left",
    ]  # fmt: skip


def test_what_is_no_chest_film_gets_its_numbers_with_one_line(
    classifier: Path, films: list[np.ndarray], tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (96, 96), np.uint8)
    ramp = np.tile(np.arange(128, dtype=np.uint8) * 2, (128, 1))
    pictures = {"noise": noise, "ramp": ramp, "small": noise[:40, :40], "film": films[0]}
    for name, picture in pictures.items():
        cv2.imwrite(str(tmp_path / f"{name}.png"), picture)
    names = [*(f"{name}.png" for name in pictures), "pa.dcm", "side.dcm"]
    for name, view in zip(names[-2:], ("PA", "LL"), strict=True):
        (tmp_path / name).write_bytes(dicom(tmp_path, films[1], ViewPosition=view))
    expected = ["unlike a chest film", "unlike a chest film", "", "", "", "lateral"]
    files, heard = [tmp_path / name for name in names], Heard()
    result = predict(classifier, files, None, "cpu", heard)
    assert [film.looks_like for film in result.predictions] == expected
    assert result.flagged == {"unlike a chest film": 2, "lateral": 1}
    (note,) = [note for note in heard.notes if "look" in note]
    assert note.startswith("3 of 6 films look odd (2 unlike a chest film, 1 lateral): look at them")
    explained = explain(
        classifier, files[:1], ExplainOptions(out=tmp_path / "maps", device="cpu"), heard
    )
    assert explained.to_json()["films"][0]["looks_like"] == "unlike a chest film"
    assert heard.notes[-1].startswith("1 of 1 film looks odd (1 unlike a chest film)")
    with pytest.warns(
        UserWarning, match=r"noise\.png looks unlike a chest film, .*side\.dcm looks lateral"
    ):
        table = hilum.load(classifier, device="cpu").predict(files)
    assert np.isfinite(table.to_numpy()).all()


def test_a_store_is_predicted_as_evaluation_scores_it(
    classifier: Path, tiny_store: Path, tmp_path: Path
) -> None:
    result = predict(classifier, [tiny_store], tmp_path / "table.csv", "cpu")
    table, films = pd.read_csv(result.out), Films.open([tiny_store])
    assert list(table["film"]) == list(films.catalog["path"])
    expected = Predictor.load(classifier, "cpu").score_films(films, np.arange(len(films)))
    np.testing.assert_allclose(table[["Edema", "Mass"]], expected, atol=1e-6)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_no_film_that_can_be_read_is_one_line_and_no_table(
    classifier: Path, film_files: list[Path], tmp_path: Path, count: int
) -> None:
    told = (
        "no film was given: name at least one",
        r"film2\.png could not be read: not a PNG, JPEG or DICOM",
        "none of the 2 films could be read; the first: not a PNG, JPEG or DICOM",
    )
    with pytest.raises(DataError, match=told[count]) as caught:
        predict(classifier, [film_files[2]] * count, tmp_path / "table.csv", "cpu")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "table.csv").exists()


def test_a_folder_among_films_is_named_for_what_it_is(
    classifier: Path, tiny_store: Path, film_files: list[Path], tmp_path: Path
) -> None:
    result = predict(
        classifier, [film_files[0], tiny_store, tmp_path], tmp_path / "table.csv", "cpu"
    )
    assert result.failed == {
        str(tiny_store): "it is a store: give it alone",
        str(tmp_path): "it is a folder without PNG, JPEG or DICOM files",
    }


def test_a_folder_as_out_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(
        OptionError, match=r"--out is .*, a folder: give a file name, such as .*predictions\.csv"
    ):
        predict(tmp_path / "no-run", [tmp_path / "no-film.png"], tmp_path, "cpu")
    assert not list(tmp_path.iterdir())


def test_a_folder_and_a_list_stand_for_their_files(
    classifier: Path, film_files: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "list.txt").write_text(f"{film_files[1]}\n\n{tmp_path / 'none.png'}\r\n")
    given = [f"@{tmp_path / 'list.txt'}", film_files[0].parent]
    result = predict(classifier, given, tmp_path / "table.csv", "cpu")
    read = [film_files[1], *(file for file in film_files if file != film_files[2])]
    assert list(pd.read_csv(result.out)["film"]) == [str(file) for file in read]
    assert result.failed == {
        str(tmp_path / "none.png"): "missing",
        str(film_files[2]): "not a PNG, JPEG or DICOM image",
    }
    alone = predict(str(classifier), str(film_files[0].parent), str(tmp_path / "alone.csv"))
    assert alone.films == 4


def test_a_list_that_cannot_be_read_is_one_line(classifier: Path, tmp_path: Path) -> None:
    (tmp_path / "films.txt").write_bytes(b"\xff\xfe\x00")
    for name, reason in (("none.txt", "No such file"), ("films.txt", "it is no text file")):
        with pytest.raises(
            DataError, match=rf"@.*{name} cannot be read \({reason}.*one path a line"
        ):
            predict(classifier, [f"@{tmp_path / name}"], tmp_path / "table.csv")
