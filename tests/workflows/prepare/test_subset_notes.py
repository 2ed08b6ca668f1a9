"""What `prepare` notes of films that no subset has."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from heard import Heard

from hilum.sources import read_source
from hilum.splits import Split
from hilum.workflows.prepare.prepare import PrepareOptions, prepare


@pytest.mark.parametrize(
    ("parts", "kept", "note"),
    [
        (["train", "test", "train", "test"], 2, "2 films are in no subset: their patients belong to another subset"),
        (["train", "test", "test", "test"], 3, "1 film is in no subset: its patient belongs to another subset"),
        (["train", "train", "test", "test"], 4, ""),
    ],
)  # fmt: skip
def test_films_that_a_split_by_film_leaves_in_no_subset_are_told_of(
    tmp_path: Path, parts: list[str], kept: int, note: str
) -> None:
    root = tmp_path / "set"
    root.mkdir()
    lines = ["path,patient,part,Edema"]
    for number, part in enumerate(parts):
        cv2.imwrite(str(root / f"{number}.png"), np.full((16, 16), 20 * number, np.uint8))
        lines.append(f"{number}.png,p{number // 2},{part},{number % 2}")
    (root / "t.csv").write_text("\n".join(lines), encoding="utf-8")
    catalog = read_source(
        "folder",
        root,
        csv="t.csv",
        patient_column="patient",
        part_column="part",
        finding_columns=("Edema",),
    )
    heard = Heard()
    store = prepare(catalog, tmp_path / "store", PrepareOptions(16, workers=1), heard).store
    assert 4 - len(Split.load(store).left_out) == kept
    assert [line for line in heard.notes if "subset" in line] == [line for line in [note] if line]
