"""Where films are by a split: the fast way gives what looking each patient and path up gives."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.errors import DataError
from hilum.splits import PATIENT_PARTS, Split

FRACTIONS = (0.01, 0.1, 0.37, 0.5, 1.0)


def slow_assign(split: Split, table: pd.DataFrame) -> list[str | None]:
    """Return each film's part as version 0.1.0 did, film by film."""
    part_of = {patient: part for part in PATIENT_PARTS for patient in split.parts[part]}
    official, out = set(split.parts["official-test"]), set(split.left_out)
    parts: list[str | None] = []
    for path, patient in zip(table["path"], table["patient"], strict=True):
        part = part_of.get(patient)
        if path in official:
            if part is not None:
                raise DataError(f"{patient!r} in {part!r} and in 'official-test'")
            part = "official-test"
        elif part is None and path not in out:
            raise DataError(f"first {patient!r}, are in no part")
        parts.append(None if path in out else part)
    return parts


def slow_rows(
    split: Split, table: pd.DataFrame, part: str, fraction: float, seed: int
) -> list[int]:
    chosen = set(split.patients(fraction, seed)) if part == "train" else None
    return [
        row
        for row, (film, patient) in enumerate(
            zip(slow_assign(split, table), table["patient"], strict=True)
        )
        if film == part and (chosen is None or patient in chosen)
    ]


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_films_are_where_looking_up_each_puts_them(data: st.DataObject) -> None:
    films, patients = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 15))
    who = data.draw(st.lists(st.integers(0, patients), min_size=films, max_size=films))
    table = pd.DataFrame(
        {"path": [f"{row}.png" for row in range(films)], "patient": [f"p{n}" for n in who]}
    ).astype("string")
    where = data.draw(st.lists(st.integers(0, 3), min_size=patients, max_size=patients))
    names = np.array(data.draw(st.permutations([f"p{number}" for number in range(patients)])))
    paths = st.lists(st.sampled_from(table["path"].tolist()), unique=True, max_size=4)
    numbered = enumerate(PATIENT_PARTS)
    parts = {part: tuple(names[np.array(where) == number].tolist()) for number, part in numbered}
    split = Split(
        "patient", 0, {**parts, "official-test": tuple(data.draw(paths))}, tuple(data.draw(paths))
    )
    blocks = [pa.array(table["path"][start : start + 7]) for start in range(0, films, 7)]
    try:
        expected = slow_assign(split, table)
    except DataError:
        with pytest.raises(DataError):
            split.assign(table)
        with pytest.raises(DataError):
            split.place(pa.chunked_array([pa.array(table["patient"])]), lambda: blocks)
        return
    assigned = split.assign(table)
    assert [None if pd.isna(part) else part for part in assigned] == expected
    placement = split.place(pa.chunked_array([pa.array(table["patient"])]), lambda: blocks)
    for part in (*PATIENT_PARTS, "official-test"):
        rows = slow_rows(split, table, part, 1.0, 0)
        assert split.rows(table, part).tolist() == placement.rows(part).tolist() == rows
    for fraction in FRACTIONS:
        for seed in (0, 1, 5):
            rows = slow_rows(split, table, "train", fraction, seed)
            assert split.rows(table, "train", fraction, seed).tolist() == rows
            assert placement.rows("train", fraction, seed).tolist() == rows
