"""An archive's films, patients and studies under the group's key, and the private table that leads back."""

from __future__ import annotations

import csv
import dataclasses
import os
from pathlib import Path

import pandas as pd
import pytest

from exports import Export
from hilum.catalog import ARCHIVE_COLUMNS, Archive, Catalog, film_table
from hilum.errors import DataError, OptionError
from hilum.group_key import made_key
from hilum.images.store import Store
from hilum.sources import read_source
from hilum.workflows.prepare.prepare import PrepareOptions, prepare
from hilum.workflows.prepare.pseudonyms import pseudonymous, refuse_names_file, write_names


def archive(*numbers: int, folder: str = "a") -> Catalog:
    """Return the catalogue of films of two patients."""
    rows = pd.DataFrame(
        {
            "path": [f"1.2.{number}" for number in numbers],
            "patient": [f"Poe {number % 2}" for number in numbers],
            "study": [f"Poe {number % 2}\n{number}" for number in numbers],
        }
    )
    files = tuple(f"{folder}/Poe {number}" for number in numbers)
    return Catalog(
        "dicom",
        Path("nowhere"),
        (),
        film_table(rows, (), ARCHIVE_COLUMNS),
        len(numbers) + 1,
        {"no DICOM file": 1},
        archive=Archive(files, {"Poe.txt": "no DICOM file"}),
    )


def test_names_do_not_depend_on_files_or_order(tmp_path):
    key = made_key(tmp_path / "store")
    one = pseudonymous(archive(1, 2, 3, 4), key)
    two = pseudonymous(archive(4, 2, 1, 3, folder="b"), key)
    assert one.table.equals(two.table)
    assert [file[-1] for file in one.archive.files] == [file[-1] for file in two.archive.files]
    assert list(one.table["path"]) == sorted(one.table["path"])
    assert one.table["patient"].nunique() == 2
    assert one.table["study"].nunique() == 4


def test_files_follow_their_rows(tmp_path):
    key = made_key(tmp_path / "store")
    hidden = pseudonymous(archive(1, 2, 3), key)
    names = dict(zip(hidden.table["path"], hidden.files_of(range(3)), strict=True))
    assert names == {
        key.pseudonyms("film", [f"1.2.{number}".encode()])[0]: f"a/Poe {number}"
        for number in (1, 2, 3)
    }


def test_another_key_gives_other_names(tmp_path):
    names = [
        set(pseudonymous(archive(1, 2), made_key(tmp_path / group / "store")).table["path"])
        for group in ("x", "y")
    ]
    assert not names[0] & names[1]


def test_the_table_of_names_is_its_owners(tmp_path):
    key, table = made_key(tmp_path / "store"), tmp_path / "private" / "names.csv"
    write_names(table, archive(1, 2), key)
    write_names(table, archive(1, 2, 3), key)
    assert table.stat().st_mode & 0o777 == 0o600
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert len(rows) == 4
    assert {row["patient_number"] for row in rows} == {"Poe 0", "Poe 1", ""}
    assert [row["left_out"] for row in rows if row["file"] == "Poe.txt"] == ["no DICOM file"]


@pytest.mark.parametrize(
    "place", ["store/names.csv", "run/names.csv", "run/deep/names.csv", "folder"]
)
def test_names_are_not_written_where_others_get_them(tmp_path, place):
    (tmp_path / "run" / "deep").mkdir(parents=True)
    (tmp_path / "run" / "options.yaml").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(OptionError, match="give a file elsewhere"):
        refuse_names_file(tmp_path / place, tmp_path / "store", archive(1))


def test_names_of_a_source_that_hides_none_are_refused(tmp_path):
    plain = dataclasses.replace(
        archive(1), archive=None, table=archive(1).table.drop(columns=list(ARCHIVE_COLUMNS))
    )
    with pytest.raises(OptionError, match="has its paths as they are"):
        refuse_names_file(tmp_path / "names.csv", tmp_path / "store", plain)


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes anywhere")
def test_a_table_of_names_that_cannot_be_written(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(DataError, match="cannot be written"):
        write_names(tmp_path / "names.csv", archive(1), made_key(tmp_path / "store"))


def test_a_store_of_an_archive(export: Export, tmp_path: Path) -> None:
    for number in range(4):
        export(
            f"Poe {number}",
            patient=f"Poe {number // 2}",
            study=str(number),
            StudyDate=f"2020010{9 - number}",
        )
    (export.root / os.fsdecode(b"Poe \xff.dcm")).write_bytes(
        (export.root / "Poe 0").read_bytes()[:-90]
    )
    catalog = read_source("dicom", export.root)
    out, names = tmp_path / "store", tmp_path / "names.csv"
    result = prepare(catalog, out, PrepareOptions(16, workers=1, names_file=names))
    assert (result.rows_kept, result.rows_failed) == (4, {"truncated": 1})
    store = Store.open(out)
    assert list(store.catalog.columns[-6:-3]) == list(ARCHIVE_COLUMNS)
    assert sorted(store.catalog["study_order"].tolist()) == [1, 1, 2, 2]
    assert store.catalog["maker"].unique().tolist() == ["Acme"]
    assert "Poe" not in (out / "failures.csv").read_text()
    assert names.read_bytes().count(b"Poe \xff.dcm") == 1
    again = prepare(read_source("dicom", export.root), out, PrepareOptions(16, workers=1))
    assert again.already_done
