"""VinDr-CXR: three readers of a film make one label; headers say the rest."""

from __future__ import annotations

import numpy as np
import pytest

from exports import Export
from hilum.annotations.reader_boxes import reader_boxes
from hilum.errors import DataError, OptionError
from hilum.sources import read_source

ROWS = """image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max
a,Cardiomegaly,3,R1,4,6,12,18
a,Cardiomegaly,3,R2,2,6,12,20
a,Cardiomegaly,3,R2,2,6,10,20
a,Pleural effusion,10,R1,0,0,5,5
a,No finding,14,R3,,,,
b,No finding,14,R1,,,,
b,No finding,14,R2,,,,
b,No finding,14,R3,,,,
c,Nodule/Mass,8,R4,1,1,2,2
c,No finding,14,R5,,,,
"""


@pytest.fixture
def vindr(export: Export) -> Export:
    export("train/a.dicom", PatientID=None, PatientAge="061Y")
    export("train/b.dicom", PatientID=None, ViewPosition="AP")
    (export.root / "train.csv").write_text(ROWS)
    return export


@pytest.mark.parametrize(
    ("join", "cardiomegaly", "effusion"),
    [("majority", 1, 0), ("any", 1, 1), ("uncertain", -1, -1)],
)
def test_three_readers_make_one_label(vindr, join, cardiomegaly, effusion):
    catalog = read_source("vindr", vindr.root, join=join)
    table = catalog.table.set_index("patient")
    assert catalog.findings == ("Cardiomegaly", "Nodule/Mass", "Pleural Effusion")
    assert table.loc["a", "Cardiomegaly"] == cardiomegaly
    assert table.loc["a", "Pleural Effusion"] == effusion
    assert table.loc["b", list(catalog.findings)].tolist() == [0, 0, 0]
    assert table.loc["a", "age"] == 61
    assert table.loc["b", "view_position"] == "AP"


def test_rows_add_up_and_odd_readings_are_noted(vindr):
    catalog = read_source("vindr", vindr.root)
    assert catalog.rows_read == 10
    assert catalog.excluded == {"joined with another row of its film": 7, "not on disk": 1}
    assert any("1 training film was not read by 3 radiologists" in note for note in catalog.notes)


def test_the_official_test_has_one_reading(vindr):
    vindr("test/t.dicom")
    (vindr.root / "annotations").mkdir()
    (vindr.root / "train.csv").rename(vindr.root / "annotations/annotations_train.csv")
    (vindr.root / "annotations/annotations_test.csv").write_text(
        "image_id,class_name,x_min,y_min,x_max,y_max\nt,ILD,1,2,3,4\n"
    )
    table = read_source("vindr", vindr.root).table.set_index("patient")
    assert table.loc["t", "part"] == "official-test"
    assert table.loc["t", "ILD"] == 1
    assert table["part"].isna().sum() == 2


def test_boxes_of_findings_that_two_readers_drew(vindr):
    boxes = reader_boxes(vindr.root, {"a.dicom": (24, 12), "b.dicom": (24, 24)})
    assert set(boxes) == {"a.dicom"}
    assert {box.finding for box in boxes["a.dicom"]} == {"Cardiomegaly"}
    assert len(boxes["a.dicom"]) == 3
    first = boxes["a.dicom"][0]
    np.testing.assert_allclose(
        [first.left, first.top, first.right, first.bottom], [4 / 12, 6 / 24, 1, 18 / 24]
    )


@pytest.mark.parametrize(
    "row", ["a,ILD,1,R1,x,1,2,3", "a,ILD,1,R1,5,1,5,3", "a,ILD,1,R1,nan,1,2,3"]
)
def test_a_box_that_is_none_is_named_by_its_line(vindr, row):
    (vindr.root / "train.csv").write_text(ROWS + row + "\n")
    with pytest.raises(DataError, match="line 12 is no box"):
        reader_boxes(vindr.root, {"a.dicom": (24, 12)})


def test_wrong_folders_and_options(export):
    with pytest.raises(DataError, match="looked for train"):
        read_source("vindr", export.root)
    with pytest.raises(OptionError, match="allowed are majority, any, uncertain"):
        read_source("vindr", export.root, join="most")
