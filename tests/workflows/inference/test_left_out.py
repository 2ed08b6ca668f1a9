"""Films that cannot be read: a line each, the others written, exit code 1; the same reason from every door."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

import hilum
from hilum.cli.app import main
from hilum.errors import DataError, OptionError
from hilum.workflows.inference.options import ExplainOptions


def damaged_jpeg(file: Path) -> Path:
    """A JPEG whose decoder reports damage."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    data = bytearray(cv2.imencode(".jpg", noise)[1].tobytes())
    at = data.index(b"\xff\xda") + 200
    data[at : at + 300] = b"\x55" * 300
    file.write_bytes(data)
    return file


@pytest.fixture
def films(film_files: list[Path], tmp_path: Path) -> dict[str, Path]:
    """Films to be read or not, by what they are."""
    folder = tmp_path / "films"
    folder.mkdir()
    named = {
        "good": folder / "a.png",
        "text": folder / "b.png",
        "empty": folder / "c.jpg",
        "cut": folder / "d.png",
    }
    named["good"].write_bytes(film_files[0].read_bytes())
    named["text"].write_text("no film")
    named["empty"].touch()
    named["cut"].write_bytes(film_files[1].read_bytes()[:-40])
    named["damaged"] = damaged_jpeg(folder / "e.jpeg")
    named["none"] = folder / "none.png"
    named["long"] = folder / f"{'x' * 300}.png"
    named["deep"] = Path("/".join(["deep"] * 3000)) / "film.png"
    for name in ("notes.txt", "films.csv", ".hidden.png", "README"):
        (folder / name).write_text("not meant to be a film")
    return named


REASONS = {
    "text": "not a PNG, JPEG or DICOM image",
    "empty": "empty",
    "cut": "truncated: the PNG ends",
    "damaged": "damaged: Corrupt JPEG data",
    "none": "missing",
    "long": "unreadable: File name too long",
    "deep": "unreadable: File name too long",
}


@pytest.mark.parametrize("command", ["predict", "explain"])
def test_the_others_are_written_and_the_exit_code_is_1(
    classifier: Path,
    films: dict[str, Path],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    command: str,
) -> None:
    out = tmp_path / ("out.csv" if command == "predict" else "out")
    words = [command, str(classifier), *map(str, films.values()), "--out", str(out), "--json"]
    assert main(words) == 1
    said, told = capfd.readouterr()
    result, lines = json.loads(said), told.splitlines()
    assert lines[-1] == (
        f"hilum {command}: 7 of 8 films are left out (each has a line above); {out} has the others."
    )
    for name, reason in REASONS.items():
        (line,) = [line for line in lines if f"{films[name]} is left out" in line]
        assert f"is left out: {reason}" in line
        assert result["failed"][str(films[name])].startswith(reason)
    if command == "predict":
        assert list(pd.read_csv(out)["film"]) == [str(films["good"])]
    else:
        assert (out / "001-a" / "film.png").is_file()


def test_other_files_of_a_folder_are_counted_and_no_fault(
    classifier: Path, films: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder, table = films["good"].parent, str(tmp_path / "out.csv")
    assert main(["predict", str(classifier), str(folder), "--out", table]) == 1
    told = capfd.readouterr().err
    assert f"{folder}: 3 files are no PNG or JPEG by their names: passed over" in told
    assert "4 of 5 films are left out" in told
    for name in ("text", "empty", "cut", "damaged"):
        films[name].unlink()
    assert main(["predict", str(classifier), str(folder), "--out", table]) == 0
    assert "passed over" in capfd.readouterr().err
    named = str(folder / "notes.txt")  # given by its name, it is meant to be a film
    assert main(["predict", str(classifier), str(folder), named, "--out", table]) == 1
    assert f"{named} is left out: not a PNG, JPEG or DICOM image" in capfd.readouterr().err


def test_a_list_with_a_hole_is_no_success(
    classifier: Path, films: dict[str, Path], tmp_path: Path
) -> None:
    given = tmp_path / "list.txt"
    for names, code in ((["good"], 0), (["good", "none"], 1), (["none"], 1), (["good", "cut"], 1)):
        given.write_text("\n".join(str(films[name]) for name in names))
        words = ["predict", str(classifier), f"@{given}", "--out", str(tmp_path / "out.csv")]
        assert main(words) == code


def test_damaged_films_are_kept_where_asked(
    classifier: Path, tiny_store: Path, films: dict[str, Path], tmp_path: Path
) -> None:
    given = [str(films["good"]), str(films["damaged"])]
    words = [str(classifier), *given, "--keep-damaged", "--out"]
    assert main(["predict", *words, str(tmp_path / "out.csv")]) == 0
    assert list(pd.read_csv(tmp_path / "out.csv")["film"]) == given
    assert main(["explain", *words, str(tmp_path / "out")]) == 0
    kept = hilum.load(classifier, "cpu", keep_damaged=True).predict(given)
    assert not kept.isna().any(axis=None)
    with pytest.raises(DataError, match="damaged: Corrupt JPEG data"):
        hilum.load(classifier, "cpu").predict(given)
    options = ExplainOptions(out=tmp_path / "new", keep_damaged=True)
    with pytest.raises(OptionError, match="--keep-damaged is given with the store"):
        hilum.explain(classifier, tiny_store, options)
    with pytest.raises(OptionError, match="--keep-damaged is given with the store"):
        hilum.predict(classifier, tiny_store, tmp_path / "new.csv", keep_damaged=True)


def test_python_gives_the_same_reasons(classifier: Path, films: dict[str, Path]) -> None:
    model = hilum.load(classifier, "cpu")
    calls: list[Callable[[Path], object]] = [
        model.predict,
        model.features,
        model.preprocess,
        lambda film: model.explain(film, "Mass"),
    ]
    for call in calls:
        for name, reason in REASONS.items():
            with pytest.raises(DataError) as caught:
                call(films[name])
            assert f"{films[name]} could not be read: {reason}" in str(caught.value)
    table = model.predict(list(films.values()), unreadable="nan")
    assert table.isna().all(axis=1).tolist() == [name in REASONS for name in films]
