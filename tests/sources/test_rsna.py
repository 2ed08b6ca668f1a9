"""RSNA's challenge: a film with a box shows an opacity, the table of classes names normal ones."""

from __future__ import annotations

import numpy as np
import pytest

from exports import Export
from hilum.annotations.reader_boxes import reader_boxes
from hilum.errors import DataError
from hilum.sources import read_source

LABELS = """patientId,x,y,width,height,Target
a,256.0,512.0,128.0,256.0,1
a,512.0,0.0,128.0,256.0,1
b,,,,,0
c,,,,,0
"""
CLASSES = """patientId,class
a,Lung Opacity
a,Lung Opacity
b,Normal
c,No Lung Opacity / Not Normal
"""


@pytest.fixture
def rsna(export: Export) -> Export:
    for name in "ab":
        captured = "1.2.840.10008.5.1.4.1.1.7"
        export(
            f"stage_2_train_images/{name}.dcm",
            SOPClassUID=captured,
            ConversionType="WSD",
            Modality="CR",
        )
    (export.root / "stage_2_train_labels.csv").write_text(LABELS)
    (export.root / "stage_2_detailed_class_info.csv").write_text(CLASSES)
    return export


def test_labels_and_normal_films(rsna):
    catalog = read_source("rsna", rsna.root)
    table = catalog.table.set_index("patient")
    assert catalog.findings == ("Lung Opacity", "No Finding")
    assert table["Lung Opacity"].to_dict() == {"a": 1, "b": 0}
    assert table["No Finding"].to_dict() == {"a": 0, "b": 1}
    assert table["view_position"].tolist() == ["PA", "PA"]
    assert catalog.excluded == {"joined with another row of its film": 1, "not on disk": 1}
    assert any("taken from NIH ChestX-ray14" in note for note in catalog.notes)


def test_without_the_table_of_classes(rsna):
    (rsna.root / "stage_2_detailed_class_info.csv").unlink()
    catalog = read_source("rsna", rsna.root)
    assert catalog.findings == ("Lung Opacity",)
    assert any("which films are normal is not known" in note for note in catalog.notes)


def test_boxes_are_parts_of_the_challenges_frame(rsna):
    boxes = reader_boxes(rsna.root, {})
    assert set(boxes) == {"a.dcm"}
    first = boxes["a.dcm"][0]
    sides = [first.left, first.top, first.right, first.bottom]
    np.testing.assert_allclose(sides, [0.25, 0.5, 0.375, 0.75])


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("patientId,Target\na,2\n", "is not 0 or 1"),
        ("patientId,Target\na,1\na,0\n", "say both 0 and 1"),
        ("id,Target\na,1\n", "no column 'patientId'"),
    ],
)
def test_tables_that_are_not_the_sets(rsna, table, said):
    (rsna.root / "stage_2_train_labels.csv").write_text(table)
    with pytest.raises(DataError, match=said):
        read_source("rsna", rsna.root)
