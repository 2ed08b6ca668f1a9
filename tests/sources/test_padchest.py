"""PadChest: lists of labels, ages from two years, films by archive; its real table where that is at hand."""

from __future__ import annotations

import ast
import gzip
import os
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hilum.errors import DataError
from hilum.findings import canonical
from hilum.sources import padchest as source
from hilum.sources import read_source

NAN = float("nan")


@pytest.mark.parametrize("packed", ["", ".gz"])
def test_lists_become_findings_and_normal_means_none(padchest: Any, packed: str) -> None:
    catalog = read_source("padchest", padchest(table=source.TABLE + packed))
    table = catalog.table
    assert catalog.findings == ("NSG tube", "Pleural Effusion")
    np.testing.assert_array_equal(table["Pleural Effusion"], np.float32([0, 0, 1, NAN]))
    assert table["view_position"].fillna("-").tolist() == ["PA", "LATERAL", "AP", "-"]
    assert table["study"].tolist() == ["1/s1", "1/s1", "2/s2", "3/s1"]
    np.testing.assert_array_equal(table["age"], np.float32([84, 84, 56, NAN]))
    assert table["sex"].fillna("-").tolist() == ["F", "F", "M", "-"]
    assert (catalog.rows_read, catalog.excluded) == (5, {"not on disk": 1})
    assert any("1 'COSTAL'" in note for note in catalog.notes)
    assert any("2 films state no finding" in note for note in catalog.notes)


def test_films_in_one_folder_are_found(padchest: Any) -> None:
    root = padchest()
    for film in list(root.glob("*/*.png")):
        film.rename(root / film.name)
    assert read_source("padchest", root).table["path"].tolist()[0] == "a1.png"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("['unchanged']", "['unchan", "is not a list of labels"),
        ("['unchanged']", "unchanged", "is not a list of labels"),
        ("a2.png", "a1.png", "has two rows"),
        (",s2,2,", ",s2,,", "'PatientID' is empty"),
    ],
)
def test_mistakes_are_one_line(padchest: Any, old: str, new: str, words: str) -> None:
    root = padchest()
    table = root / source.TABLE
    table.write_text(table.read_text().replace(old, new))
    with pytest.raises(DataError, match=words) as error:
        read_source("padchest", root)
    assert "\n" not in str(error.value)


def real_tables() -> Path:
    """The folder of torchxrayvision's tables, by a variable or the installed package, or a skip."""
    if given := os.environ.get("HILUM_REAL_TABLES"):
        return Path(given)
    spec = find_spec("torchxrayvision")
    if spec is None or not spec.origin:
        pytest.skip("no torchxrayvision, and HILUM_REAL_TABLES does not name its folder of tables")
    return Path(spec.origin).parent / "data"


def test_the_real_table_gives_what_an_independent_count_gives(tmp_path: Path) -> None:
    packed = real_tables() / f"{source.TABLE}.gz"
    plain = pd.read_csv(packed, usecols=["ImageID", "PatientID", "Projection", "Labels"], dtype=str)
    counts: Counter[str] = Counter()
    for cell in plain["Labels"].dropna():
        words = {word.strip() for word in ast.literal_eval(cell)} - {"", *source.NO_FINDINGS}
        counts.update({canonical(word) or word for word in words})
    (tmp_path / "0").mkdir()
    for name in plain["ImageID"]:
        (tmp_path / "0" / name).touch()
    (tmp_path / source.TABLE).write_bytes(gzip.decompress(packed.read_bytes()))
    catalog = read_source("padchest", tmp_path)
    table = catalog.table
    assert catalog.rows_read == len(table) == len(plain) == 160_861
    assert table["patient"].nunique() == plain["PatientID"].nunique() == 67_625
    views = plain["Projection"].map({"AP_horizontal": "AP", "L": "LATERAL", "AP": "AP", "PA": "PA"})
    assert table["view_position"].value_counts().to_dict() == views.value_counts().to_dict()
    found = {name: int((table[name] == 1).sum()) for name in catalog.findings}
    assert found == dict(counts)
