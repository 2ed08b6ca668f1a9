import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hilum.errors import DataError, OptionError
from hilum.findings import CHEXPERT
from hilum.sources import read_source

VALID = "CheXpert-v1.0-small/valid/patient64541/study1/view1_frontal.jpg"
TEST = "CheXpert/test/patient64741/study1/view1_lateral.jpg"
NAN = float("nan")


def test_cells_keep_their_three_states_and_the_unstated(chexpert: Any) -> None:
    catalog = read_source("chexpert", chexpert())
    table = catalog.table
    assert catalog.findings == CHEXPERT
    np.testing.assert_array_equal(table["Edema"], np.float32([NAN, -1, -1]))
    np.testing.assert_array_equal(table["Lung Opacity"], np.float32([NAN, 1, 1]))
    np.testing.assert_array_equal(table["Pneumothorax"], np.float32([0, NAN, 0]))
    np.testing.assert_array_equal(table["No Finding"], np.float32([1, NAN, NAN]))


def test_films_are_described_as_far_as_the_table_does(chexpert: Any) -> None:
    catalog = read_source("chexpert", chexpert())
    table = catalog.table
    assert table["path"].tolist() == [row.split(",")[0].partition("/")[2] for row in chexpert.rows]
    assert table["patient"].tolist() == ["patient00001", "patient00001", "patient00002"]
    assert table["study"].tolist() == [
        "patient00001/study1",
        "patient00001/study1",
        "patient00002/study3",
    ]
    assert table["view_position"].fillna("-").tolist() == ["AP", "LATERAL", "-"]
    assert table["sex"].fillna("-").tolist() == ["F", "F", "-"]
    assert [note for note in catalog.notes if "'LL'" in note]


@pytest.mark.parametrize("name", ["CheXpert-v1.0-small", "renamed"])
def test_the_folder_may_have_any_name(chexpert: Any, name: str) -> None:
    assert len(read_source("chexpert", chexpert(name=name)).table) == 3


def test_paths_may_lie_below_the_root_as_they_stand(chexpert: Any) -> None:
    root = chexpert()
    moved = root / "CheXpert-v1.0-small"
    moved.mkdir()
    (root / "train").rename(moved / "train")
    paths = read_source("chexpert", root).table["path"]
    assert paths.str.startswith("CheXpert-v1.0-small/train/").all()


def test_valid_is_the_test_until_the_official_test_is_there(chexpert: Any, touch: Any) -> None:
    root = chexpert()
    touch(root, VALID.partition("/")[2])
    (root / "valid.csv").write_text(f"{chexpert.header}\n{VALID},Male,50,Frontal,PA{',0.0' * 14}\n")
    assert read_source("chexpert", root).table["part"].tolist() == ["train"] * 3 + ["test"]
    touch(root, TEST.partition("/")[2])
    (root / "test.csv").write_text(f"Path,{','.join(reversed(CHEXPERT))}\n{TEST}{',1.0' * 14}\n")
    table = read_source("chexpert", root).table
    assert table["part"].tolist() == ["train"] * 3 + ["test", "val"] or table["part"].tolist() == [
        *["train"] * 3,
        "val",
        "test",
    ]
    official = table[table["part"] == "test"].iloc[0]
    assert (official["patient"], official["view_position"]) == ("patient64741", "LATERAL")
    assert np.isnan(official["age"])
    assert official[list(CHEXPERT)].tolist() == [1] * 14


def test_missing_films_are_counted(chexpert: Any) -> None:
    root = chexpert()
    (root / "train/patient00001/study1/view1_frontal.jpg").unlink()
    (root / "train/patient00002/study3/view1_frontal.jpg").unlink()
    (root / "train/patient00002/study3").rmdir()
    catalog = read_source("chexpert", root)
    assert (catalog.rows_read, len(catalog.table), catalog.excluded) == (3, 1, {"not on disk": 2})


def test_a_film_in_two_tables_is_refused(chexpert: Any) -> None:
    root = chexpert()
    (root / "valid.csv").write_text((root / "train.csv").read_text())
    with pytest.raises(DataError, match=r"view1_frontal.jpg' has two rows \(3 such rows\)"):
        read_source("chexpert", root)


def test_many_films_of_one_folder_and_few_of_many_are_both_found(
    chexpert: Any, tmp_path: Path, touch: Any
) -> None:
    row = chexpert.rows[0].partition(",")[2]
    many = [
        f"CheXpert-v1.0-small/train/patient00007/study1/view{number}_frontal.jpg"
        for number in range(30)
    ]
    root = chexpert((*chexpert.rows, *(f"{path},{row}" for path in many)))
    touch(root, *(path.partition("/")[2] for path in many[::2]))
    catalog = read_source("chexpert", root)
    assert len(catalog.table) == 3 + 15
    assert catalog.excluded == {"not on disk": 15}


def test_phantom_sets_and_the_real_set_have_names_of_their_own(chexpert: Any) -> None:
    root, names = chexpert(), []
    assert read_source("chexpert", root).source == "chexpert"
    for seed in (0, 1):
        for finished in ("false", "true"):  # how far they are drawn does not make them others
            (root / "phantoms.json").write_text(
                f'{{"finished": {finished}, "options": {{"seed": {seed}}}}}'
            )
            names.append(read_source("chexpert", root).source)
    assert names[0] == names[1] != names[2] == names[3]
    assert all(re.fullmatch("phantoms-[0-9a-f]{8}", name) for name in names)
    assert read_source("chexpert", root, dataset="Phantoms / 2").source == "Phantoms-2"
    with pytest.raises(OptionError, match="has no letter"):
        read_source("chexpert", root, dataset="//")


