"""Boxes of NIH ChestX-ray14 and of the RSNA challenge, as their tables have them."""

from __future__ import annotations

from pathlib import Path

import pytest

from hilum.annotations.nih14_boxes import OPACITIES, OWN, Box, read_boxes
from hilum.errors import DataError

HEADER = "Image Index,Finding Label,Bbox [x,y,w,h],,,"


def write(root: Path, *rows: str, name: str = OWN, header: str = HEADER) -> Path:
    (root / name).write_text("\n".join([header, *rows]) + "\n")
    return root


def test_the_sets_own_table_ends_its_rows_as_it_likes(tmp_path: Path) -> None:
    write(
        tmp_path,
        "a.png,Atelectasis,256.0,512,128,64",
        "a.png,Infiltrate,0,0,1024,1024,,,",
        "b.png,Effusion,1,2,3,4",
    )
    boxes = read_boxes(tmp_path)
    assert boxes["a.png"] == [
        Box("Atelectasis", 0.25, 0.5, 0.375, 0.5625),
        Box("Infiltration", 0.0, 0.0, 1.0, 1.0),
    ]
    assert boxes["b.png"][0].finding == "Pleural Effusion"


def test_both_tables_are_read_and_a_frame_may_be_told(tmp_path: Path) -> None:
    write(tmp_path, "a.png,Mass,0,0,512,512")
    rsna = "Image Index,label,x,y,w,h,frame_px"
    write(tmp_path, "a.png,Lung Opacity,100,100,100,100,200", name=OPACITIES, header=rsna)
    assert [box.finding for box in read_boxes(tmp_path)["a.png"]] == ["Mass", "Lung Opacity"]
    assert read_boxes(tmp_path)["a.png"][1] == Box("Lung Opacity", 0.5, 0.5, 1.0, 1.0)


def test_no_table_means_no_boxes(tmp_path: Path) -> None:
    assert read_boxes(tmp_path) == {}


@pytest.mark.parametrize(
    "row",
    ["a.png,Scoliosis,1,2,3,4", "a.png,Mass,1,2,3", "a.png,Mass,x,2,3,4", "a.png,Mass,1,2,0,4", "a.png,Mass,1,2,nan,4",
     "a.png,Mass,nan,2,3,4", "a.png,Mass,1,2,inf,4"],
)  # fmt: skip
def test_a_line_that_is_no_box_is_named(tmp_path: Path, row: str) -> None:
    write(tmp_path, "a.png,Mass,1,2,3,4", row)
    with pytest.raises(DataError, match=r"BBox_List_2017.csv, line 3: .* is no box") as caught:
        read_boxes(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_text_is_one_line(tmp_path: Path) -> None:
    (tmp_path / OWN).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="no table of boxes"):
        read_boxes(tmp_path)


def test_the_real_tables(shared_data: Path) -> None:
    boxes = [box for films in read_boxes(shared_data / "nih14").values() for box in films]
    assert len(boxes) == 984 + 834
    assert all(
        -0.01 < box.left < box.right < 1.01 and -0.01 < box.top < box.bottom < 1.01 for box in boxes
    )
    assert len({box.finding for box in boxes}) == 9
