from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hilum.errors import DataError
from hilum.findings import NIH14
from hilum.sources import read_source


def test_rows_become_films_with_the_lists_parts(nih: Any) -> None:
    catalog = read_source("nih14", nih())
    table = catalog.table
    assert (catalog.source, catalog.findings, catalog.rows_read) == ("nih14", NIH14, 4)
    assert catalog.excluded == {"not on disk": 1}
    assert table["path"].tolist() == [
        f"images/{name}" for name in ("00000001_000.png", "00000001_001.png", "00000002_000.png")
    ]
    assert table["patient"].tolist() == ["1", "1", "2"]
    assert table["study"].tolist() == ["1-0", "1-1", "2-0"]
    assert table["part"].tolist() == ["train", "train", "test"]
    assert table["view_position"].tolist() == ["PA", "AP", "PA"]
    assert table["sex"].tolist() == ["M", "M", "F"]


def test_what_a_film_does_not_list_is_absent_and_no_finding_is_no_column(nih: Any) -> None:
    table = read_source("nih14", nih()).table
    stated = [[name for name in NIH14 if row[name] == 1] for _, row in table.iterrows()]
    assert stated == [["Cardiomegaly", "Pleural Effusion"], [], ["Pleural Thickening"]]
    assert set(np.unique(table[list(NIH14)])) == {0, 1}


def test_an_age_beyond_120_is_dropped_with_a_note(nih: Any) -> None:
    catalog = read_source("nih14", nih())
    assert catalog.table["age"].tolist()[:2] == [57, 58]
    assert np.isnan(catalog.table["age"][2])
    assert any("414" in note and "Patient Age" in note for note in catalog.notes)


def test_the_older_table_with_its_trailing_commas_reads_the_same(nih: Any, tmp_path: Path) -> None:
    newer = read_source("nih14", nih()).table
    root = nih()
    (root / "Data_Entry_2017_v2020.csv").unlink()
    older = nih(tuple(f"{row}," for row in nih.rows), f"{nih.header},", "Data_Entry_2017.csv")
    pd.testing.assert_frame_equal(read_source("nih14", older).table, newer)


def test_films_in_twelve_folders_are_found(nih: Any, touch: Any) -> None:
    root = nih()
    (root / "images" / "00000001_001.png").unlink()
    touch(root, "images_001/images/00000001_001.png", "images_012/00000003_000.png")
    catalog = read_source("nih14", root)
    assert catalog.excluded == {}
    assert catalog.table["path"].tolist()[1] == "images_001/images/00000001_001.png"
    assert catalog.table["path"].tolist()[3] == "images_012/00000003_000.png"


def without(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).unlink()
    return root


TRAIN, TEST = "train_val_list", "test_list"


@pytest.mark.parametrize("gone", [[TRAIN, TEST], [TEST]])
def test_without_the_list_of_test_films_the_set_is_refused_or_has_no_part(
    nih: Any, gone: list[str]
) -> None:
    root = without(nih(), *(f"{name}.txt" for name in gone))
    (root / "test_list (1).txt").write_text("x")
    with pytest.raises(DataError, match=r"--without-official-split.*'test_list \(1\).txt'"):
        read_source("nih14", root)
    catalog = read_source("nih14", root, without_official_split=True)
    assert catalog.table["part"].isna().all()
    assert any("official test may be trained on" in note for note in catalog.notes)


def test_an_empty_list_counts_as_none(nih: Any) -> None:
    root = nih()
    (root / "test_list.txt").write_text("\n")
    with pytest.raises(DataError, match="no list of the official test films"):
        read_source("nih14", root)


@pytest.mark.parametrize(
    "form", ["{}.png\n", "{}\r\n", "\ufeff{}.png\n", "images/{}.png\n", "{}.PNG,\n"]
)
def test_lists_under_their_present_names_and_in_other_forms(nih: Any, form: str) -> None:
    before = read_source("nih14", nih()).table["part"].tolist()
    root = without(nih(), f"{TRAIN}.txt", f"{TEST}.txt")
    (root / f"{TRAIN}_NIH.txt").write_text(form.format("00000001_000") + "00000001_001.png")
    (root / f"{TEST}_NIH.txt").write_text(form.format("00000002_000") + "00000003_000.png")
    assert read_source("nih14", root).table["part"].tolist() == before


def test_a_list_of_other_films_is_refused(nih: Any) -> None:
    root = nih()
    (root / "test_list.txt").write_text("p1_s2.png\n")
    with pytest.raises(DataError, match=r"test_list.txt names no film of the label table.*'p1_s2"):
        read_source("nih14", root)


def test_films_saved_under_other_spellings_are_found(nih: Any, touch: Any) -> None:
    root = nih()
    (root / "images" / "00000001_001.png").rename(root / "images" / "00000001_001.PNG")
    catalog = read_source("nih14", root)
    assert catalog.table["path"].tolist()[1] == "images/00000001_001.PNG"
    assert catalog.missing == ("00000003_000.png",)
    assert any("looked for '00000003_000.png', the nearest" in note for note in catalog.notes)


@pytest.mark.parametrize("cut", ["00000001_000.png", "00000001_001.png", "00000003_000.png"])
def test_films_in_no_official_list_are_refused(nih: Any, cut: str) -> None:
    root = nih()
    path = root / f"{TRAIN}.txt"
    path.write_text(path.read_text().replace(cut, ""))
    with pytest.raises(DataError, match=f"1 film is in no official list, first '{cut}'"):
        read_source("nih14", root)
    assert read_source("nih14", root, without_official_split=True).rows_read == 4


def test_without_the_list_of_training_films_all_others_are_those(nih: Any) -> None:
    catalog = read_source("nih14", without(nih(), f"{TRAIN}.txt"))
    assert "official list train_val_list.txt is not there" in catalog.notes
    assert catalog.table["part"].eq("test").sum() == 1


def test_a_film_in_both_lists_is_refused(nih: Any) -> None:
    root = nih()
    (root / "test_list.txt").write_text("00000001_000.png\n")
    with pytest.raises(DataError, match=r"both official lists, first '00000001_000.png'"):
        read_source("nih14", root)


def test_nothing_left_is_an_error_that_counts(nih: Any) -> None:
    root = nih()
    for film in (root / "images").iterdir():
        film.unlink()
    with pytest.raises(DataError, match=r"no film is left of 4 rows.*4 not on disk"):
        read_source("nih14", root)


def test_the_real_tables_account_for_every_row(shared_data: Path) -> None:
    catalog = read_source("nih14", shared_data / "nih14")
    assert catalog.rows_read == 112_120
    assert len(catalog.table) == 13_502
    assert catalog.excluded == {"not on disk": 98_618}
    assert catalog.table["patient"].nunique() == 3_832
    assert catalog.table["part"].value_counts().to_dict() == {"train": 12_537, "test": 965}
