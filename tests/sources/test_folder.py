from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hilum.errors import DataError, OptionError
from hilum.sources import read_source

NAN = float("nan")


def test_columns_are_mapped_by_options(films: Any) -> None:
    table = (
        "file,who,visit,view,gender,years,set,Effusion,scoliosis\n"
        "a/1.png,p1,v1,pa,male,44,training,1,no\n"
        "a/2.png,p1,v2,LL,F,006M,valid,-1.0,yes\n"
        "./b//3.png,p2,v1,odd,?,400,test,,uncertain\n"
    )
    root = films("a/1.png", "a/2.png", "b/3.png", table=table)
    catalog = read_source(
        "folder",
        root,
        csv="t.csv",
        path_column="file",
        patient_column="who",
        study_column="visit",
        view_column="view",
        sex_column="gender",
        age_column="years",
        part_column="set",
        finding_columns=("Effusion", "scoliosis"),
    )
    rows = catalog.table
    assert catalog.findings == ("Pleural Effusion", "scoliosis")
    assert rows["path"].tolist() == ["a/1.png", "a/2.png", "b/3.png"]
    assert rows["study"].tolist() == ["p1/v1", "p1/v2", "p2/v1"]
    assert rows["view_position"].fillna("-").tolist() == ["PA", "LATERAL", "-"]
    assert rows["sex"].fillna("-").tolist() == ["M", "F", "-"]
    np.testing.assert_array_equal(rows["age"], np.float32([44, 0.5, NAN]))
    assert rows["part"].tolist() == ["train", "val", "test"]
    np.testing.assert_array_equal(catalog.labels(), np.float32([[1, 0], [-1, 1], [NAN, -1]]))
    assert "findings outside the vocabularies: scoliosis" in catalog.notes


def test_a_label_column_states_what_it_does_not_name_as_absent(films: Any) -> None:
    table = "path,class\n1.png,PNEUMONIA; odd\n2.png,Normal\n3.png,\n4.png,edema\n"
    root = films("1.png", "2.png", "3.png", "4.png", table=table)
    catalog = read_source(
        "folder",
        root,
        csv="t.csv",
        label_column="class",
        separator=";",
        mapping={"odd": "Fracture"},
    )
    assert catalog.findings == ("Edema", "Fracture", "Pneumonia")
    np.testing.assert_array_equal(
        catalog.labels(), np.float32([[0, 1, 1], [0, 0, 0], [NAN] * 3, [1, 0, 0]])
    )
    assert any("'Normal'" in note and "absent" in note for note in catalog.notes)


UNMAPPED = "columns that seem to hold "


@pytest.mark.parametrize(
    ("columns", "given", "note"),
    [
        (["Age"], {}, "age are not read: give --age-column Age"),
        (
            ["Patient Gender", "Patient Age", "View Position"],
            {},
            "age, sex and view are not read: give --age-column 'Patient Age' "
            "--sex-column 'Patient Gender' --view-column 'View Position'",
        ),
        (["SEX", "age"], {"age_column": "age"}, "sex are not read: give --sex-column SEX"),
        (["view_position", "views"], {}, "view are not read: give --view-column view_position"),
        (["age", "patient_age"], {"age_column": "patient_age"}, None),
        (["image", "stage", "sexes", "viewer"], {}, None),
    ],
)
def test_columns_of_age_sex_and_view_that_no_option_names_are_noted(
    films: Any, columns: list[str], given: dict[str, Any], note: str | None
) -> None:
    root = films("1.png", table=f"path,{','.join(columns)}\n1.png{',1' * len(columns)}\n")
    notes = [
        line.removeprefix(UNMAPPED)
        for line in read_source("folder", root, csv="t.csv", **given).notes
        if line.startswith(UNMAPPED)
    ]
    assert notes == ([] if note is None else [note])


def test_a_class_mapped_to_nothing_is_left_out(films: Any) -> None:
    root = films("1.png", "2.png", table="path,class\n1.png,Edema\n2.png,rubbish\n")
    catalog = read_source(
        "folder", root, csv="t.csv", label_column="class", mapping={"rubbish": ""}
    )
    assert catalog.findings == ("Edema",)
    np.testing.assert_array_equal(catalog.labels(), np.float32([[1], [0]]))


def test_class_folders_give_classes_and_parts(films: Any) -> None:
    root = films(
        "train/NORMAL/1.jpeg", "train/Edema/2.PNG", "test/Edema/3.jpg", "test/Edema/notes.txt"
    )
    catalog = read_source("folder", root, class_folders=True)
    assert catalog.table["path"].tolist() == [
        "test/Edema/3.jpg",
        "train/Edema/2.PNG",
        "train/NORMAL/1.jpeg",
    ]
    assert catalog.table["part"].tolist() == ["test", "train", "train"]
    np.testing.assert_array_equal(catalog.labels(), np.float32([[1], [1], [0]]))


def test_without_labels_each_film_is_its_own_patient_and_a_note_says_so(films: Any) -> None:
    catalog = read_source("folder", films("x/7_1.png", "x/7_2.png", ".hidden.png"))
    assert catalog.findings == ()
    assert catalog.table["patient"].tolist() == ["x/7_1", "x/7_2"]
    assert any("patient of its own" in note for note in catalog.notes)
    assert any("no labels" in note for note in catalog.notes)


def test_a_pattern_finds_the_patient(films: Any) -> None:
    catalog = read_source("folder", films("x/7_1.png", "x/7_2.png"), patient_pattern=r"(\d+)_\d")
    assert catalog.table["patient"].tolist() == ["7", "7"]


def test_a_misspelt_option_is_named_with_the_nearest(films: Any) -> None:
    with pytest.raises(OptionError, match=r"no option 'path_colum'.*Did you mean 'path_column'"):
        read_source("folder", films("1.png"), path_colum="x")


def test_kermany_reads_through_its_manifest(shared_data: Path) -> None:
    catalog = read_source(
        "folder",
        shared_data / "kermany224",
        csv="manifest.csv",
        patient_column="group",
        part_column="split",
        label_column="class",
        mapping={"PNEUMONIA": "Pneumonia"},
    )
    assert (len(catalog.table), catalog.findings) == (5_856, ("Pneumonia",))
    assert catalog.table["part"].value_counts().to_dict() == {
        "train": 5_216,
        "test": 624,
        "val": 16,
    }
    assert catalog.table["Pneumonia"].sum() == 4_273
    assert catalog.table["patient"].nunique() == 3_054


def test_the_data_set_is_called_as_told_and_never_by_its_folder(films: Any) -> None:
    root = films("1.png")
    assert read_source("folder", root).source == ""
    assert read_source("folder", root, dataset="Hospital A / 2").source == "Hospital-A-2"
    with pytest.raises(OptionError, match="no letter"):
        read_source("folder", root, dataset="//")


@pytest.mark.parametrize("ending", [".dcm", "", ".1", ".ima"])
def test_dicom_films_are_sent_to_their_own_door(export, ending):
    film = export(f"Roe Jane{ending}")
    (export.root / "labels.csv").write_text(f"path,Edema\n{film.name},1\n")
    with pytest.raises(DataError, match=r"--label-table labels\.csv --label-key path") as error:
        read_source("folder", export.root, csv="labels.csv")
    assert "Roe" not in str(error.value)
    if ending == ".dcm":
        with pytest.raises(DataError, match="1 film is DICOM"):
            read_source("folder", export.root)
