"""Labels as other people write them: lists in cells, class folders with masks, several rows a film, split words."""

import re
from typing import Any

import numpy as np
import pytest

from hilum.errors import DataError, HilumError, OptionError
from hilum.sources import read_source

NAN = float("nan")


def labelled(films: Any, *cells: str, **options: Any) -> Any:
    names = [f"{number}.png" for number in range(len(cells))]
    quoted = ['"' + cell.replace('"', '""') + '"' for cell in cells]
    rows = [f"{name},{cell}" for name, cell in zip(names, quoted, strict=True)]
    root = films(*names, table="\n".join(["path,Labels", *rows]) + "\n")
    return read_source("folder", root, csv="t.csv", label_column="Labels", **options)


@pytest.mark.parametrize("separator", [",", "|"])
@pytest.mark.parametrize(
    "cells",
    [
        ("['normal']", "['cardiomegaly', 'pleural effusion']", "[]", "['cardiomegaly']"),
        ('["No Finding"]', '["cardiomegaly", "pleural effusion"]', "[ ]", '["cardiomegaly"]'),
        ("[normal]", "[cardiomegaly; pleural effusion]", "['']", "Cardiomegaly"),
        ("('normal',)", "{'cardiomegaly', 'pleural effusion'}", "NA", "['Cardiomegaly' '']"),
        ("normal", "['cardiomegaly' 'pleural effusion']", "[nan]", "c('cardiomegaly')"),
    ],
)
def test_lists_in_cells(films: Any, cells: tuple[str, ...], separator: str) -> None:
    catalog = labelled(films, *cells, separator=separator)
    assert catalog.findings == ("Cardiomegaly", "Pleural Effusion")
    wanted = np.float32([[0, 0], [1, 1], [NAN, NAN], [1, 0]])
    np.testing.assert_array_equal(catalog.labels(), wanted)
    assert any("are read as lists" in note for note in catalog.notes)


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        (("['edema'", "['mass']"), "line 2: .*a list that has no end"),
        (("['mass']", "['edema' 'mass' ... 'nodule']"), "line 3: .*cut off"),
        (("[1, 0, 0]", "[0, 1, 0]"), "holds 0, 1 where names of classes.*--finding-columns"),
        (("0", "1.0"), "--mapping.0 FINDING"),
        (("yes", "no"), "--finding-columns"),
    ],
)
def test_cells_that_hold_no_names_are_refused(
    films: Any, cells: tuple[str, ...], words: str
) -> None:
    with pytest.raises(DataError, match=words):
        labelled(films, *cells)


def test_none_is_a_class_where_an_option_says_so(films: Any) -> None:
    catalog = labelled(films, "None", "edema", absent_values=("none",))
    np.testing.assert_array_equal(catalog.labels(), np.float32([[0], [1]]))


@pytest.mark.parametrize("word", ["-", "unknown", "-99"])
def test_further_words_that_state_nothing(films: Any, word: str) -> None:
    root = films("1.png", "2.png", table=f"path,Edema\n1.png,{word}\n2.png,nan\n")
    with pytest.raises(DataError, match=r"--unstated-values"):
        read_source("folder", root, csv="t.csv", finding_columns="Edema")
    catalog = read_source(
        "folder", root, csv="t.csv", finding_columns="Edema", unstated_values=word
    )
    assert np.isnan(catalog.labels()).all()


@pytest.mark.parametrize(
    ("films_there", "classes"),
    [
        (("COVID/images/1.png", "COVID/masks/1.png", "Normal/images/2.png"), ["COVID"]),
        (("a/Train/COVID/images/1.png", "a/Train/COVID/lung masks/1.png"), ["COVID"]),
        (("images/COVID/1.png", "LungMasks/COVID/1.png"), ["COVID"]),
        (("COVID/train/1.png", "COVID/segmentation/1.png"), ["COVID"]),
        (("COVID/1.png", "COVID/1_mask.png", "COVID/1-mask_2.png", "COVID/mask_1.jpg"), ["COVID"]),
        (("COVID/X-ray/1.jpg", "labels/1.png", "COVID/1_lung_mask.png"), ["COVID"]),
    ],
)
def test_masks_are_no_films_and_folders_of_images_no_classes(
    films: Any, films_there: tuple[str, ...], classes: list[str]
) -> None:
    root = films(*films_there)
    catalog = read_source("folder", root, class_folders=True)
    assert list(catalog.findings) == classes
    assert not any("mask" in path or "seg" in path for path in catalog.table["path"])
    masks = len(films_there) - len(catalog.table)
    assert (catalog.rows_read, catalog.excluded) == (len(films_there), {"mask": masks})
    assert len(read_source("folder", root).table) == len(catalog.table)
    assert len(read_source("folder", root, keep_masks=True).table) == len(films_there)


