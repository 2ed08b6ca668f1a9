"""Tables and class folders that are read as they stand, and say what in them may be a mistake."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from hilum.catalog import Catalog
from hilum.errors import DataError
from hilum.sources import read_source


def films(root: Path, names: Sequence[str]) -> None:
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / name), np.full((16, 16), number, np.uint8))


def read(root: Path, header: str, cells: Sequence[str], **options: object) -> Catalog:
    """Write a table of one film a line, ``x0.png`` and so on, with these further cells, and read it."""
    films(root, [f"x{number}.png" for number in range(len(cells))])
    lines = [f"x{number}.png,{line}" for number, line in enumerate(cells)]
    (root / "t.csv").write_text("\n".join([f"path,{header}", *lines]), encoding="utf-8")
    return read_source("folder", root, csv="t.csv", **options)


@pytest.mark.parametrize(
    ("patients", "note"),
    [
        (("007", "7", "8"), "2 patients differ from others .+ as '007' and '7': each counts"),
        (("12", "12.0", "13"), "2 patients differ from others .+ as '12' and '12.0'"),
        (("P1", "p1", "p01"), "3 patients differ from others .+ as 'P1' and 'p1'"),
        (("1.23E+11", "1.23E+11", "4"), "1 patient is called by a number .+ first '1.23E\\+11'"),
        (("unknown", "unknown", "4"), "2 films are of the patient 'unknown', who counts as one"),
        (("7", "70", "700"), ""),
        (("a-7", "a-8", "b7"), ""),
        (("7.10", "7.1", "7.01"), "2 patients differ .+ as '7.1' and '7.01'"),
    ],
)
def test_patients_that_may_be_one_or_several_are_told_of(
    tmp_path: Path, patients: tuple[str, ...], note: str
) -> None:
    catalog = read(tmp_path, "patient", patients, patient_column="patient")
    assert list(catalog.table["patient"]) == list(patients)
    notes = [line for line in catalog.notes if "patient" in line]
    assert bool(notes) == bool(note)
    assert re.match(note, "".join(notes))


@pytest.mark.parametrize(
    ("cells", "findings", "note"),
    [
        (["Covid-19", "COVID 19", "covid19", "normal"], ["COVID 19"], "are taken as 'COVID 19'"),
        (["tb", "tb", "TB", "normal"], ["tb"], "'TB' is taken as 'tb'"),
        (["TB+", "TB-", "TB+", "normal"], ["TB+", "TB-"], ""),
        (["grade 1", "grade 11", "grade-1"], ["grade 1", "grade 11"], "'grade-1' is taken as"),
        (["stage 1-2", "stage 12", "normal"], ["stage 1-2", "stage 12"], ""),
        (["edema", "Edema", "oedema", "normal"], ["Edema"], ""),
    ],
)
def test_spellings_of_one_class_are_one_finding(
    tmp_path: Path, cells: list[str], findings: list[str], note: str
) -> None:
    catalog = read(tmp_path, "label", cells, label_column="label")
    assert sorted(catalog.findings) == findings
    assert sum(catalog.table[name].sum() for name in findings) == sum(c != "normal" for c in cells)
    assert any(note in line for line in catalog.notes)
    assert bool(note) == any("taken as" in line for line in catalog.notes)


def test_a_mapping_names_all_spellings_of_its_class(tmp_path: Path) -> None:
    cells = ["covid 19", "covid 19", "Covid-19", "normal"]
    mapping = {"Covid-19": "COVID-19"}
    catalog = read(tmp_path, "label", cells, label_column="label", mapping=mapping)
    assert list(catalog.table["COVID-19"]) == [1, 1, 1, 0]


@pytest.mark.parametrize(
    ("header", "cells", "options", "note"),
    [
        ("l", ["No Finding|Edema", "Edema", "No Finding"], {"label_column": "l"}, "1 film has No Finding beside"),
        ("l", ["normal|Mass", "Healthy|Mass", "normal"], {"label_column": "l"}, "2 films have Healthy and normal"),
        ("No Finding,Edema", ["1,1", "1,0", "1,1"], {}, "2 films have No Finding beside .+: both are kept"),
        ("No Finding,Support Devices", ["1,1", "1,0", "0,1"], {}, ""),
        ("No Finding,Edema", ["1,-1", "1,", "0,1"], {}, ""),
        ("Mass,Edema", ["1,1", "1,0", "1,1"], {}, ""),
    ],
)  # fmt: skip
def test_a_film_without_finding_that_has_one_is_told_of(
    tmp_path: Path, header: str, cells: list[str], options: dict[str, str], note: str
) -> None:
    columns = {} if options else {"finding_columns": tuple(header.split(","))}
    catalog = read(tmp_path, header, cells, **options, **columns)
    notes = [line for line in catalog.notes if "beside a finding" in line]
    assert bool(notes) == bool(note)
    assert re.match(note, "".join(notes))


@pytest.mark.parametrize(
    ("misspelt", "near"),
    [("Pnuemonia", "Pneumonia"), ("Cardiomegally", "Cardiomegaly"), ("Atelectasis.", "Atelectasis"), ("Scoliosis", "")],
)  # fmt: skip
def test_a_near_miss_of_a_known_finding_is_shown(tmp_path: Path, misspelt: str, near: str) -> None:
    catalog = read(tmp_path, "l", [misspelt, "Edema", "normal"], label_column="l")
    (line,) = [line for line in catalog.notes if "outside the vocabularies" in line]
    assert ("give" in line) == bool(near)
    assert line.endswith(f" {near}" if near else misspelt)


@pytest.mark.parametrize("inner", ["CXR_png", "data", "images_512"])
def test_a_folder_that_all_films_share_is_no_class(tmp_path: Path, inner: str) -> None:
    films(tmp_path, [f"{c}/{inner}/{c}{n}.png" for c in ("Normal", "TB") for n in range(3)])
    with pytest.raises(
        DataError, match=f"called '{inner}', which tells no classes apart.+--class-"
    ):
        read_source("folder", tmp_path, class_folders=True)
    catalog = read_source("folder", tmp_path, class_folders=True, class_level=2)
    assert list(catalog.table["TB"]) == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize(("others", "note"), [((), True), (("Normal/1.png",), False)])
def test_films_of_one_class_alone_are_told_of(
    tmp_path: Path, others: tuple[str, ...], note: bool
) -> None:
    films(tmp_path, ["PNEUMONIA/1.png", "PNEUMONIA/2.png", *others])
    catalog = read_source("folder", tmp_path, class_folders=True)
    assert catalog.findings == ("Pneumonia",)
    assert ("all films are of the one class 'Pneumonia'" in catalog.notes) == note
