"""Parts of one or several stores: whole patients, also where two stores hold films of one data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hilum.bundle.training_manifest import seen_films, were_seen
from hilum.catalog import Catalog, film_table
from hilum.errors import DataError
from hilum.group_key import GroupKey
from hilum.images.enhance import Preparation, pixel_hash
from hilum.images.films import Films
from hilum.images.store_writing import write_store
from hilum.splits import Split
from hilum.workflows.data.subsets import Subsets
from hilum.workflows.prepare.split import SplitOptions, split

KEY = GroupKey(bytes(32), Path("no.key"))


def store(folder: Path, films: Sequence[int], test: Sequence[str] = (), seed: int = 0) -> Path:
    """Write a store of one data set with two films a patient; the named patients are its test part."""
    patients = [f"p{number // 2}" for number in films]
    rows = {
        "path": [f"{number}.png" for number in films],
        "patient": patients,
        "study": patients,
        "Edema": 1.0,
    }
    catalog = Catalog(
        "set", Path("/nowhere"), ("Edema",), film_table(pd.DataFrame(rows), ("Edema",)), len(films)
    )
    images = np.random.default_rng(seed).integers(0, 256, (40, 8, 8)).astype(np.uint8)[list(films)]
    write_store(folder, catalog, images, Preparation(8))
    train = tuple(sorted(set(patients) - set(test)))
    Split("patient", 0, {"train": train, "val": (), "test": tuple(test), "official-test": ()}).save(
        folder
    )
    return folder


def test_a_patient_in_different_parts_of_two_stores_is_refused(tmp_path: Path) -> None:
    folders = [store(tmp_path / "a", (0, 1, 2)), store(tmp_path / "b", (3, 4, 5), test=("p1",))]
    with pytest.raises(DataError, match=r"1 patient, first 'set:p1', is .*one store") as caught:
        Subsets.of(Films.open(folders))
    assert "\n" not in str(caught.value)


def test_a_patient_in_one_part_of_two_stores_is_one_patient(tmp_path: Path) -> None:
    folders = [store(tmp_path / "a", (0, 1, 2)), store(tmp_path / "b", (3, 4, 5), test=("p2",))]
    subsets = Subsets.of(Films.open(folders))
    assert subsets.rows("train").tolist() == [0, 1, 2, 3]
    assert subsets.patients(subsets.rows("train")) == 2


def test_two_data_sets_of_one_name_have_no_patient_in_common(tmp_path: Path) -> None:
    folders = [
        store(tmp_path / "a", (0, 1, 2, 3)),
        store(tmp_path / "b", (0, 1, 2, 3), test=("p1",), seed=1),
    ]
    subsets = Subsets.of(Films.open(folders))
    assert subsets.patients(np.arange(8)) == 4


def test_a_film_seen_among_two_stores_is_known_again_when_prepared_otherwise(
    tmp_path: Path,
) -> None:
    both = Films.open([store(tmp_path / "a", (0, 1)), store(tmp_path / "b", (2, 3))])
    again = Films.open([store(tmp_path / "c", (2, 3, 4), seed=1)])
    assert were_seen(
        again.catalog, seen_films(both.catalog, KEY), again.preparation.size, KEY
    ).tolist() == [
        True,
        True,
        False,
    ]


def test_a_film_of_one_grey_is_known_by_its_name_alone(tmp_path: Path) -> None:
    seen = Films.open([store(tmp_path / "a", (0, 1))]).catalog
    fresh = Films.open([store(tmp_path / "b", (2, 3, 0))]).catalog
    blank = pixel_hash(np.zeros((8, 8), np.uint8))
    seen, fresh = (
        seen.assign(pixels=[blank, seen["pixels"].iloc[1]]),
        fresh.assign(pixels=[blank, "0", blank]),
    )
    assert were_seen(fresh, seen_films(seen, KEY), 8, KEY).tolist() == [False, False, True]


def copied(folder: Path, name: str, films: Sequence[int], test: Sequence[str]) -> Path:
    """Write a store of a data set of its own whose films are the numbered pictures, one a patient."""
    paths = [f"{name}-{place}.png" for place in range(len(films))]
    rows = pd.DataFrame(
        {"path": paths, "patient": [f"{name}{place}" for place in range(len(films))]}
    )
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8)).astype(np.uint8)[list(films)]
    write_store(
        folder, Catalog(name, folder, (), film_table(rows, ()), len(films)), images, Preparation(8)
    )
    train = tuple(sorted(set(rows["patient"]) - set(test)))
    Split("patient", 0, {"train": train, "val": (), "test": tuple(test), "official-test": ()}).save(
        folder
    )
    return folder


def test_a_picture_in_two_parts_is_refused_within_a_store(tmp_path: Path) -> None:
    films = Films.open([copied(tmp_path / "a", "a", (0, 1, 2, 1), test=("a3",))])
    with pytest.raises(
        DataError,
        match=r"1 film .*'a-1.png' in 'train' and 'a-3.png' in 'test': run `hilum split ",
    ) as told:
        Subsets.of(films)
    assert "\n" not in str(told.value)


def test_a_picture_in_two_parts_is_refused_across_stores(tmp_path: Path) -> None:
    folders = [
        copied(tmp_path / "a", "a", (0, 1), test=()),
        copied(tmp_path / "b", "b", (5, 1), test=("b1",)),
    ]
    with pytest.raises(
        DataError, match=r"'a-1.png' in 'train' and 'b-1.png' in 'test': use one of the stores"
    ) as told:
        Subsets.of(Films.open(folders))
    assert "\n" not in str(told.value)


def test_a_picture_twice_in_one_part_or_once_in_none_is_allowed(tmp_path: Path) -> None:
    folder = copied(tmp_path / "a", "a", (0, 1, 1, 1), test=("a3",))
    Split(
        "patient",
        0,
        {"train": ("a0", "a1", "a2"), "val": (), "test": ("a3",), "official-test": ()},
        ("a-3.png",),
    ).save(folder)
    assert Subsets.of(Films.open([folder])).rows("train").tolist() == [0, 1, 2]


def test_a_new_split_mends_what_was_refused(tmp_path: Path) -> None:
    folder = copied(tmp_path / "a", "a", (0, 1, 2, 1, 4, 5), test=("a3",))
    with pytest.raises(DataError, match=r"in 'train' and .* in 'test'"):
        Subsets.of(Films.open([folder]))
    split(folder, SplitOptions(seed=0, test=0.3, val=0.3))
    subsets = Subsets.of(Films.open([folder]))
    (together,) = [
        part for part in ("train", "val", "test") if {1, 3} <= set(subsets.rows(part).tolist())
    ]
    assert len(subsets.rows("train")) + len(subsets.rows("val")) + len(subsets.rows("test")) == 6, (
        together
    )