@pytest.mark.parametrize("path", ["images/1.png", "1.png", "train/images/1.png"])
def test_films_without_a_class_folder_are_refused(films: Any, path: str) -> None:
    with pytest.raises(DataError, match=r"outside class folders"):
        read_source("folder", films(path), class_folders=True)


def test_only_masks_are_refused(films: Any) -> None:
    with pytest.raises(DataError, match=r"seems to be a mask.*--keep-masks"):
        read_source("folder", films("masks/1.png"))


@pytest.mark.parametrize(
    ("pictures", "note"),
    [
        (("TB/2.tif", "Normal/3.TIFF"), r"2 pictures are not read \(.*1 .tif, write each as a PNG"),
        (("TB/2.jfif",), r"1 picture is not read \(1 .jfif, rename each to .jpg"),
        (("TB/2.nii.gz", "TB/notes.txt", "TB/3.webp"), r"2 pictures .*1 .nii.gz, write"),
        (("TB/notes.txt", "labels.csv"), ""),
    ],
)
@pytest.mark.parametrize("classes", [True, False])
def test_pictures_of_other_formats_are_counted(
    films: Any, pictures: tuple[str, ...], note: str, classes: bool
) -> None:
    root = films("TB/0.png", "Normal/1.jpg", *pictures)
    catalog = read_source("folder", root, class_folders=classes)
    assert len(catalog.table) == 2
    count = int(note[0]) if note else 0
    assert catalog.excluded == ({"picture that is not PNG or JPEG": count} if count else {})
    assert catalog.rows_read == 2 + count
    assert sum(bool(re.match(note or "no note", line)) for line in catalog.notes) == bool(note)


def test_a_class_of_pictures_that_are_not_read_is_refused_with_that(films: Any) -> None:
    with pytest.raises(DataError, match=r"names no finding, only 'Normal'. 1 picture is not read"):
        read_source("folder", films("TB/0.tif", "Normal/1.jpg"), class_folders=True)


@pytest.mark.parametrize(
    "folder", ["@eaDir/1.JPG", "#recycle", "__MACOSX/TB", "$RECYCLE.BIN", ".trash"]
)
def test_folders_of_servers_and_archives_hold_no_films(films: Any, folder: str) -> None:
    root = films("TB/0.png", "Normal/1.jpg", f"TB/{folder}/2.png", f"{folder}/3.png")
    catalog = read_source("folder", root, class_folders=True)
    assert list(catalog.table["path"]) == ["Normal/1.jpg", "TB/0.png"]


def test_films_without_a_row_are_counted(films: Any) -> None:
    names = ["a/0.png", "a/1.png", "b/2.jpg", "b/masks/2.jpg", "a/.hidden.png"]
    root = films(*names, table="path,Edema\na/0.png,1\n")
    given = {"csv": "t.csv", "finding_columns": "Edema"}
    notes = " ".join(read_source("folder", root, **given).notes)
    assert (
        "t.csv: 2 films on disk have no row and are left out, first 'a/1.png': rows with" in notes
    )
    (root / "t.csv").write_text("path,Edema\n0.png,1\n1.png,\n")
    notes = " ".join(read_source("folder", root, path_folder="a", **given).notes)
    assert "no row" not in notes


def test_split_words(films: Any) -> None:
    words = ["validate", "Valid", "dev", "EVAL", "training", "test", "nan", ""]
    names = [f"{number}.png" for number in range(len(words) + 1)]
    rows = "\n".join(f"{n},{w}" for n, w in zip(names, [*words, "fold5"], strict=True))
    root = films(*names, table=f"path,set\n{rows}\n")
    with pytest.raises(DataError, match=r"'fold5' in column 'set' is not a split.*--split-values"):
        read_source("folder", root, csv="t.csv", part_column="set")
    for word, part in ("test", "test"), ("", "-"):
        catalog = read_source(
            "folder", root, csv="t.csv", part_column="set", split_values={"Fold5": word}
        )
        parts = catalog.table["part"].fillna("-").tolist()
        assert parts == ["val"] * 4 + ["train", "test", "-", "-", part]
    for values, line in ({"fold5": "tset"}, "allowed are"), ({"fold6": "test"}, "has not"):
        with pytest.raises(OptionError, match=line):
            read_source("folder", root, csv="t.csv", part_column="set", split_values=values)


