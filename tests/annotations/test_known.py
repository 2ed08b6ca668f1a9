"""Where findings lie, in the stored film's frame, and which folder holds a store's very films."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from hilum.annotations.known import (
    BoxAnnotations,
    MaskAnnotations,
    annotations_of,
    likely_roots,
    original_film,
)
from hilum.catalog import Catalog, film_table
from hilum.findings import CHEXPERT
from hilum.images.enhance import Preparation
from hilum.images.store import Store
from hilum.images.store_writing import write_store

SHAPE = (40, 100)
SPOT = (slice(8, 16), slice(50, 60))
"""Rows and columns that a finding covers."""


def film(number: int) -> np.ndarray:
    drawn = np.random.default_rng(number).integers(0, 40, SHAPE).astype(np.uint8)
    drawn[SPOT] = 255
    return drawn


def write_films(root: Path, first: int, masked: bool = True) -> None:
    """Write two films and their masks."""
    mask = np.zeros(SHAPE, np.uint16)
    mask[SPOT] = 1 << CHEXPERT.index("Cardiomegaly")
    for name in ("a", "b"):
        (root / "train").mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / "train" / f"{name}.png"), film(first + ord(name)))
        if masked:
            (root / "masks" / "train").mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(root / "masks" / "train" / f"{name}.png"), mask)


def write_films_and_store(root: Path, fit: str) -> Store:
    write_films(root, 0)
    steps = Preparation(50, fit=fit)
    rows = {
        "path": ["train/a.png", "train/b.png"],
        "patient": ["p1", "p2"],
        "Cardiomegaly": [1.0, 1.0],
    }
    table = film_table(pd.DataFrame(rows), ("Cardiomegaly",))
    films = np.stack([steps.apply(film(ord(name))) for name in "ab"])
    return write_store(
        root / "store", Catalog("nih14", root, ("Cardiomegaly",), table, 2, {}), films, steps
    )


@pytest.mark.parametrize("fit", ["squash", "pad"])
def test_masks_and_boxes_lie_where_the_stored_film_shows_the_finding(tmp_path, fit):
    store = write_films_and_store(tmp_path / "masked", fit)
    bright = store.read(np.array([0]))[0] > 128
    write_films(tmp_path / "boxed", 0, masked=False)
    header, line = (
        "Image Index,Finding Label,Bbox [x,y,w,h],,,",
        "a.png,Cardiomegaly,512,204.8,102.4,204.8",
    )
    (tmp_path / "boxed" / "BBox_List_2017.csv").write_text(f"{header}\n{line}\n")
    masks, boxes = (annotations_of(store, [tmp_path / name]) for name in ("masked", "boxed"))
    assert isinstance(masks, MaskAnnotations)
    assert isinstance(boxes, BoxAnnotations)
    for places in (masks, boxes):
        mask = places.masks("train/a.png")["Cardiomegaly"]
        shown = (
            cv2.resize(bright.astype(np.uint8), mask.shape[::-1], interpolation=cv2.INTER_NEAREST)
            > 0
        )
        assert (mask & shown).sum() / (mask | shown).sum() > 0.8


def test_a_film_is_known_by_its_pixels_not_by_its_path(tmp_path):
    store = write_films_and_store(tmp_path / "mine", "squash")
    write_films(tmp_path / "others", 7)
    assert np.array_equal(original_film(tmp_path / "mine", store, 1), film(ord("b")))
    assert original_film(tmp_path / "others", store, 1) is None
    assert original_film(tmp_path / "gone", store, 1) is None


def test_films_are_looked_for_where_the_plan_says_and_where_a_demo_lays_them(tmp_path):
    for place in ("study/phantoms", "stores/phantoms"):
        (tmp_path / place).mkdir(parents=True)
    found = likely_roots(
        tmp_path / "study", tmp_path / "stores" / "a", {"annotations": ["/data/x"]}
    )
    assert found == [
        Path("/data/x"),
        tmp_path / "study" / "phantoms",
        tmp_path / "stores" / "phantoms",
    ]
    assert likely_roots(tmp_path / "none", tmp_path / "neither" / "a", {"truth": None}) == []
