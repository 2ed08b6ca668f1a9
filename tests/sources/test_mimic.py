"""MIMIC-CXR-JPG, on tables that look like its own: joined by study, official split, contradictions refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hilum.errors import HilumError
from hilum.sources import read_source

NAN = float("nan")


@pytest.mark.parametrize("packed", [False, True])
def test_films_get_their_studys_labels_and_the_official_split(mimic: Any, packed: bool) -> None:
    catalog = read_source("mimic", mimic(packed))
    table = catalog.table
    assert catalog.findings == ("No Finding", "Edema", "Atelectasis", "Pleural Effusion")
    assert table["part"].tolist() == ["train", "train", "val", "test"]
    assert table["patient"].tolist() == ["p10000032", "p10000032", "p11000011", "p19999987"]
    assert table["study"].tolist()[0] == "p10000032/s50414267"
    assert table["view_position"].fillna("-").tolist() == ["PA", "LATERAL", "AP", "-"]
    np.testing.assert_array_equal(table["Edema"], np.float32([NAN, NAN, -1, NAN]))
    np.testing.assert_array_equal(table["No Finding"], np.float32([1, 1, NAN, NAN]))
    assert any("1 film is of studies that" in note for note in catalog.notes)


def test_the_other_labeler_and_no_split(mimic: Any) -> None:
    root = mimic()
    assert read_source("mimic", root).table["Atelectasis"][2] == 1
    assert read_source("mimic", root, labeler="negbio").table["Atelectasis"][2] == 0
    (root / "mimic-cxr-2.0.0-split.csv").unlink()
    with pytest.raises(HilumError, match="--without-official-split"):
        read_source("mimic", root)
    assert read_source("mimic", root, without_official_split=True).table["part"].isna().all()


def test_films_without_the_folder_called_files(mimic: Any) -> None:
    root = mimic()
    for folder in (root / "files").iterdir():
        folder.rename(root / folder.name)
    (root / "files").rmdir()
    assert read_source("mimic", root).table["path"][0] == "p10/p10000032/s50414267/aa-1.jpg"


MISTAKES = {
    "a film in no split": ("split", "bb-1,", "bx-1,", "says nothing of 1 film.*'bb-1'"),
    "another split": ("split", "validate", "dev7", "'dev7' in column 'split' is not train"),
    "a study of two patients": ("chexpert", "11000011,", "11000012,", "'50000001' to two patients"),
    "a study twice": ("chexpert", "50414267", "50000001", "has two rows"),
    "a misspelt finding": ("chexpert", "Edema", "Edemma", "unknown column 'Edemma'"),
    "a label": ("chexpert", "-1.0", "0.5", "'0.5' in column 'Edema' is not a label"),
    "a path": ("metadata", "bb-1,", "../bb,", "'../bb' in column 'dicom_id'"),
    "studies as floats": (
        "chexpert",
        "50414267",
        "50414267.0",
        "line 3: '50414267.0' in column 'study_id'",
    ),
    "a film twice": ("metadata", "aa-2", "aa-1", "has two rows"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_contradictions_are_one_line(mimic: Any, mistake: str) -> None:
    kind, old, new, words = MISTAKES[mistake]
    with pytest.raises(HilumError, match=words) as error:
        read_source("mimic", mimic(**{kind: (old, new)}))
    assert "\n" not in str(error.value)


def test_an_unknown_labeler_and_a_cut_archive(mimic: Any) -> None:
    with pytest.raises(HilumError, match="unknown labeler 'chexbert'"):
        read_source("mimic", mimic(), labeler="chexbert")
    root = mimic(packed=True)
    for table in root.glob("*.csv"):
        table.unlink()
    packed = root / "mimic-cxr-2.0.0-split.csv.gz"
    packed.write_bytes(packed.read_bytes()[:40])
    with pytest.raises(HilumError, match="no whole gzip file"):
        read_source("mimic", root)


def test_labels_of_no_study_of_the_metadata_are_refused(mimic: Any) -> None:
    root = mimic()
    table = root / "mimic-cxr-2.0.0-chexpert.csv"
    header = table.read_text().splitlines()[0]
    cells = "," * (header.count(",") - 1)
    table.write_text(f"{header}\n19999999,51234567{cells}\n")
    with pytest.raises(HilumError, match="has labels of no study of the metadata"):
        read_source("mimic", root)