def test_numbers_of_splits_are_found_in_any_spelling(films: Any) -> None:
    root = films("0.png", "1.png", "2.png", table="path,fold\n0.png,0.0\n1.png,1.0\n2.png,1\n")
    given = {"csv": "t.csv", "part_column": "fold"}
    catalog = read_source("folder", root, split_values={"0": "train", "1": "test"}, **given)
    assert catalog.table["part"].tolist() == ["train", "test", "test"]
    with pytest.raises(OptionError, match=r"names '2', which column 'fold' has not: it has '0.0'"):
        read_source("folder", root, split_values={"2": "val"}, **given)


JOINS = {
    "any": [1, 1, 0, -1, NAN, 1],
    "majority": [1, -1, 0, -1, NAN, 1],
    "uncertain": [-1, -1, 0, -1, NAN, 1],
}


@pytest.mark.parametrize("how", JOINS)
def test_several_rows_of_a_film(films: Any, how: str) -> None:
    cells = {"a": "1 1 0", "b": "1 0", "c": "0 0 nan", "d": "0 -1", "e": "nan nan", "f": "1 nan"}
    rows = [f"{n}.png,p{n},{c},{i}" for n, s in cells.items() for i, c in enumerate(s.split())]
    root = films(*(f"{n}.png" for n in cells), table="\n".join(["path,who,Edema,age", *rows]))
    given = {"csv": "t.csv", "patient_column": "who", "finding_columns": "Edema"}
    with pytest.raises(DataError, match=r"has two rows.*--join any, majority or uncertain"):
        read_source("folder", root, **given)
    catalog = read_source("folder", root, join=how, age_column="age", **given)
    np.testing.assert_array_equal(catalog.labels()[:, 0], np.float32(JOINS[how]))
    assert (catalog.rows_read, catalog.excluded) == (14, {"joined with another row of its film": 8})
    assert catalog.table["age"].isna().all()
    root = films(table="\n".join(["path,who,Edema,age", *rows, "a.png,pz,1,0"]))
    with pytest.raises(DataError, match=r"rows of 'a.png' name different values of patient"):
        read_source("folder", root, join=how, **given)


def test_joined_classes_of_a_film(films: Any) -> None:
    root = films("1.png", "2.png", table="path,class\n1.png,edema\n1.png,mass\n2.png,normal\n")
    catalog = read_source("folder", root, csv="t.csv", label_column="class", join="any")
    np.testing.assert_array_equal(catalog.labels(), np.float32([[1, 1], [0, 0]]))


@pytest.mark.parametrize("options", [{"join": "mean", "csv": "t.csv"}, {"join": "any"}])
def test_joins_that_cannot_be(films: Any, options: dict[str, str]) -> None:
    with pytest.raises(HilumError, match=r"--join"):
        read_source("folder", films("1.png", table="path\n1.png\n"), **options)


@pytest.mark.parametrize(
    ("there", "level", "classes"),
    [
        (("COVID/p1/1.png", "COVID/p2/2.png", "Normal/p3/3.png"), 2, ["COVID"]),
        (("COVID/p1/1.png", "COVID/p2/2.png", "Flu/p3/3.png"), 1, ["p1", "p2", "p3"]),
        (("Viral/COVID/1.png", "Bacterial/Strep/2.png"), 1, ["COVID", "Strep"]),
        (("COVID/1.png", "Normal/site/2.png"), 0, []),
        (("train/COVID/p1/images/1.png", "test/Normal/p3/images/3.png"), 2, ["COVID"]),
    ],
)
def test_which_folder_is_the_class_must_be_clear(
    films: Any, there: tuple[str, ...], level: int, classes: list[str]
) -> None:
    root = films(*there)
    with pytest.raises(DataError, match=r"is the class of .*Give --class-level 1"):
        read_source("folder", root, class_folders=True)
    if level:
        catalog = read_source("folder", root, class_folders=True, class_level=level)
        assert list(catalog.findings) == classes


@pytest.mark.parametrize(
    "there",
    [
        ("a/COVID/1.png", "a/Normal/2.png", "a/a/COVID/1.png", "a/a/Normal/2.png"),  # holds itself
        ("x/COVID/1.png", "y/COVID/2.png", "y/Normal/3.png"),  # two archives of the same classes
        ("set/train/COVID/1.png", "set/test/Normal/2.png"),
        ("COVID/1.png",),
    ],
)
def test_clear_class_folders_are_read_as_ever(films: Any, there: tuple[str, ...]) -> None:
    assert read_source("folder", films(*there), class_folders=True).findings == ("COVID",)


