"""A data card's page: whole, inert, offline, small, and without patients."""

from __future__ import annotations

import csv
import functools
import json
import shutil
from dataclasses import is_dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hilum.catalog import Catalog, film_table
from hilum.errors import DataError, RunError
from hilum.images.enhance import Preparation
from hilum.images.store_writing import write_store
from hilum.pages.card.checks import card_checks, copies_check, outlier_check, patients_check
from hilum.pages.card.tables import leaks_table, stem
from hilum.pages.charts.bars import bars, matrix
from hilum.pages.pages import write_report
from hilum.pages.tables import named_apart, tables_in
from hilum.splits import patient_split
from hilum.workflows.card.card import CARD, card
from hilum.workflows.card.leakage import OUTSIDE, PARTS_SHOWN
from hilum.workflows.card.options import CardOptions
from hilum.workflows.card.record import CardRecord

EVIL = "<script>alert('finding')</script>"
FORMULA = "=HYPERLINK(1)"
PATIENT = "Roe-Ann"


def made(root: Path, findings: tuple[str, ...], source: str, seed: int) -> Path:
    """Write 48 films with a split, two of them equal; labels of every kind; names that are markup."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (48, 16, 16)).astype(np.uint8)
    images[1] = images[0]
    rows = {
        "path": [f"{PATIENT}-{number // 2}/{number}.png" for number in range(48)],
        "patient": [f"{PATIENT}-{number // 2}" for number in range(48)],
        "age": rng.integers(20, 80, 48),
        "sex": rng.choice(["F", "M"], 48),
        **{name: rng.choice([1, 0, 0, -1, np.nan], 48) for name in findings},
    }
    catalog = Catalog(source, root, findings, film_table(pd.DataFrame(rows), findings), 48)
    store = write_store(root, catalog, images, Preparation(16), [(64, 48)] * 48)
    patient_split(store.catalog, findings, 0, test=0.3, val=0.2).save(root)
    return root


@pytest.fixture(scope="module")
def made_card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cards")
    stores = (
        made(folder / "store-a", (EVIL, FORMULA), "here", 0),
        made(folder / "store-b", (EVIL, "Edema"), '"><img src=x onerror=alert(1)>', 1),
    )
    out = folder / "card"
    card(
        stores,
        CardOptions(out=out, resamples=10, min_positives=2, label_issues=20, neighbours=5),
        "random",
    )
    assert write_report(out).kind == "card"
    return out


@pytest.fixture(scope="module")
def page(made_card: Path) -> str:
    return (made_card / "card.html").read_text(encoding="utf-8")


def test_every_tag_is_closed_and_nothing_is_loaded_from_elsewhere(page, parsed):
    found = parsed(page)
    assert found.open == []
    assert found.handlers == []
    assert all(address.startswith("data:") for address in found.loads)
    assert len(found.ids) == len(set(found.ids))
    assert found.tags.count("script") == 1


def test_markup_in_names_is_shown_and_does_nothing(page, parsed):
    assert EVIL not in page
    assert "<img src=x" not in page
    assert EVIL in parsed(page).words


def test_no_patient_and_no_place_on_this_machine_is_in_the_page(made_card, page):
    numbers = "".join(file.read_text() for file in (made_card / "tables").glob("*.csv"))
    for text in (page, numbers, (made_card / CARD).read_text()):
        assert PATIENT not in text
        assert str(made_card.parent) not in text


def test_the_lists_name_films(made_card):
    for name in ("copies", "label-hints"):
        assert PATIENT in (made_card / "lists" / f"{name}.csv").read_text()
    assert (made_card / "lists" / "strangers.csv").is_file()


def test_the_page_is_small_and_says_what_it_is_for(page, plain):
    assert len(page.encode()) < 10_000_000
    assert plain(page).count("Research use only, not a medical device.") == 2


@pytest.mark.parametrize(
    "section",
    [
        "films",
        "people",
        "labels",
        "pictures",
        "splits",
        "copies",
        "outliers",
        "label-issues",
        "shortcuts",
        "limits",
        "repeat",
    ],
)
def test_every_section_is_there(page, parsed, section):
    assert section in parsed(page).ids


def test_every_store_has_its_column_and_all_have_one(made_card):
    with (made_card / "tables" / "films.csv").open(newline="") as file:
        head, *rows = csv.reader(file)
    assert head[0::3] == ["fact", "together"]
    assert dict(zip(head, rows[0], strict=True))["together"] == "96"


def test_prevalence_in_a_part_is_of_the_films_whose_source_states_the_finding(made_card):
    together = json.loads((made_card / CARD).read_text())["columns"][2]
    with (made_card / "tables" / "parts-together.csv").open(newline="") as file:
        edema = next(row for row in csv.DictReader(file) if row["finding"] == "Edema")
    test = together["parts"]["test"]
    assert 0 < test["labelled"]["Edema"] < test["films"]  # one of the two stores states it
    assert float(edema["test_share"]) == pytest.approx(
        test["present"]["Edema"] / test["labelled"]["Edema"]
    )


def test_a_cell_that_looks_like_a_formula_is_harmless(made_card):
    text = (made_card / "tables" / "prevalence.csv").read_text()
    assert f"'{FORMULA}" in text
    assert f"\n{FORMULA}" not in text


def test_the_files_names_are_harmless(made_card):
    assert all(
        "<" not in file.name and "/" not in file.stem for file in (made_card / "tables").iterdir()
    )
    assert stem("labels", "../..") == "labels-store"


def test_the_numbers_are_those_of_the_card(made_card, page, plain):
    content = json.loads((made_card / CARD).read_text())
    assert content["copies"]["exact"] == 2
    assert f"{content['hints']['labels']} labels are listed for a second reading" in plain(page)
    assert "row 0 (" in plain(page)


def test_building_it_again_gives_the_same_bytes(made_card, page):
    write_report(made_card)
    assert (made_card / "card.html").read_text(encoding="utf-8") == page


def test_a_store_without_labels_has_its_page(tmp_path, parsed):
    store = made(tmp_path / "store", (), "bare", 2)
    card([store], CardOptions(out=tmp_path / "out", samples=0))
    found = parsed(write_report(tmp_path / "out").report.read_text(encoding="utf-8"))
    assert found.open == []
    assert "labels" not in found.ids
    assert "Not tested: no training film of another patient has a label that counts." in found.words


def test_a_missing_picture_is_said(made_card, tmp_path):
    (tmp_path / CARD).write_bytes((made_card / CARD).read_bytes())
    with pytest.raises(DataError, match="cannot be read"):
        write_report(tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"format": 1}'])
def test_a_damaged_card_is_refused(tmp_path, content):
    (tmp_path / CARD).write_text(content)
    with pytest.raises(RunError, match="damaged"):
        write_report(tmp_path)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("columns",), []),
        (("columns", 0, "films"), "many"),
        (("columns", 0, "ages"), None),
        (("columns", 0, "mean_film"), 3),
        (("stores", 0, "preparation"), {}),
        (("strangers", "films"), "some"),
        (("shortcuts", 0, "probes"), 7),
        (("copies", "notes"), 5),
        (("hints", "neighbours"), "\ud800"),
    ],
)
def test_a_card_that_is_damaged_deep_within_is_refused_in_one_line(
    made_card, tmp_path, place, value
):
    shutil.copytree(made_card, tmp_path / "card")
    content = json.loads((made_card / CARD).read_text())
    del content["sha256"]  # as in an earlier version
    *above, last = place
    functools.reduce(lambda inner, key: inner[key], above, content)[last] = value
    (tmp_path / "card" / CARD).write_text(json.dumps(content))
    with pytest.raises(
        RunError, match=r"card.json is damaged \(.*\): delete .* and make the card again\.$"
    ) as caught:
        write_report(tmp_path / "card")
    assert "\n" not in str(caught.value)
    assert (tmp_path / "card" / "card.html").read_bytes() == (made_card / "card.html").read_bytes()


def test_a_later_versions_card_is_refused(made_card, tmp_path):
    content = json.loads((made_card / CARD).read_text())
    del content["sha256"]
    (tmp_path / CARD).write_text(json.dumps({**content, "format": 3}))
    with pytest.raises(RunError, match="is of format 3"):
        write_report(tmp_path)


def test_bars_of_a_store_that_states_nothing_take_no_room():
    alone = bars("ages", ["0", "10"], {"a": [0.5, 0.5], "b": [0.0, 0.0]}, "years", "share")
    assert alone.count("<rect") == 2
    assert "not available" in bars("ages", ["0"], {"a": [0.0]}, "years", "share")


def test_tables_of_stores_of_nearly_one_name_are_files_of_their_own():
    one = leaks_table({part: dict.fromkeys(PARTS_SHOWN, 0) for part in PARTS_SHOWN})
    sections = {
        "a": [replace(one, name="parts-My"), "text"],
        "b": {"c": replace(one, name="parts-my")},
        "d": one,
    }
    names = [table.file for table in tables_in(named_apart(sections))]
    assert names == ["parts-My.csv", "parts-my-2.csv", "copies-by-part.csv"]


def test_a_matrix_shows_larger_shares_darker_and_leaves_unknown_ones_empty():
    drawn = matrix("together", ["A", "B"], [[None, 0.9], [0.1, None]])
    shades = [float(part.split('"')[0]) for part in drawn.split('fill-opacity="')[1:]]
    assert len(shades) == 2
    assert shades[0] > shades[1]
    assert "A, B: 90.0%" in drawn


def test_copies_of_films_in_no_part_have_a_column_of_their_own():
    found = {part: dict.fromkeys(PARTS_SHOWN, 0) for part in PARTS_SHOWN}
    found["train"][OUTSIDE] = found[OUTSIDE]["train"] = 9
    table = leaks_table(found)
    assert [column.title for column in table.columns] == [
        "films of",
        "copy in train",
        "copy in no split",
    ]
    assert [cell.text for cell in table.rows[0]] == ["train", "0", "9"]


def record_of(made_card: Path) -> CardRecord:
    return CardRecord.from_json(json.loads((made_card / CARD).read_text()))


def texts(record: CardRecord, section: str) -> list[str]:
    return [check.text for check in card_checks(record) if check.section == section]


def test_the_record_holds_every_key_of_the_file(made_card):
    """A key that is written and not read would be lost on the page."""
    content = json.loads((made_card / CARD).read_text())
    unread: list[str] = []

    def compare(written: object, read: object, name: str) -> None:
        if isinstance(written, dict) and is_dataclass(read):
            for key, value in written.items():
                field = {"from": "run", "strangers": "outliers", "hints": "label_issues"}.get(
                    key, key
                )
                if hasattr(read, field):
                    compare(value, getattr(read, field), f"{name}.{key}")
                else:
                    unread.append(f"{name}.{key}")
        elif isinstance(written, dict) and isinstance(read, dict):
            assert list(written) == list(read), name
            for key, value in written.items():
                compare(value, read[key], f"{name}.*")
        elif isinstance(written, list) and isinstance(read, tuple):
            assert len(written) == len(read), name
            for one, other in zip(written, read, strict=True):
                compare(one, other, f"{name}[]")
        else:
            assert written == read, name

    compare(content, record_of(made_card), "card")
    flag_details = {"auroc", "reference", "reference_auroc", "share", "p_holm"}
    assert set(unread) <= {
        *("card.format", "card.files", "card.sha256"),
        "card.made_of.stores[].films",
        "card.made_of.stores[].preparation",
        "card.stores[].split",
        *(f"card.shortcuts[].flags[].{name}" for name in flag_details),
    }


def test_what_could_not_be_tested_is_said_and_not_shown_as_passed(made_card, page, plain):
    record = record_of(made_card)
    assert texts(record, "outliers") == [
        "Outlier images: not tested: fewer than 200 films, of which only blank ones are found "
        "(from 48 px on inverted ones too)."
    ]
    assert "No film looks rotated" not in plain(page)
    check = replace(record.shortcuts[0], flags=(), findings_judged=(), min_positives=20)
    untested = texts(replace(record, shortcuts=(check,)), "shortcuts")
    reason = "no finding has 20 patients with it and 2 without in the test split"
    assert untested == [f"Shortcuts: not tested: {reason}."]
    check = replace(check, findings=(EVIL, "Edema"), findings_judged=("Edema",))
    (text,) = texts(replace(record, shortcuts=(check,)), "shortcuts")
    assert text.startswith("No shortcut is flagged for 1 finding tested. Not tested: <script>")
    assert texts(replace(record, label_issues=None), "label-issues") == [
        "Label issues: not tested: no run was given (--from RUN)."
    ]


def test_the_probe_of_a_table_without_age_sex_and_view_is_not_tested(made_card):
    record = record_of(made_card)
    assert not any("age, sex and view" in text for text in texts(record, "shortcuts"))
    whole = replace(
        record.whole, ages=replace(record.whole.ages, stated=0), sexes={"not stated": 96}, views={}
    )
    record = replace(record, columns=(*record.own, whole))
    assert texts(record, "shortcuts")[-1] == (
        "Shortcuts by age, sex and view: not tested: no film states any of them."
    )


def test_patients_that_a_source_does_not_name_cannot_be_in_several_splits(made_card):
    overlap = record_of(made_card).patients
    named, single = {"a": (48, 24)}, {"b": (9, 9)}
    assert patients_check(overlap, named, 3).text == "No patient is in several splits."
    assert patients_check(overlap, single, 3).text == (
        "Patients in several splits: not tested: every film counts as a patient of its own."
    )
    assert "Not tested: b, where" in patients_check(overlap, named | single, 3).text
    assert "all films are in one split" in patients_check(overlap, named, 1).text
    assert patients_check(replace(overlap, in_several_parts=1), named, 3).wrong


def test_few_films_and_a_search_cut_short_are_said(made_card):
    assert outlier_check({"a": 300}, 0).text.startswith("No film looks rotated")
    assert "Not tested: b (fewer than 200 films" in outlier_check({"a": 300, "b": 9}, 0).text
    assert outlier_check({"a": 300, "b": 9}, 2).wrong
    none = replace(record_of(made_card).copies, groups=0, straddling=0, films=0, notes=())
    assert copies_check(none).text == "No film occurs twice."
    cut = replace(none, notes=("hundreds of films are nearly alike",))
    assert copies_check(cut).text == (
        "No copy was found. Not all was tested: hundreds of films are nearly alike."
    )
