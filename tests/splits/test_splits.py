from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.catalog import film_table
from hilum.errors import DataError, HilumError, OptionError
from hilum.splits import PARTS, Split, official_or_patient_split, patient_split

FINDINGS = ("Edema", "Fracture", "Hernia")
RATES = (0.3, 0.05, 0.004)


def catalog(
    films: int, patients: int, seed: int = 0, parts: tuple[str | None, ...] = (None,)
) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    # Some patients have far more films than others, as in the real sets.
    who = np.floor(patients * rng.random(films) ** 2).astype(int)
    rows = pd.DataFrame(
        {"path": [f"{number}.png" for number in range(films)], "patient": [f"p{n}" for n in who]}
    )
    rows["part"] = np.array(parts, object)[rng.integers(0, len(parts), films)]
    for finding, rate in zip(FINDINGS, RATES, strict=True):
        rows[finding] = rng.random(films) < rate
    return film_table(rows, FINDINGS)


def patients_of(table: pd.DataFrame, split: Split) -> dict[str, set[str]]:
    return {
        part: set(table["patient"].iloc[split.rows(table, part)]) for part in PARTS if part != "all"
    }


@settings(max_examples=40, deadline=None)
@given(
    films=st.integers(1, 120),
    patients=st.integers(1, 40),
    seed=st.integers(0, 9),
    test=st.floats(0, 0.6),
    val=st.floats(0, 0.4),
    own=st.sampled_from(
        [(None,), ("train", "test"), ("train", "val", "official-test"), ("test",), (None, "val")]
    ),
    official=st.booleans(),
)
def test_no_patient_is_in_two_parts_and_every_film_is_accounted_for(
    films: int,
    patients: int,
    seed: int,
    test: float,
    val: float,
    own: tuple[str | None, ...],
    official: bool,
) -> None:
    table = catalog(films, patients, seed, own)
    split = (
        official_or_patient_split(table, FINDINGS, seed)
        if official
        else patient_split(table, FINDINGS, seed, test, val)
    )
    found = patients_of(table, split)
    for one in found:
        assert all(not found[one] & found[other] for other in found if other != one)
    rows = np.concatenate([split.rows(table, part) for part in found])
    assert len(rows) == len(set(rows)) == films - len(split.left_out)
    is_test = table["part"].isin(["test", "official-test"])
    assert not set(table["path"][is_test]) & set(split.left_out)
    learnt = [*split.rows(table, "train"), *split.rows(table, "val")]
    assert not is_test.iloc[learnt].any()
    if not official:
        assert set(split.rows(table, "official-test")) == set(np.flatnonzero(is_test))


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 9),
    draw=st.integers(0, 5),
    shares=st.lists(st.floats(0.001, 1), min_size=2, max_size=2).map(sorted),
)
def test_smaller_fractions_lie_within_larger_ones(
    seed: int, draw: int, shares: list[float]
) -> None:
    table = catalog(400, 150, seed)
    split = patient_split(table, FINDINGS, seed)
    small, large = (set(split.rows(table, "train", share, draw)) for share in shares)
    assert small
    assert small <= large <= set(split.rows(table, "train"))
    assert set(split.rows(table, "train", 1.0, draw)) == set(split.rows(table, "train"))


def test_draws_of_a_small_fraction_share_no_patient() -> None:
    split = patient_split(catalog(4000, 1000), FINDINGS)
    drawn = [set(split.patients(0.1, draw)) for draw in range(5)]
    assert sum(map(len, drawn)) == len(set().union(*drawn))


@pytest.mark.parametrize("seed", range(5))
def test_findings_are_spread_in_proportion(seed: int) -> None:
    table = catalog(6000, 2000, seed)
    split = patient_split(table, FINDINGS, seed)
    shows = table[list(FINDINGS)].groupby(table["patient"]).max()
    for part, share in {"train": 0.7, "val": 0.1, "test": 0.2}.items():
        found = shows.loc[list(split.parts[part])].sum()
        # Drawn at random, the counts would scatter by about the square root of what is expected.
        assert (abs(found - share * shows.sum()) <= 3 + 0.04 * share * shows.sum()).all()
        assert abs(len(split.rows(table, part)) - share * len(table)) < 0.12 * share * len(table)
    tenth = shows.loc[list(split.patients(0.1))].sum()
    assert (abs(tenth - 0.07 * shows.sum()) <= 3 + 0.05 * shows.sum() * 0.07).all()


