"""What `predict` and `explain` call films, and which DICOM films they leave out."""

from __future__ import annotations

from pathlib import Path

import pytest

from exports import Export
from hilum.errors import OptionError
from hilum.group_key import made_key
from hilum.workflows.inference.film_names import film_names
from hilum.workflows.inference.image_files import image_files


def test_paths_stay_where_no_film_is_dicom(tmp_path):
    png = tmp_path / "Poe.png"
    png.write_bytes(b"\x89PNG\r\n\x1a\n")
    named = film_names([png], tmp_path / "out.csv")
    assert (named.of(png), named.as_given(png), named.refused) == (str(png), str(png), {})
    assert not (tmp_path / "hilum.key").exists()
    with pytest.raises(OptionError, match="no film is DICOM"):
        film_names([png], tmp_path / "out.csv", names_file=tmp_path / "names.csv")


def test_all_films_have_pseudonyms_where_one_is_dicom(export: Export, tmp_path: Path) -> None:
    film, leg = export("Poe"), export("Poe leg", BodyPartExamined="LEG")
    (export.root / "Poe.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (export.root / "letter.txt").write_text("Poe")
    out, names = tmp_path / "out.csv", tmp_path / "names.csv"
    files = image_files(export.root)
    assert {file.name for file in files} == {"Poe", "Poe leg", "Poe.png"}
    named = film_names(files, out, names_file=names)
    assert not any("Poe" in named.of(file) + named.as_given(file) for file in files)
    assert named.refused == {leg: "another body part; --keep body-part takes it"}
    assert film_names(files, out, keep=["body-part"]).refused == {}
    assert named.of(film) == made_key(out).pseudonyms("film", [b"1.2.9.1"])[0]
    assert f"{named.of(film)},{film}" in names.read_text()
    assert names.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"keep": ["leg"]}, "allowed are modality"),
        ({"names_file": "run/names.csv"}, "give a file elsewhere"),
    ],
)
def test_wrong_options(export, tmp_path, monkeypatch, options, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "options.yaml").touch()
    chosen = {
        name: Path(value) if name == "names_file" else value for name, value in options.items()
    }
    with pytest.raises(OptionError, match=said):
        film_names([export("a")], tmp_path / "out.csv", **chosen)
