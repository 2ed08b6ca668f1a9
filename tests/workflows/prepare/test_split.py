from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hilum.catalog import Catalog, film_table
from hilum.errors import DataError, OptionError
from hilum.images.enhance import Preparation
from hilum.images.store import Store
from hilum.images.store_writing import write_store
from hilum.splits import Split
from hilum.workflows.prepare.split import SplitOptions, split

FINDINGS = ("Edema", "Hernia")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    films = 200
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(
        {
            "path": [f"{n}.png" for n in range(films)],
            "patient": [f"p{n // 2}" for n in range(films)],
        }
    )
    rows["part"] = ["test" if n < 20 else None for n in range(films)]
    rows["Edema"], rows["Hernia"] = rng.integers(0, 2, films), rng.integers(0, 20, films) == 0
    catalog = Catalog("folder", tmp_path, FINDINGS, film_table(rows, FINDINGS), films)
    return write_store(
        tmp_path / "store", catalog, np.zeros((films, 8, 8), np.uint8), Preparation(size=8)
    )


def test_a_store_is_divided_anew_and_the_counts_are_right(store: Store) -> None:
    result = split(store.folder, SplitOptions(seed=3, test=0.3, val=0.1, fractions=(0.1, 1.0)))
    written = Split.load(store.folder)
    assert (result.sha256, result.kind, result.seed) == (written.hash, "patient", 3)
    assert {part: (counts.films, counts.patients) for part, counts in result.parts.items()} == {
        "train": (108, 54),
        "val": (18, 9),
        "test": (54, 27),
        "official-test": (20, 10),
    }
    for part, counts in result.parts.items():
        films = store.catalog.iloc[written.rows(store.catalog, part)]
        assert counts.positives == {name: films[name].sum() for name in FINDINGS}
        assert counts.positive_patients["Edema"] == films["patient"][films["Edema"] == 1].nunique()
    assert result.fractions["0.1"].patients == 5
    assert result.fractions["1"] == result.parts["train"]


def test_too_few_patients_to_measure_by_are_said_in_patients(store: Store) -> None:
    result = split(store.folder, SplitOptions(seed=3, test=0.3, val=0.1))
    val, test = result.parts["val"].positive_patients, result.parts["test"].positive_patients
    assert [note.split(" has fewer than 20 patients")[0] for note in result.notes] == [
        "val",
        "test",
    ]
    assert f"for Edema ({val['Edema']} patients)" in result.notes[0]
    assert "with 2 of 2 findings" in result.notes[0]
    assert "with 1 of 2 findings" in result.notes[1]
    assert f"Hernia ({test['Hernia']} patients)" in result.notes[1]


def test_another_seed_replaces_the_file(store: Store) -> None:
    first = split(store.folder, SplitOptions())
    assert split(store.folder, SplitOptions()).sha256 == first.sha256
    assert split(store.folder, SplitOptions(seed=1)).sha256 != first.sha256
    assert Split.load(store.folder).seed == 1


def test_mistakes(store: Store, tmp_path: Path) -> None:
    with pytest.raises(DataError):
        split(tmp_path / "nowhere", SplitOptions())
    with pytest.raises(OptionError, match=r"--test 2.0"):
        split(store.folder, SplitOptions(test=2.0))
    assert not (store.folder / "split.json").exists()