def test_the_order_of_rows_and_other_columns_do_not_matter() -> None:
    table = catalog(500, 100, parts=(None, *["train"] * 30, "test"))
    mixed = table.sample(frac=1, random_state=1).assign(pixels="00")
    for make in (patient_split, official_or_patient_split):
        assert make(table, FINDINGS).hash == make(mixed, FINDINGS).hash
        assert make(table, FINDINGS, 1).parts["train"] != make(table, FINDINGS, 2).parts["train"]


def test_an_official_test_stays_and_a_split_by_patient_sets_it_apart() -> None:
    table = catalog(300, 100)
    table["part"] = pd.array(
        ["test" if int(who[1:]) % 5 == 0 else "train" for who in table["patient"]], "string"
    )
    wanted = set(np.flatnonzero(table["part"] == "test"))
    official = official_or_patient_split(table, FINDINGS)
    assert official.kind == "official"
    assert set(official.rows(table, "test")) == wanted
    assert len(official.rows(table, "official-test")) == 0
    assert len(official.rows(table, "val")) > 0
    again = patient_split(table, FINDINGS)
    assert again.kind == "patient"
    assert set(again.rows(table, "official-test")) == wanted
    assert not wanted & {
        *again.rows(table, "test"),
        *again.rows(table, "train"),
        *again.rows(table, "val"),
    }


def test_other_films_of_official_test_patients_are_left_out_with_a_note() -> None:
    table = catalog(300, 100)
    table["part"] = pd.array(["test", *["train"] * 299], "string")
    same = set(table["path"][table["patient"] == table["patient"][0]]) - {table["path"][0]}
    for split in (official_or_patient_split(table, FINDINGS), patient_split(table, FINDINGS)):
        assert set(split.left_out) == same
        assert len(same) == 1
        assert split.notes == ("1 film is in no subset: its patient belongs to another subset",)


@pytest.mark.parametrize(("positives", "kept"), [(19, False), (20, True)])
def test_a_validation_part_with_few_positives_is_carved_anew(positives: int, kept: bool) -> None:
    films = 400
    rows = pd.DataFrame(
        {"path": [f"{n}.png" for n in range(films)], "patient": [f"p{n}" for n in range(films)]}
    )
    rows["part"] = ["val"] * 50 + ["test"] * 50 + ["train"] * 300
    rows["Edema"] = [1] * positives + [0] * (films - positives)
    table = film_table(rows, ("Edema",))
    split = official_or_patient_split(table, ("Edema",))
    assert (set(split.parts["val"]) == {f"p{n}" for n in range(50)}) == kept
    assert len(split.rows(table, "val")) == (50 if kept else 35)
    assert len(split.rows(table, "test")) == 50


@pytest.mark.parametrize(("positives", "kept"), [(19, False), (20, True)])
def test_findings_that_validation_films_do_not_state_are_not_missed(
    positives: int, kept: bool
) -> None:
    rows = pd.DataFrame(
        {"path": [f"{n}.png" for n in range(200)], "patient": [f"p{n}" for n in range(200)]}
    )
    rows["part"] = ["val"] * 50 + ["train"] * 150
    rows["Edema"] = [1] * positives + [0] * (200 - positives)
    for unstated in ("Mass", "Nodule"):
        rows[unstated] = [np.nan] * 50 + [0, 1] * 75
    findings = ("Edema", "Mass", "Nodule")
    split = official_or_patient_split(film_table(rows, findings), findings)
    assert (set(split.parts["val"]) == {f"p{n}" for n in range(50)}) == kept


def test_it_is_written_down_and_read_back(tmp_path: Path) -> None:
    table = catalog(300, 100, parts=(None, "test"))
    split = patient_split(table, FINDINGS, 3, 0.3, 0.2, (0.5, 0.1))
    path = split.save(tmp_path)
    first = path.read_bytes()
    assert [entry.name for entry in tmp_path.iterdir()] == ["split.json"]
    read = Split.load(tmp_path)
    assert (read.hash, read.parts, read.fractions) == (split.hash, split.parts, (0.1, 0.5))
    patient_split(table, FINDINGS, 3, 0.3, 0.2, (0.1, 0.5)).save(tmp_path)
    assert path.read_bytes() == first
    content = json.loads(first)
    assert content["counts"]["train"] == {
        "films": len(split.rows(table, "train")),
        "patients": len(split.parts["train"]),
    }


def tampered(tmp_path: Path, part: str, *patients: str, keep_hash: bool = False) -> pd.DataFrame:
    """Write a split whose part has these patients added; return its table."""
    table = catalog(300, 100, parts=("train", "test"))
    table["part"] = pd.array(
        ["test" if who in {"p0", "p1"} else "train" for who in table["patient"]], "string"
    )
    path = patient_split(table, FINDINGS).save(tmp_path)
    content = json.loads(path.read_text())
    content["parts"][part].extend(patients)
    if not keep_hash:
        del content["sha256"]
    path.write_text(json.dumps(content))
    return table


