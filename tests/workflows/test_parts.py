"""Parts of one or several stores: whole patients, also where two stores hold films of one data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hilum.bundle.seen import seen_films, were_seen
from hilum.catalog import Catalog, film_table
from hilum.errors import DataError
from hilum.images.enhance import Preparation
from hilum.images.films import Films
from hilum.images.store import write_store
from hilum.splits import Split
from hilum.workflows.parts import Parts


def store(folder: Path, films: Sequence[int], test: Sequence[str] = (), seed: int = 0) -> Path:
    """Write a store of one data set with two films a patient; the named patients are its test part."""
    patients = [f"p{number // 2}" for number in films]
    rows = {"path": [f"{number}.png" for number in films], "patient": patients, "study": patients, "Edema": 1.0}
    catalog = Catalog("set", Path("/nowhere"), ("Edema",), film_table(pd.DataFrame(rows), ("Edema",)), len(films))
    images = np.random.default_rng(seed).integers(0, 256, (40, 8, 8)).astype(np.uint8)[list(films)]
    write_store(folder, catalog, images, Preparation(8))
    train = tuple(sorted(set(patients) - set(test)))
    Split("patient", 0, {"train": train, "val": (), "test": tuple(test), "official-test": ()}).save(folder)
    return folder


def test_a_patient_in_different_parts_of_two_stores_is_refused(tmp_path: Path) -> None:
    folders = [store(tmp_path / "a", (0, 1, 2)), store(tmp_path / "b", (3, 4, 5), test=("p1",))]
    with pytest.raises(DataError, match=r"1 patients, first 'set:p1', .*one store") as caught:
        Parts.of(Films.open(folders))
    assert "\n" not in str(caught.value)


def test_a_patient_in_one_part_of_two_stores_is_one_patient(tmp_path: Path) -> None:
    folders = [store(tmp_path / "a", (0, 1, 2)), store(tmp_path / "b", (3, 4, 5), test=("p2",))]
    parts = Parts.of(Films.open(folders))
    assert parts.rows("train").tolist() == [0, 1, 2, 3]
    assert parts.patients(parts.rows("train")) == 2


def test_two_data_sets_of_one_name_have_no_patient_in_common(tmp_path: Path) -> None:
    folders = [store(tmp_path / "a", (0, 1, 2, 3)), store(tmp_path / "b", (0, 1, 2, 3), test=("p1",), seed=1)]
    parts = Parts.of(Films.open(folders))
    assert parts.patients(np.arange(8)) == 4


def test_a_film_seen_among_two_stores_is_known_again_when_prepared_otherwise(tmp_path: Path) -> None:
    both = Films.open([store(tmp_path / "a", (0, 1)), store(tmp_path / "b", (2, 3))])
    again = Films.open([store(tmp_path / "c", (2, 3, 4), seed=1)])
    assert were_seen(again.catalog, seen_films(both.catalog)).tolist() == [True, True, False]
