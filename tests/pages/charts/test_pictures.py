"""Pictures inside a page: JPEG data, and outlines that lie where the mask is."""

from __future__ import annotations

import re
from base64 import b64decode

import cv2
import numpy as np
import pytest

from hilum.errors import DataError
from hilum.pages.charts.pictures import as_jpeg, outline

MARK = "data:image/jpeg;base64,"


def points(path: str) -> np.ndarray:
    return np.array(
        [[float(number) for number in pair.split()] for pair in re.findall(r"[\d.]+ [\d.]+", path)]
    )


def test_an_outline_runs_around_its_mask():
    mask = np.zeros((40, 80), bool)
    mask[10:20, 40:60] = True  # rows 25 to 50, columns 50 to 75 of 100
    corners = points(outline(mask))
    assert corners.min(axis=0) == pytest.approx([50, 25], abs=1.5)
    assert corners.max(axis=0) == pytest.approx([75, 50], abs=1.5)


def test_each_piece_of_a_mask_has_its_own_outline():
    mask = np.zeros((32, 32), bool)
    mask[2:8, 2:8] = mask[20:30, 20:30] = True
    path = outline(mask)
    assert (path.count("M"), path.count("Z")) == (2, 2)


def test_a_line_of_one_pixel_has_an_outline_and_an_empty_mask_none():
    mask = np.zeros((32, 32), bool)
    assert outline(mask) == ""
    mask[4:28, 16] = True
    assert outline(mask).startswith("M")


@pytest.mark.parametrize(("side", "expected"), [(0, 40), (100, 120)])
def test_a_picture_becomes_jpeg_data_enlarged_by_a_whole_factor(side, expected):
    coded = cv2.imencode(".png", np.full((40, 40), 90, np.uint8))[1].tobytes()
    address = as_jpeg(coded, "film", side)
    assert address.startswith(MARK)
    picture = cv2.imdecode(
        np.frombuffer(b64decode(address.removeprefix(MARK)), np.uint8), cv2.IMREAD_UNCHANGED
    )
    assert picture.shape == (expected, expected)
    assert abs(int(picture.mean()) - 90) <= 1


@pytest.mark.parametrize("data", [b"no image", b""])
def test_what_is_no_image_is_refused_by_name(data):
    with pytest.raises(DataError, match=r"film\.png is no image"):
        as_jpeg(data, "film.png")