@pytest.mark.parametrize("content", ["{", "[]", "{}", "7"])
def test_a_damaged_record_of_phantoms_is_one_line(chexpert: Any, content: str) -> None:
    (chexpert() / "phantoms.json").write_text(content)
    with pytest.raises(DataError, match=r"phantoms\.json is damaged.*--dataset"):
        read_source("chexpert", chexpert())


FINDINGS = "Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Edema,Consolidation,Atelectasis,Pleural Effusion"
"""Of the official test's table, in another order than the training table's and fewer."""


def official_test(
    root: Path, touch: Any, folder: str = "", name: str = "test_labels.csv", header: str = FINDINGS
) -> None:
    """Lay down a table without sex, age and view, with two films of a study."""
    films = [f"test/patient64741/study1/{view}.jpg" for view in ("view1_frontal", "view2_lateral")]
    touch(root, *films)
    rows = [f"{folder}{film}" + ",1.0" * header.count(",") + ",0.0" for film in films]
    (root / name).write_text("\n".join([f"Path,{header}", *rows]) + "\n")


@pytest.mark.parametrize("folder", ["", "CheXpert-v1.0/", "CheXpert/"])
def test_tables_with_and_without_the_releases_folder_lie_side_by_side(
    chexpert: Any, touch: Any, folder: str
) -> None:
    root = chexpert()
    official_test(root, touch, folder)
    catalog = read_source("chexpert", root)
    table = catalog.table
    assert catalog.excluded == {}
    assert catalog.findings == CHEXPERT
    test = table[table["part"] == "test"]
    assert test["path"].tolist() == [
        f"test/patient64741/study1/view{n}.jpg" for n in ("1_frontal", "2_lateral")
    ]
    assert test["view_position"].fillna("-").tolist() == ["FRONTAL", "LATERAL"]
    assert test[["sex", "age", "Fracture", "No Finding"]].isna().all().all()
    assert test["Atelectasis"].tolist() == [1, 1]
    assert test["Pleural Effusion"].tolist() == [0, 0]
    assert table["part"].tolist()[:3] == ["train"] * 3


@pytest.mark.parametrize("folder", ["CheXpert-v1.0/valid", "valid", "val", "CheXpert/val"])
@pytest.mark.parametrize("lies_in", ["val", "valid"])
def test_chexlocalize_has_its_validation_films_under_either_name(
    tmp_path: Path, touch: Any, folder: str, lies_in: str
) -> None:
    touch(tmp_path, f"{lies_in}/patient64541/study1/view1_frontal.jpg")
    official_test(tmp_path, touch)
    row = f"{folder}/patient64541/study1/view1_frontal.jpg,Male,73,Frontal,AP,1.0,0.0"
    (tmp_path / "val_labels.csv").write_text(
        f"Path,Sex,Age,Frontal/Lateral,AP/PA,Edema,Airspace Opacity\n{row}\n"
    )
    table = read_source("chexpert", tmp_path).table
    assert sorted(table["part"]) == ["test", "test", "val"]
    first = table[table["part"] == "val"].iloc[0]
    assert first["path"] == f"{lies_in}/patient64541/study1/view1_frontal.jpg"
    assert (first["Edema"], first["Lung Opacity"], first["view_position"], first["sex"]) == (
        1,
        0,
        "AP",
        "M",
    )


def test_one_table_of_a_part_is_read_and_the_other_named(chexpert: Any, touch: Any) -> None:
    root = chexpert()
    official_test(root, touch)
    official_test(root, touch, name="test.csv")
    catalog = read_source("chexpert", root)
    assert (catalog.table["part"] == "test").sum() == 2
    assert "test_labels.csv is not read: test.csv is there for the same split" in catalog.notes


def test_readers_and_majorities_label_studies_and_not_films(chexpert: Any, tmp_path: Path) -> None:
    studies = "Study,No Finding,Edema\nCheXpert-v1.0/test/patient64741/study1,0,1\n"
    root = chexpert()
    (root / "test_labels.csv").write_text(studies)
    with pytest.raises(
        DataError,
        match=r"test_labels.csv has a column 'Study'.*labels studies, not films: use CheXloc",
    ):
        read_source("chexpert", root)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "groundtruth.csv").write_text(studies)
    with pytest.raises(
        DataError, match=r"looked for train.csv.*groundtruth.csv labels studies, not films"
    ):
        read_source("chexpert", tmp_path / "labels")


def test_the_folder_above_chexlocalizes_is_hinted_at(tmp_path: Path, touch: Any) -> None:
    official_test(tmp_path / "CheXpert", touch)
    with pytest.raises(DataError, match=f"Did you mean '{tmp_path / 'CheXpert'}'"):
        read_source("chexpert", tmp_path)


def test_two_columns_for_one_finding_are_refused(tmp_path: Path, touch: Any) -> None:
    official_test(tmp_path, touch, header="Lung Opacity,Airspace Opacity")
    with pytest.raises(
        DataError, match="two columns for Lung Opacity, the second 'Airspace Opacity'"
    ):
        read_source("chexpert", tmp_path)


def test_a_table_of_another_labeler_alone_is_named(chexpert: Any) -> None:
    root = chexpert()
    (root / "train.csv").rename(root / "train_visualCheXbert.csv")
    for name in ("valid.csv", "test.csv"):
        (root / name).unlink(missing_ok=True)
    with pytest.raises(DataError, match=r"It has train_visualCheXbert.csv: copy the one"):
        read_source("chexpert", root)
