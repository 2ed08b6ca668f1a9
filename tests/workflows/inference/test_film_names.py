"""What `predict` and `explain` call films, and which DICOM films they leave out."""

from __future__ import annotations

from pathlib import Path

import pytest

from exports import Export
from hilum.errors import OptionError
from hilum.group_key import made_key
from hilum.sources import read_source
from hilum.workflows.inference.film_names import film_names
from hilum.workflows.inference.image_files import image_files
from hilum.workflows.prepare.pseudonyms import pseudonymous


def test_paths_stay_where_no_film_is_dicom(tmp_path):
    png = tmp_path / "Poe.png"
    png.write_bytes(b"\x89PNG\r\n\x1a\n")
    named = film_names([png], tmp_path / "out.csv")
    assert (named.of(png), named.as_given(png)) == (str(png), str(png))
    assert not (tmp_path / "hilum.key").exists()
    with pytest.raises(OptionError, match="no film is DICOM"):
        film_names([png], tmp_path / "out.csv", names_file=tmp_path / "names.csv")


def test_all_films_have_pseudonyms_where_one_is_dicom(export: Export, tmp_path: Path) -> None:
    film = export("Poe")
    export("Poe leg", BodyPartExamined="LEG")
    (export.root / "Poe.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (export.root / "letter.txt").write_text("Poe")
    out, names = tmp_path / "out.csv", tmp_path / "names.csv"
    files = image_files(export.root)
    assert {file.name for file in files} == {"Poe", "Poe leg", "Poe.png"}
    named = film_names(files, out, names_file=names)
    assert not any("Poe" in named.of(file) + named.as_given(file) for file in files)
    assert named.of(film) == made_key(out).pseudonyms("film", [b"1.2.9.1"])[0]
    assert f"{named.of(film)},{film}" in names.read_text()
    assert names.stat().st_mode & 0o777 == 0o600


def test_dicom_films_have_numbers_where_nothing_is_written(export: Export, tmp_path: Path) -> None:
    files = [export("Poe"), export("Poe b")]
    named = film_names(files, None)
    assert [named.of(file) for file in files] == ["film 1 of 2", "film 2 of 2"]
    assert named.as_given(files[1]) == "film 2 of 2"
    twice = film_names([*files, files[0]], None)
    assert twice.of(files[0]) == twice.as_given(files[0]) == "film 1 of 3"
    assert not list(tmp_path.rglob("hilum.key"))
    with pytest.raises(OptionError, match="give --out too"):
        film_names(files, None, names_file=tmp_path / "names.csv")


def test_a_table_of_names_is_refused_inside_a_run(export, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "options.yaml").touch()
    with pytest.raises(OptionError, match="give a file elsewhere"):
        film_names([export("a")], tmp_path / "out.csv", names_file=tmp_path / "run" / "names.csv")


def test_films_that_share_a_uid_and_differ_have_the_names_of_their_store(export, tmp_path):
    uid = {"SOPInstanceUID": "1.2.77"}
    one, other = export("a", **uid), export("b", PhotometricInterpretation="MONOCHROME1", **uid)
    alone = export("c")
    again = export.root / "d"
    again.write_bytes(one.read_bytes())
    named = film_names([one, other, alone, again], tmp_path / "out.csv")
    names = [named.of(file) for file in (one, other, alone, again)]
    assert (len(set(names)), names[3]) == (3, names[0])
    stored = pseudonymous(read_source("dicom", export.root), made_key(tmp_path / "out.csv"))
    assert set(stored.table["path"]) == set(names)