def test_a_patient_in_two_parts_is_refused_in_one_line(tmp_path: Path) -> None:
    tampered(tmp_path, "val")
    other = Split.load(tmp_path).parts["train"][0]
    tampered(tmp_path, "val", other)
    with pytest.raises(DataError, match=rf"patient '{other}' is in 'train' and in 'val'") as error:
        Split.load(tmp_path)
    assert "\n" not in str(error.value)


def test_a_patient_of_the_official_test_in_another_part_is_refused(tmp_path: Path) -> None:
    table = tampered(tmp_path, "train", "p0")
    with pytest.raises(DataError, match=r"patient 'p0' is in 'train' and in 'official-test'"):
        Split.load(tmp_path).rows(table, "val")


def test_a_change_by_hand_is_seen(tmp_path: Path) -> None:
    tampered(tmp_path, "val", "somebody", keep_hash=True)
    with pytest.raises(DataError, match="does not match its own SHA-256"):
        Split.load(tmp_path)


def test_a_split_of_another_store_is_refused() -> None:
    split = patient_split(catalog(100, 30), FINDINGS)
    other = catalog(100, 30)
    other["patient"] = "x" + other["patient"]
    with pytest.raises(DataError, match=r"are in no subset of split\.json"):
        split.rows(other, "train")


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", "nonsense", '{"kind": 1}', "[" * 20_000, '{"parts": {"train": 3}}', "\x00"],
)
def test_a_file_that_is_no_split_is_refused_in_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "split.json").write_text(content)
    with pytest.raises(DataError, match="run `hilum split STORE`") as error:
        Split.load(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("name", "value"), [("seed", "1e999"), ("left_out", r'["\ud800"]')])
def test_a_value_that_none_can_use_is_refused_in_one_line(
    tmp_path: Path, name: str, value: str
) -> None:
    content = {**patient_split(catalog(50, 20), FINDINGS).to_json(), name: "HERE"}
    (tmp_path / "split.json").write_text(json.dumps(content).replace('"HERE"', value))
    with pytest.raises(DataError, match=r"is no split .*: run `hilum split STORE`") as error:
        Split.load(tmp_path)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"split.json is missing: run `hilum split STORE`"):
        Split.load(tmp_path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"test": 1.2}, "--test 1.2"),
        ({"val": -0.1}, "--val -0.1"),
        ({"seed": -1}, "--seed -1"),
        ({"test": float("nan")}, "--test nan"),
        ({"test": 0.7, "val": 0.7}, "together are above 1"),
        ({"fractions": (0.1, 0.0)}, "fraction 0.0"),
    ],
)
def test_shares_that_are_none(options: dict[str, float], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        patient_split(catalog(50, 20), FINDINGS, **options)


def test_what_rows_refuses() -> None:
    table = catalog(50, 20)
    split = patient_split(table, FINDINGS)
    with pytest.raises(HilumError, match=r"unknown part 'tset'.*Did you mean 'test'"):
        split.rows(table, "tset")
    with pytest.raises(OptionError, match=r"of the training patients, not of 'val'"):
        split.rows(table, "val", 0.5)
    with pytest.raises(OptionError, match=r"fraction 1\.5"):
        split.rows(table, "train", 1.5)


def test_a_part_may_be_empty() -> None:
    table = catalog(50, 20)
    split = patient_split(table, FINDINGS, test=0.0, val=0.0)
    assert len(split.rows(table, "test")) == len(split.rows(table, "official-test")) == 0
    assert len(split.rows(table, "train")) == len(split.rows(table, "all")) == 50
    everything = patient_split(table, FINDINGS, test=1.0, val=0.0)
    assert len(everything.rows(table, "train")) == 0
    assert len(everything.rows(table, "train", 0.1)) == 0


def test_real_patients_split_as_asked(shared_data: Path) -> None:
    from hilum.sources import read_source

    table = read_source("nih14", shared_data / "nih14").table
    findings = table.columns[7:]
    split = patient_split(table, tuple(findings), 0, 0.2, 0.1)
    assert split.counts["official-test"] == {"films": 965, "patients": 62}
    assert split.counts["test"]["patients"] == 754
    assert 2_300 < split.counts["test"]["films"] < 2_700
    assert table["Hernia"].iloc[split.rows(table, "test")].sum() > 0
