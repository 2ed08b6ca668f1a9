from __future__ import annotations

import io
import struct
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from hilum.catalog import Catalog, film_table
from hilum.images.enhance import Preparation
from hilum.images.films import Films
from hilum.images.read import read_grey
from hilum.images.resize import resize
from hilum.images.store_writing import write_store
from hilum.phantoms.cohort import cohort
from hilum.phantoms.film import draw
from hilum.phantoms.options import PhantomOptions
from hilum.workflows.card.outliers import COLUMNS, FEWEST, REASONS, outliers

SIZE = 48


def stored(folder: Path, images: np.ndarray) -> Films:
    count = len(images)
    rows = {
        "path": [f"{film}.png" for film in range(count)],
        "patient": [f"p{film}" for film in range(count)],
    }
    table = film_table(pd.DataFrame({**rows, "Edema": np.zeros(count)}), ["Edema"])
    write_store(
        folder,
        Catalog("drawn", Path("/nowhere"), ("Edema",), table, count),
        images,
        Preparation(SIZE),
    )
    return Films.open([folder])


@pytest.fixture(scope="module")
def drawn() -> np.ndarray:
    """Frontal phantoms, uint8 [400, 48, 48]."""
    films = [
        film for film in cohort(PhantomOptions(700, SIZE, 3, "even")) if film.position != "LATERAL"
    ][:400]
    return np.stack([draw(film, SIZE, 3)[0] for film in films])


def planted(drawn: np.ndarray) -> tuple[np.ndarray, dict[int, str]]:
    """The films with eight strangers put in place of others, and why each is one."""
    rng = np.random.default_rng(0)
    images = drawn.copy()
    images[10], images[20] = 255 - drawn[10], 255 - drawn[20]
    images[30], images[40] = np.rot90(drawn[30]), np.rot90(drawn[40], -1)
    images[50], images[60] = drawn[50, ::-1, ::-1], 7
    images[70] = rng.integers(0, 256, (SIZE, SIZE))
    images[80] = np.tile(np.linspace(0, 255, SIZE), (SIZE, 1))
    reasons = {
        10: "inverted",
        20: "inverted",
        30: "turned to the left",
        40: "turned to the right",
    }
    return images, {**reasons, 50: "upside down", 60: "hardly any contrast"}


def test_planted_strangers_are_listed_with_their_reasons(drawn: np.ndarray, tmp_path: Path) -> None:
    images, reasons = planted(drawn)
    found = outliers(stored(tmp_path / "store", images))
    assert tuple(found.columns) == COLUMNS
    assert set(found["reason"]) <= set(REASONS)
    told = dict(zip(found["row"], found["reason"], strict=True))
    assert {row: told.get(row) for row in reasons} == reasons
    assert {70, 80} <= told.keys()
    assert len(told.keys() - {*reasons, 70, 80}) <= 2
    assert found["score"].is_monotonic_decreasing
    assert found["path"].tolist() == [f"{row}.png" for row in found["row"]]


def test_films_without_strangers_give_next_to_none(drawn: np.ndarray, tmp_path: Path) -> None:
    assert len(outliers(stored(tmp_path / "store", drawn))) <= 2


def test_the_limit_moves_the_end_of_the_list(drawn: np.ndarray, tmp_path: Path) -> None:
    films = stored(tmp_path / "store", planted(drawn)[0])
    assert (
        len(outliers(films, limit=0.3)) > len(outliers(films)) > len(outliers(films, limit=5.0)) > 0
    )


def test_of_few_films_those_are_found_that_need_no_others(
    drawn: np.ndarray, tmp_path: Path
) -> None:
    images, reasons = planted(drawn)
    films = stored(tmp_path / "store", images)
    found = outliers(films, np.arange(FEWEST - 1))
    told = dict(zip(found["row"], found["reason"], strict=True))
    assert {row: told.get(row) for row in reasons} == reasons
    assert len(told) <= len(reasons) + 2
    assert outliers(films, np.empty(0, np.int64)).empty


def test_rows_are_those_of_all_films(drawn: np.ndarray, tmp_path: Path) -> None:
    images, _ = planted(drawn)
    found = outliers(stored(tmp_path / "store", images), np.arange(25, 400))
    assert found["row"].min() >= 25
    assert {30, 40, 50, 60} <= set(found["row"])


def leg(shared: Path) -> np.ndarray:
    """The leg, decoded and turned positive, at 48 pixels."""
    raw = (shared / "dicom" / "leg_mono1_10bit_jpeg2000.dcm").read_bytes()
    at = raw.find(b"\xfe\xff\x00\xe0", raw.rfind(b"\xe0\x7f\x10\x00"))
    pieces = []
    while raw[at : at + 4] == b"\xfe\xff\x00\xe0":
        (length,) = struct.unpack("<I", raw[at + 4 : at + 8])
        pieces.append(raw[at + 8 : at + 8 + length])
        at += 8 + length
    values = np.array(Image.open(io.BytesIO(b"".join(pieces[1:])))).astype(
        np.float32
    )  # the first is a table
    return resize((255 - 255 * values / values.max()).astype(np.uint8), SIZE, SIZE)


def test_a_leg_and_a_negative_among_real_films(shared_data: Path, tmp_path: Path) -> None:
    files = sorted((shared_data / "nih14" / "images").glob("*.png"))[::18]
    images = np.stack([resize(read_grey(file), SIZE, SIZE) for file in files])
    images[100], images[200], images[300] = (
        leg(shared_data),
        255 - images[200],
        np.rot90(images[300]),
    )
    found = outliers(stored(tmp_path / "store", images))
    assert {100, 200, 300} <= set(found["row"])
    assert len(found) <= 3 + 0.01 * len(images)
    assert cv2.countNonZero(images[100]) > 0
