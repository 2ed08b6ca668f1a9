"""Tables of a study's page: one definition for what is read and for what is downloaded."""

from __future__ import annotations

import base64
import csv
from io import StringIO

import pytest

from hilum.pages.tables import (
    estimate,
    estimates,
    number,
    numbers,
    p_value,
    share,
    table,
    word,
    words,
)

COLUMNS = [words("model", "model"), numbers("labels", "fraction"), estimates("mean AUROC", "auroc")]


def rows_of(text: str) -> list[list[str]]:
    return list(csv.reader(StringIO(text)))


def test_csv_has_full_precision_and_nothing_where_there_is_no_number():
    told = {"value": 1 / 3, "interval": [0.25, 0.5], "reason": None}
    missing = {"value": None, "interval": None, "reason": "no positive film"}
    found = table(
        "t",
        "T",
        COLUMNS,
        [[word("a"), share(0.1), estimate(told)], [word("b"), share(1.0), estimate(missing)]],
    )
    assert rows_of(found.csv()) == [
        ["model", "fraction", "auroc", "auroc_low", "auroc_high"],
        ["a", "0.1", str(1 / 3), "0.25", "0.5"],
        ["b", "1.0", "", "", ""],
    ]
    scheme, _, content = found.address.partition(",")
    assert scheme == "data:text/csv;charset=utf-8;base64"
    assert base64.b64decode(content).decode() == found.csv()


def test_what_is_read_is_rounded_and_says_why_a_number_is_missing():
    cell = estimate({"value": -0.0412, "interval": [-0.08, 0.002], "reason": None}, signed=True)
    assert (cell.text, cell.small) == ("−0.041", "−0.080 to +0.002")
    missing = estimate({"value": None, "interval": None, "reason": "no positive film"})
    assert (missing.text, missing.small, missing.order) == ("not available", "no positive film", "")
    assert estimate(None).text == "not available"
    lone = estimate({"value": 0.5, "interval": None, "reason": "2 patients are too few"})
    assert (lone.text, lone.small, lone.values) == (
        "0.500",
        "2 patients are too few",
        (0.5, None, None),
    )


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_no_number_is_words_and_sorts_last(value):
    cell = number(value)
    assert (cell.text, cell.values, cell.order) == ("not available", (None,), "")


def test_cells_are_sorted_by_full_precision():
    assert float(number(0.12345678, "{:.2f}").order) == 0.12345678
    assert float(p_value(0.00004).order) == 0.00004
    assert p_value(0.00004).text == "< 0.001"


@pytest.mark.parametrize("name", ["=1+1", "+A1", "-A1", "@A1", "\tx"])
def test_a_name_is_no_formula(name):
    found = table("t", "T", [words("model", "model")], [[word(name)]])
    assert rows_of(found.csv())[1] == [f"'{name}"]


def test_a_name_with_commas_quotes_and_lines_is_one_cell():
    name = 'a, "b"\nc'
    assert rows_of(table("t", "T", [words("model", "model")], [[word(name)]]).csv())[1] == [name]


def test_a_negative_number_stays_a_number():
    assert rows_of(table("t", "T", [numbers("d", "d")], [[number(-0.5, "{:.1f}")]]).csv())[1] == [
        "-0.5"
    ]


def test_a_row_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="does not fit"):
        table("t", "T", COLUMNS, [[word("a"), share(0.1), number(0.5)]])
