"""Films within one archive become the same store whatever the number of processes, parts and resumes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hilum.catalog import Catalog
from hilum.errors import DataError
from hilum.images.store import MANIFEST, Store
from hilum.sources import read_source
from hilum.workflows.prepare.prepare import PrepareOptions, prepare

SIDE = 32
COUNTS = {"train": 70, "val": 12, "test": 20}


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    """Of 102 films, the first two of which are one and the same."""
    rng = np.random.default_rng(0)
    arrays = {
        f"{part}_images": rng.integers(0, 256, (n, SIDE, SIDE)).astype(np.uint8)
        for part, n in COUNTS.items()
    }
    arrays["train_images"][1] = arrays["train_images"][0]
    labels = {
        f"{part}_labels": rng.integers(0, 2, (n, 1)).astype(np.uint8) for part, n in COUNTS.items()
    }
    np.savez_compressed(tmp_path / "pneumoniamnist.npz", **arrays, **labels)
    return read_source("medmnist", tmp_path / "pneumoniamnist.npz")


def content(store: Path) -> dict[str, bytes]:
    return {
        file.relative_to(store).as_posix(): file.read_bytes()
        for file in store.rglob("*")
        if file.is_file()
    }


def test_the_store_has_the_archives_films(catalog: Catalog, tmp_path: Path) -> None:
    result = prepare(catalog, tmp_path / "store", PrepareOptions(SIDE, workers=1))
    assert (result.rows_kept, result.rows_failed) == (102, {})
    arrays = np.load(tmp_path / "pneumoniamnist.npz")
    wanted = np.concatenate([arrays[f"{part}_images"] for part in COUNTS])
    np.testing.assert_array_equal(Store.open(tmp_path / "store").read(np.arange(102)), wanted)


def test_workers_parts_and_resumes_change_no_byte(catalog: Catalog, tmp_path: Path) -> None:
    prepare(catalog, tmp_path / "one", PrepareOptions(SIDE, workers=1), films_a_shard=16)
    for shard in ("2/3", "1/3", "3/3"):
        prepare(
            catalog,
            tmp_path / "other",
            PrepareOptions(SIDE, workers=2, shard=shard),
            films_a_shard=16,
        )
    assert content(tmp_path / "one") == content(tmp_path / "other")
    again = prepare(catalog, tmp_path / "one", PrepareOptions(SIDE, workers=1), films_a_shard=16)
    assert again.already_done


def test_films_above_the_limit_fail_one_by_one(catalog: Catalog, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="102 too many pixels"):
        prepare(catalog, tmp_path / "store", PrepareOptions(SIDE, workers=1, max_pixels=100))
    assert not (tmp_path / "store" / MANIFEST).exists()
