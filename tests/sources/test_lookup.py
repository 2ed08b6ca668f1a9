"""Films that a table names otherwise than the disk: found where one file fits, else named with the nearest."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from hilum.errors import DataError, OptionError
from hilum.sources import read_source
from hilum.workflows.prepare.prepare import PrepareOptions, prepare

BATCHES = (
    "CheXpert-v1.0 batch 1 (validate & csv)",
    "CheXpert-v1.0 batch 2 (train 1)",
    "CheXpert-v1.0 batch 3 (train 2)",
)

SPELLINGS = {  # in the table: on disk
    "no ending": ("a/x1", "a/x1.png"),
    "no ending, capitals": ("a/x1", "a/x1.PNG"),
    "a name with dots": ("1.2.840.7", "1.2.840.7.jpg"),
    "the root's name": ("films/a/x1.png", "a/x1.png"),
    "the root's name, no ending": ("films/a/x1", "a/x1.png"),
    "letter case": ("A/X1.png", "a/x1.PNG"),
    "decomposed": (
        unicodedata.normalize("NFD", "Ärm/ü.png"),
        unicodedata.normalize("NFC", "Ärm/ü.png"),
    ),
    "composed": (unicodedata.normalize("NFC", "é.png"), unicodedata.normalize("NFD", "é.png")),
    "another image's ending": ("a/x1.png", "a/x1.jpg"),
    "a bare name": ("x1.png", "images-224/images-224/x1.png"),
    "a bare name without ending": ("x1", "train/x1.png"),
    "a folder above": ("a/x1.png", "data/a/x1.png"),
    "folders above, another ending": ("t/p1/s1/x1.png", "images/small/t/p1/s1/x1.jpg"),
    "a folder in front that is not there": ("CheXpert-v1.0-small/a/x1.png", "a/x1.png"),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_another_spelling_is_found_and_said(films: Any, spelling: str) -> None:
    named, lies = SPELLINGS[spelling]
    root = films(lies, "other.png", table=f"path\n{named}\nother.png\n")
    catalog = read_source("folder", root, csv="t.csv")
    assert catalog.table["path"].tolist() == [lies, "other.png"]
    assert any("named otherwise" in note and "1 film " in note for note in catalog.notes)
    assert catalog.missing == ()


AMBIGUOUS = {
    "two endings": (("x", "y.png"), ("x.png", "x.jpg", "y.png")),
    "two letter cases": (("X.PNG", "y.png"), ("x.png", "x.Png", "y.png")),
    "a file that another row names": (("y", "y.png"), ("y.png",)),
    "two rows for one file": (("x", "X.png", "y.png"), ("x.png", "y.png")),
    "a folder of that name": (("d.png", "y.png"), ("d.png/z.png", "y.png")),
    "a bare name in two folders": (("x.png", "y.png"), ("a/x.png", "b/x.png", "y.png")),
    "a bare name with two endings": (("x", "y.png"), ("a/x.png", "b/x.jpg", "y.png")),
    "two rows for a film elsewhere": (("x.png", "b/x.png", "y.png"), ("a/b/x.png", "y.png")),
    "in a folder of another name": (("a/x.png", "y.png"), ("b/x.png", "y.png")),
    "masks alone": (("x.png", "y.png"), ("masks/x.png", "y.png")),
}


@pytest.mark.parametrize("case", AMBIGUOUS)
def test_where_not_exactly_one_file_fits_none_is_taken(films: Any, case: str) -> None:
    named, lie = AMBIGUOUS[case]
    root = films(*lie, table="path\n" + "\n".join(named) + "\n")
    catalog = read_source("folder", root, csv="t.csv")
    assert catalog.table["path"].tolist() == ["y.png"]
    assert catalog.excluded == {"not on disk": len(named) - 1}
    assert catalog.missing == named[:-1] if named[0] != "y" else ("y",)


@pytest.mark.parametrize(
    ("named", "nearest"),
    [("a/x1.dcm", "b/x1.png"), ("b/x2.png", "b/x1.png"), ("x1.tif", "b/x1.png")],
)
def test_nothing_found_names_one_and_the_nearest(films: Any, named: str, nearest: str) -> None:
    root = films("b/x1.png", table=f"path\n{named}\n")
    with pytest.raises(
        DataError, match=f"looked for '{named}', the nearest file there is '{nearest}'"
    ):
        read_source("folder", root, csv="t.csv")


@pytest.mark.parametrize("through_link", [False, True])
def test_absolute_paths_below_the_root_are_taken(
    films: Any, tmp_path: Path, through_link: bool
) -> None:
    root = films("a/1.png", "2.png")
    if through_link:
        (tmp_path / "link").symlink_to(root)
    given = tmp_path / "link" if through_link else root
    (root / "t.csv").write_text(f"path\n{root}/a/1.png\n{given}//a/../2.png\n")
    catalog = read_source("folder", given, csv="t.csv")
    assert catalog.table["path"].tolist() == ["a/1.png", "2.png"]
    assert any("2 paths are absolute" in note for note in catalog.notes)
    for outside in (f"{root}-2/1.png", f"{root}/../1.png", "/etc/1.png"):
        (root / "t.csv").write_text(f"path\n{root}/a/1.png\n{outside}\n")
        with pytest.raises(DataError, match=r"line 3.*leaves the root"):
            read_source("folder", root, csv="t.csv")


@pytest.mark.parametrize(
    "front",
    ["/content/drive/MyDrive/nih/", "C:\\data\\nih\\", "../input/nih/", "D:/a b/", "/mnt/x/../y/"],
)
def test_the_front_of_another_place_is_cut_and_named(films: Any, front: str) -> None:
    root = films("a/1.png", "b/1.png", "2.png")
    names = ("a/1.png", "b/1.png", "2.png")
    (root / "t.csv").write_text("path\n" + "".join(f"{front}{name}\n" for name in names))
    catalog = read_source("folder", root, csv="t.csv")
    assert catalog.table["path"].tolist() == list(names)
    assert any("3 paths begin with" in note and "another place" in note for note in catalog.notes)


def test_two_other_places_of_one_table_are_both_named(films: Any) -> None:
    root = films("a/1.png", "b/2.png")
    (root / "t.csv").write_text("path\n/one/a/1.png\n/two/b/2.png\n")
    notes = " ".join(read_source("folder", root, csv="t.csv").notes)
    assert "'/one/'" in notes
    assert "'/two/'" in notes


def test_one_film_from_two_other_places_is_refused(films: Any) -> None:
    root = films("a/1.png")
    (root / "t.csv").write_text("path\n/one/a/1.png\n/two/a/1.png\n")
    with pytest.raises(DataError, match=r"a/1\.png"):
        read_source("folder", root, csv="t.csv")


def test_relative_roots_and_absolute_paths_meet(films: Any, monkeypatch: Any) -> None:
    root = films("1.png")
    (root / "t.csv").write_text(f"path\n{root}/1.png\n")
    monkeypatch.chdir(root.parent)
    assert read_source("folder", root.name, csv="t.csv").table["path"].tolist() == ["1.png"]


@pytest.mark.parametrize("tables_in_batch", [False, True])
@pytest.mark.parametrize("below", ["", "train/"])
def test_chexperts_batches_are_found_where_they_were_unpacked(
    chexpert: Any, touch: Any, tables_in_batch: bool, below: str
) -> None:
    rows = [row.replace("CheXpert-v1.0-small", "CheXpert-v1.0") for row in chexpert.rows]
    root = chexpert(rows, name="download")
    (root / "train").rename(root / "old")
    for number, patient in ((1, "patient00001"), (2, "patient00002")):
        (root / BATCHES[number] / below).mkdir(parents=True)
        (root / "old" / patient).rename(root / BATCHES[number] / below / patient)
    (root / "old").rmdir()
    touch(root, f"{BATCHES[0]}/valid/patient64541/study1/view1_frontal.jpg")
    first = rows[0].partition(",")[2]
    valid = f"CheXpert-v1.0/valid/patient64541/study1/view1_frontal.jpg,{first}"
    where = root / BATCHES[0] if tables_in_batch else root
    (where / "valid.csv").write_text(f"{chexpert.header}\n{valid}\n")
    if tables_in_batch:
        (root / "train.csv").rename(where / "train.csv")
    catalog = read_source("chexpert", root)
    assert catalog.excluded == {}
    assert catalog.table["path"].tolist() == [
        f"{BATCHES[1]}/{below}patient00001/study1/view1_frontal.jpg",
        f"{BATCHES[1]}/{below}patient00001/study1/view2_lateral.jpg",
        f"{BATCHES[2]}/{below}patient00002/study3/view1_frontal.jpg",
        f"{BATCHES[0]}/valid/patient64541/study1/view1_frontal.jpg",
    ]
    assert any("batch folders" in note for note in catalog.notes)
    touch(root, f"{BATCHES[2]}/{below}patient00001/study1/view1_frontal.jpg")
    # Below ``train/`` the lateral is found by the end of its path, which one film alone has.
    assert read_source("chexpert", root).excluded == {"not on disk": 1 if below else 2}


def test_of_a_film_and_its_mask_the_film_is_found(films: Any) -> None:
    root = films("png_images/x.png", "png_masks/x.png", "lung masks/x.png", table="path\nx.png\n")
    assert read_source("folder", root, csv="t.csv").table["path"].tolist() == ["png_images/x.png"]


def test_a_folder_is_chosen_where_two_have_the_films(films: Any) -> None:
    root = films("small/x.png", "large/x.png", "large/a/y.png", table="path\nx.png\na/y.png\n")
    catalog = read_source("folder", root, csv="t.csv", path_folder="large")
    assert catalog.table["path"].tolist() == ["large/x.png", "large/a/y.png"]
    told = read_source("folder", root, csv="t.csv").notes
    assert any(
        "both 'large/x.png' and 'small/x.png' fit" in n and "--path-folder" in n for n in told
    )


@pytest.mark.parametrize("folder", ["larg", "..", "x.png", "/etc"])
def test_a_folder_that_is_none_below_the_root_is_refused(films: Any, folder: str) -> None:
    root = films("large/x.png", "x.png", table="path\nx.png\n")
    with pytest.raises(OptionError, match=r"no folder below .*there are 'large'"):
        read_source("folder", root, csv="t.csv", path_folder=folder)
    with pytest.raises(OptionError, match=r"--path-folder .*needs a table"):
        read_source("folder", root, path_folder=folder)


def test_nihs_and_padchests_films_are_found_in_any_folder(
    nih: Any, padchest: Any, touch: Any
) -> None:
    root = nih()
    (root / "images").rename(root / "images-224")
    (root / "images-224/00000001_000.png").rename(root / "images-224/00000001_000.jpg")
    paths = read_source("nih14", root).table["path"].tolist()
    assert paths[:2] == ["images-224/00000001_000.jpg", "images-224/00000001_001.png"]
    root = padchest()
    every = sorted(path for path in root.rglob("*.png"))
    for film in every:
        touch(root, f"resized/{film.name}")
        film.unlink()
    assert set(read_source("padchest", root).table["path"]) == {f"resized/{f.name}" for f in every}


def test_the_store_lists_all_that_is_missing(films: Any, tmp_path: Path) -> None:
    films("old.png")
    root = films(table="path\nthere.png\ngone/1.png\n2.png\n")
    cv2.imwrite(str(root / "there.png"), np.full((20, 20), 7, np.uint8))
    catalog = read_source("folder", root, csv="t.csv")
    result = prepare(catalog, tmp_path / "s", PrepareOptions(16, workers=1))
    assert result.rows_excluded == {"not on disk": 2}
    assert (tmp_path / "s/missing.csv").read_text() == "path\ngone/1.png\n2.png\n"