def test_many_folders_of_few_films_are_rather_patients(films: Any) -> None:
    there = [f"{name}/p{n}/1.png" for name in ("COVID", "Normal") for n in range(25)]
    root = films(*there)
    with pytest.raises(DataError, match="25 folders of films"):
        read_source("folder", root, class_folders=True)
    assert read_source("folder", root, class_folders=True, class_level=2).findings == ("COVID",)


@pytest.mark.parametrize("level", [3, -1])
def test_a_level_that_is_not_there_is_refused(films: Any, level: int) -> None:
    with pytest.raises(HilumError, match="--class-level"):
        read_source("folder", films("a/COVID/1.png"), class_folders=True, class_level=level)
    with pytest.raises(OptionError, match="with --class-folders"):
        read_source("folder", films("a/COVID/1.png"), class_level=1)


SEVERAL = {
    "Edema, Mass": ",",
    "Edema;Mass": ";",
    "Edema / Effusion": "/",
    "Edema+No Finding": "+",
    "Edema & Scoliosis": "&",
}


@pytest.mark.parametrize("cell", SEVERAL)
def test_several_known_classes_are_not_read_as_one(films: Any, cell: str) -> None:
    rows = f'1.png\t{cell}\n2.png\tScoliosis\n3.png\t"Pneumonia, viral"\n'
    root = films("1.png", "2.png", "3.png", table=f"path\tclass\n{rows}")
    given = {"csv": "t.csv", "label_column": "class"}
    with pytest.raises(DataError, match=rf"is 2 classes: give --separator '\{SEVERAL[cell]}'"):
        read_source("folder", root, **given)
    catalog = read_source("folder", root, separator=SEVERAL[cell], **given)
    assert "Edema" in catalog.findings
    assert cell not in catalog.findings
    as_one = read_source("folder", root, mapping={cell: "Both"}, **given)
    assert {"Both", "Pneumonia, viral"} <= set(as_one.findings)


@pytest.mark.parametrize(
    "word", ["healthy", "Health", "NORMAL", "No_Finding", "No Findings", "no-finding", "Normals"]
)
def test_words_for_no_finding(films: Any, word: str) -> None:
    catalog = read_source("folder", films(f"{word}/1.png", "TB/2.png"), class_folders=True)
    assert catalog.findings == ("TB",)


@pytest.mark.parametrize(
    ("cells", "given", "labels"),
    [
        ("1.0 0.0 -1.0", {"unstated_values": "-1"}, [1, 0, NAN]),
        ("1 0 -9.0", {"unstated_values": ("-9",)}, [1, 0, NAN]),
        ("1 0 -9", {"unstated_values": ("-9.0",)}, [1, 0, NAN]),
        ("2.0 1.0 2", {"positive_values": "2", "negative_values": "1"}, [1, 0, 1]),
        ("1 0 03", {"uncertain_values": "3"}, [1, 0, -1]),
    ],
)
def test_numbers_of_options_are_found_in_any_spelling(
    films: Any, cells: str, given: dict[str, Any], labels: list[float]
) -> None:
    rows = "".join(f"{number}.png,{cell}\n" for number, cell in enumerate(cells.split()))
    root = films("0.png", "1.png", "2.png", table=f"path,Edema\n{rows}")
    catalog = read_source("folder", root, csv="t.csv", finding_columns="Edema", **given)
    np.testing.assert_array_equal(catalog.labels()[:, 0], np.float32(labels))


@pytest.mark.parametrize("key", ["1", "1.0"])
def test_classes_written_as_floats_are_mapped(films: Any, key: str) -> None:
    catalog = labelled(films, "0.0", "1.0", "1", mapping={"0": "", key: "Edema"})
    np.testing.assert_array_equal(catalog.labels(), np.float32([[0], [1], [1]]))


@pytest.mark.parametrize(
    "word", ["todo", "Unknown", "un-labeled", "?", "Not available", "TBD", "--"]
)
def test_classes_that_know_nothing_are_refused_until_an_option_says_so(
    films: Any, word: str
) -> None:
    with pytest.raises(DataError, match=r"nothing is known.*--unstated-values"):
        labelled(films, "edema", "normal", word)
    for given, value in (
        ({"unstated_values": word}, NAN),
        ({"absent_values": ("normal", word)}, 0),
        ({"mapping": {word: "Other"}}, 0),
    ):
        catalog = labelled(films, "edema", "normal", word, **given)
        np.testing.assert_array_equal(catalog.table["Edema"], np.float32([1, 0, value]))


