from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hilum.catalog import Catalog, film_table
from hilum.duplicates import CopyOptions, find_copies
from hilum.duplicates.stored import FILE_NAME, known_copies, read_duplicates, write_duplicates
from hilum.errors import DataError
from hilum.images.enhance import Preparation
from hilum.images.films import Films
from hilum.images.store import Store
from hilum.images.store_writing import write_store


def store(folder: Path, seed: int = 0) -> Store:
    images = np.random.default_rng(seed).integers(0, 256, (12, 16, 16)).astype(np.uint8)
    images[7], images[9] = images[2], (images[4] * 0.9).astype(np.uint8)
    rows = pd.DataFrame(
        {"path": [f"{row}.png" for row in range(12)], "patient": [f"p{row}" for row in range(12)]}
    )
    return write_store(
        folder, Catalog("set", folder, (), film_table(rows, ()), 12), images, Preparation(16)
    )


def found_in(opened: Store) -> Path:
    return write_duplicates(opened, find_copies(Films([opened])), CopyOptions())


def test_copies_come_back_by_path(tmp_path: Path) -> None:
    opened = store(tmp_path)
    assert read_duplicates(opened) is None
    assert found_in(opened) == tmp_path / FILE_NAME
    table = read_duplicates(opened)
    assert table is not None
    assert table[["first", "second", "kind"]].to_numpy().tolist() == [
        ["2.png", "7.png", "exact"],
        ["4.png", "9.png", "near"],
    ]
    assert table["correlation"].between(0.9, 1).all()


def test_the_same_copies_give_the_same_bytes(tmp_path: Path) -> None:
    opened = store(tmp_path)
    assert found_in(opened).read_bytes() == found_in(opened).read_bytes()


def test_exact_copies_are_known_without_the_file_and_near_ones_with_it(tmp_path: Path) -> None:
    opened = store(tmp_path)
    known = known_copies(opened)
    assert (known.pairs.tolist(), known.once) == ([[2, 7]], False)
    found_in(opened)
    known = known_copies(opened)
    assert {tuple(pair) for pair in known.pairs.tolist()} == {(2, 7), (4, 9)}
    assert known.once


def test_films_too_small_for_the_limits_are_said(tmp_path: Path) -> None:
    copies = find_copies(Films([store(tmp_path)]))
    assert copies.notes == (
        "films of 16 pixels show too little to tell near copies for sure: look at each pair",
    )


def test_a_file_about_other_films_is_refused(tmp_path: Path) -> None:
    one, other = store(tmp_path / "a"), store(tmp_path / "b", 1)
    (other.folder / FILE_NAME).write_bytes(found_in(one).read_bytes())
    with pytest.raises(DataError, match=r"is about other films .* --dedup\.$") as caught:
        known_copies(other)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", ["cut", "noise", "foreign", "no text", "lists", "bare", "deep"])
def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path, damage: str) -> None:
    opened = store(tmp_path)
    path = found_in(opened)
    if damage == "foreign":
        pd.DataFrame({"a": [1]}).to_parquet(path)
    elif damage == "lists":
        table = pq.read_table(path)
        pq.write_table(table.set_column(0, "first", pa.array([["2.png"], ["4.png"]])), path)
    elif damage == "bare":
        pq.write_table(pq.read_table(path).replace_schema_metadata(None), path)
    elif damage == "deep":
        pq.write_table(
            pq.read_table(path).replace_schema_metadata({b"hilum": b"[" * 100_000}), path
        )
    elif damage == "no text":
        path.write_bytes(path.read_bytes().replace(b"4.png", b"4\xffpng"))
    else:
        path.write_bytes(path.read_bytes()[:50] if damage == "cut" else b"noise" * 30)
    with pytest.raises(
        DataError, match=r"cannot be read \(.{20,}\): delete it, or prepare the store again"
    ) as caught:
        read_duplicates(opened)
    assert "\n" not in str(caught.value)
