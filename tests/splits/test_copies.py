from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.catalog import film_table
from hilum.splits import KnownCopies, official_or_patient_split, patient_split
from hilum.splits.copies import joined

FINDINGS = ("Edema", "Hernia")


def catalog(
    films: int, patients: int, seed: int = 0, parts: tuple[str | None, ...] = (None,)
) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = pd.DataFrame({"path": [f"{number}.png" for number in range(films)]})
    rows["patient"] = [f"p{who}" for who in rng.integers(0, patients, films)]
    rows["part"] = np.array(parts, object)[rng.integers(0, len(parts), films)]
    for finding in FINDINGS:
        rows[finding] = rng.random(films) < 0.2
    return film_table(rows, FINDINGS)


def known(pairs: list[tuple[int, int]], once: bool = False) -> KnownCopies:
    return KnownCopies(np.array(pairs, np.int64).reshape(-1, 2), once)


@settings(max_examples=60, deadline=None)
@given(
    pairs=st.lists(st.tuples(st.integers(0, 59), st.integers(0, 59)), max_size=25),
    seed=st.integers(0, 5),
    own=st.sampled_from([(None,), ("train", "test"), ("train", "val", "official-test")]),
    official=st.booleans(),
    once=st.booleans(),
)
def test_no_picture_is_in_two_parts(
    pairs: list[tuple[int, int]], seed: int, own: tuple[str | None, ...], official: bool, once: bool
) -> None:
    table, copies = catalog(60, 20, seed, own), known(pairs, once)
    if official:
        split = official_or_patient_split(table, FINDINGS, seed, copies)
    else:
        split = patient_split(table, FINDINGS, seed, 0.3, 0.2, copies=copies)
    part = split.assign(table)
    for group in joined(60, copies.pairs):
        placed = part.iloc[group].dropna()
        assert placed.nunique() <= 1
        assert not once or len(placed) <= 1
    counted = sum(count["films"] for count in split.counts.values())
    assert counted == int(part.notna().sum()) == 60 - len(split.left_out)
    assert sum(int(note.split()[0]) for note in split.notes) == len(split.left_out)


def test_without_copies_a_split_is_as_ever() -> None:
    table = catalog(200, 50, parts=("train", "test", None))
    for split in (official_or_patient_split, patient_split):
        assert (
            split(table, FINDINGS, copies=known([])).to_json() == split(table, FINDINGS).to_json()
        )


def test_patients_with_a_picture_in_common_count_as_one_where_patients_are_drawn() -> None:
    table = catalog(400, 100)
    patients = table["patient"]
    pairs = [(row, row + 200) for row in range(0, 60, 3) if patients[row] != patients[row + 200]]
    split = patient_split(table, FINDINGS, 3, 0.4, 0.2, copies=known(pairs))
    plain = patient_split(table, FINDINGS, 3, 0.4, 0.2)
    assert any(plain.assign(table)[row] != plain.assign(table)[other] for row, other in pairs)
    assert all(split.assign(table)[row] == split.assign(table)[other] for row, other in pairs)
    assert split.left_out == ()
    assert {name for part in split.parts.values() for name in part} == set(patients)


def test_of_the_source_s_own_parts_the_copy_of_lower_standing_is_left_out() -> None:
    rows = {
        "path": list("abcdef"),
        "patient": list("uvwxyz"),
        "part": ["test", "train", "train", "val", "train", "val"],
    }
    table = film_table(pd.DataFrame(rows).assign(Edema=1.0), ("Edema",))
    split = official_or_patient_split(table, ("Edema",), copies=known([(0, 1), (1, 4)]))
    assert split.left_out == ("b", "e")
    assert split.notes == ("2 films are in no subset: another subset has a copy of each",)
    assert split.assign(table)[0] == "test"


def test_a_copy_of_an_official_test_film_takes_its_patient_out_of_a_split_by_patient() -> None:
    rows = {"path": list("abcd"), "patient": list("uvvw"), "part": ["test", None, None, None]}
    table = film_table(pd.DataFrame(rows), ())
    split = patient_split(table, (), 0, 0.0, 0.0, copies=known([(0, 1)]))
    assert split.parts["official-test"] == ("a",)
    assert split.left_out == ("b", "c")
    assert split.parts["train"] == ("w",)


@pytest.mark.parametrize("once", [False, True])
def test_a_picture_wanted_once_is_there_once_in_a_part(once: bool) -> None:
    table = film_table(pd.DataFrame({"path": list("abcd"), "patient": list("uuvw")}), ())
    split = patient_split(table, (), 0, 0.0, 0.0, copies=known([(0, 1), (1, 2)], once))
    assert split.left_out == (("b", "c") if once else ())
    assert split.notes == (
        ("2 films are in no subset: their subset has a copy of each already",) if once else ()
    )


def test_groups_follow_chains_however_long() -> None:
    links = np.array([[row + 1, row] for row in range(0, 998)], np.int64)[::-1]
    assert [group.tolist() for group in joined(1000, links)] == [list(range(999))]
    assert joined(5, np.array([[2, 2]])) == []
    mixed = np.random.default_rng(0).permutation(
        100_000
    )  # a pass for every few of them would take minutes
    assert [len(group) for group in joined(100_000, np.stack([mixed[:-1], mixed[1:]], axis=1))] == [
        100_000
    ]
