"""``prepare --dedup``: copies are found before the split, and no part has a film twice."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from hilum.catalog import Catalog, film_table
from hilum.duplicates.stored import FILE_NAME, read_duplicates
from hilum.errors import RunError
from hilum.images.films import Films
from hilum.images.store import Store
from hilum.phantoms.cohort import cohort
from hilum.phantoms.film import draw
from hilum.phantoms.options import PhantomOptions
from hilum.splits import Split
from hilum.workflows.data.subsets import Subsets
from hilum.workflows.prepare.prepare import PrepareOptions, prepare

SIZE, FILMS = 64, 12
COPY, DARKER, SAME = 12, 13, 14
"""Rows: film 1 byte for byte, film 2 darker, film 3 byte for byte and of the same patient."""


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    patients = {film.patient: film for film in cohort(PhantomOptions(60, SIZE, 0))}
    films = [draw(film, SIZE, 0)[0] for film in list(patients.values())[:FILMS]]
    films += [films[1], np.rint(films[2] * 0.9).astype(np.uint8), films[3]]
    (tmp_path / "films").mkdir()
    for row, film in enumerate(films):
        cv2.imwrite(str(tmp_path / "films" / f"{row:02d}.png"), film)
    rows = pd.DataFrame({"path": [f"{row:02d}.png" for row in range(len(films))]})
    rows["patient"] = [*(f"p{row}" for row in range(FILMS)), "p12", "p13", "p3"]
    rows["part"] = ["train"] * FILMS + ["test", "test", "train"]
    return Catalog("set", tmp_path / "films", (), film_table(rows, ()), len(films))


def options(dedup: bool, shard: str | None = None) -> PrepareOptions:
    return PrepareOptions(SIZE, workers=1, dedup=dedup, shard=shard)


def test_copies_are_found_counted_and_left_out(catalog: Catalog, tmp_path: Path) -> None:
    result = prepare(catalog, tmp_path / "out", options(True))
    assert result.copies == {"exact": 2, "near": 1, "between_patients": 2, "left_out": 3}
    assert result.rows_kept == len(catalog.table)
    assert Split.load(result.store).left_out == ("01.png", "02.png", "14.png")
    table = read_duplicates(Store.open(result.store))
    assert table is not None
    assert {
        (first, second) for first, second in zip(table["first"], table["second"], strict=True)
    } == {
        ("01.png", "12.png"),
        ("02.png", "13.png"),
        ("03.png", "14.png"),
    }
    subsets = Subsets.of(Films.open([result.store]))
    assert subsets.rows("test").tolist() == [COPY, DARKER]
    assert SAME not in subsets.rows("train")


def test_without_it_equal_films_alone_are_heeded(catalog: Catalog, tmp_path: Path) -> None:
    result = prepare(catalog, tmp_path / "out", options(False))
    assert result.copies == {}
    assert Split.load(result.store).left_out == ("01.png",)
    assert not (result.store / FILE_NAME).exists()
    assert "copies" not in json.loads((result.store / "manifest.json").read_bytes())


def test_done_is_done_and_says_the_same(catalog: Catalog, tmp_path: Path) -> None:
    first, again = (prepare(catalog, tmp_path / "out", options(True)) for _ in range(2))
    assert (first.copies, again.already_done) == (again.copies, True)


def test_parts_give_the_same_bytes_as_a_whole(catalog: Catalog, tmp_path: Path) -> None:
    prepare(catalog, tmp_path / "whole", options(True), films_a_shard=4)
    for part in ("2/2", "1/2"):
        prepare(catalog, tmp_path / "parts", options(True, part), films_a_shard=4)
    for name in (FILE_NAME, "split.json", "manifest.json"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()


@pytest.mark.parametrize("first", [True, False])
def test_the_other_way_is_another_store(catalog: Catalog, tmp_path: Path, first: bool) -> None:
    prepare(catalog, tmp_path / "out", options(first))
    with pytest.raises(RunError, match=f"dedup {first} there, {not first} now"):
        prepare(catalog, tmp_path / "out", options(not first))