@pytest.mark.parametrize("folder", ["unlabeled", "none", "NA", "Unknown"])
def test_class_folders_that_know_nothing_are_refused_too(films: Any, folder: str) -> None:
    root = films("COVID/0.png", "Normal/1.png", f"{folder}/2.png")
    with pytest.raises(DataError, match=r"nothing is known.*--unstated-values"):
        read_source("folder", root, class_folders=True)
    catalog = read_source("folder", root, class_folders=True, unstated_values=folder.upper())
    labels = dict(zip(catalog.table["path"], catalog.table["COVID"], strict=True))
    assert (labels["COVID/0.png"], labels["Normal/1.png"]) == (1, 0)
    assert np.isnan(labels[f"{folder}/2.png"])


@pytest.mark.parametrize(
    "cell", ["edema:0", "edema=1.0", "edema : yes", "{'edema': 1, 'mass': 0}", '{"choices":["edema"]}']
)  # fmt: skip
def test_classes_that_hold_values_are_refused(films: Any, cell: str) -> None:
    with pytest.raises(DataError, match=r"holds .*value.*--finding-columns"):
        labelled(films, "mass", cell)
    assert "held" in labelled(films, "mass", cell, mapping={cell: "held"}).findings


@pytest.mark.parametrize(
    ("cells", "note"),
    [
        (("tb", "no_tb"), "'no_tb' seems to say that there is no 'tb'"),
        (("mass", "Negative for Pneumonia"), "there is no 'Pneumonia'.*--absent-values 'Neg"),
        (("mass", "edema negative"), "there is no 'Edema'"),
        (("edema", "None"), "1 cell of 'Labels' says None and states nothing: give --absent-values"),
        (("COVID-19", "Non-COVID"), ""),
        (("nodule", "nan"), ""),
    ],
)  # fmt: skip
def test_denied_classes_are_told_of(films: Any, cells: tuple[str, ...], note: str) -> None:
    notes = " ".join(labelled(films, *cells).notes)
    assert bool(re.search("seems to say|says None", notes)) == bool(note)
    assert re.search(note, notes)


def test_absent_values_that_leave_normal_out_are_refused(films: Any) -> None:
    with pytest.raises(DataError, match="'Normal' is none of the --absent-values"):
        labelled(films, "edema", "Normal", "clear", absent_values="clear")


LONG = """path,who,finding,value,read
0.png,a,Edema,1,0
0.png,a,Mass,0,1
1.png,b,oedema,no,1
1.png,b,Mass,,1
2.png,b,Mass,-1,0
"""


def test_a_row_for_each_film_and_finding(films: Any) -> None:
    given = {"csv": "t.csv", "label_column": "finding", "patient_column": "who"}
    root = films("0.png", "1.png", "2.png", table=LONG)
    catalog = read_source("folder", root, value_column="value", **given)
    assert catalog.findings == ("Edema", "Mass")
    np.testing.assert_array_equal(catalog.labels(), np.float32([[1, 0], [0, NAN], [NAN, -1]]))
    assert list(catalog.table["patient"]) == ["a", "b", "b"]
    assert catalog.rows_read == 5
    with pytest.raises(DataError, match=r"--value-column"):
        read_source("folder", root, value_column="valeu", **given)
    with pytest.raises(OptionError, match=r"needs --label-column"):
        read_source("folder", root, csv="t.csv", value_column="value")
    notes = read_source("folder", root, join="any", **given).notes
    assert any("column 'read' of 0 and 1 is not read" in note for note in notes)


def test_a_row_for_each_finding_that_is_stated_twice(films: Any) -> None:
    given = {"csv": "t.csv", "label_column": "finding", "value_column": "value"}
    root = films("0.png", "1.png", "2.png", table=f"{LONG}0.png,a,edema,0,1\n")
    with pytest.raises(DataError, match=r"line 7: Edema is stated in an earlier line.*--join"):
        read_source("folder", root, **given)
    for how, value in (("any", 1), ("uncertain", -1)):
        catalog = read_source("folder", root, join=how, **given)
        assert catalog.table["Edema"].iloc[0] == value


def test_classes_that_every_film_has_are_refused(films: Any) -> None:
    rows = "".join(f"{n}.png,{f},{v}\n" for n in (0, 1) for f, v in (("Edema", "+"), ("Mass", "-")))
    root = films("0.png", "1.png", table=f"path,finding,answer\n{rows}")
    given = {"csv": "t.csv", "label_column": "finding"}
    with pytest.raises(DataError, match=r"every film all of Edema, Mass.*--value-column"):
        read_source("folder", root, join="any", **given)
    words = {"positive_values": "+", "negative_values": "-"}
    catalog = read_source("folder", root, value_column="answer", **given, **words)
    np.testing.assert_array_equal(catalog.labels(), np.float32([[1, 0], [1, 0]]))
