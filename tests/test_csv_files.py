"""CSV that Hilum writes: no cell is a formula, and every row reads back."""

import csv
import io
import re
from pathlib import Path

import numpy as np
import pytest

import hilum
from hilum.csv_files import csv_text, write_csv

FORMULAS = [
    "=1+1",
    "+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    " =1",
    "＝1+1",
    "-",
    "-a.png",
]


@pytest.mark.parametrize("formula", FORMULAS)
def test_formulas_are_neutralised_in_cells_and_header(formula: str) -> None:
    rows = list(csv.reader(io.StringIO(csv_text([formula, "b"], [["x", formula]]), newline="")))
    assert rows == [[f"'{formula}", "b"], ["x", f"'{formula}"]]


@pytest.mark.parametrize(
    "value",
    [
        -1.0,
        "-1.0",
        "+5",
        "-1e-05",
        -3,
        np.float32(-0.5),
        "a=b",
        "a\rb",
        "a,b;c\td",
        'a"b',
        "",
        "it's",
    ],
)
def test_numbers_and_plain_texts_stay_as_they_are(value: object) -> None:
    (row,) = csv.reader(io.StringIO(csv_text([], [])[1:] + csv_text(["a", value], []), newline=""))
    assert row == ["a", str(value)]


def test_what_is_missing_is_empty_and_names_keep_their_bytes(tmp_path: Path) -> None:
    write_csv(
        tmp_path / "t.csv", ["a", "b"], [[None, float("nan")], ["\udcff.png", 0.25]], "{:.1f}"
    )
    assert (tmp_path / "t.csv").read_bytes() == b"a,b\n,\n\xff.png,0.2\n"


def test_no_other_code_writes_csv() -> None:
    for path in Path(hilum.__file__).parent.rglob("*.py"):
        assert not re.search(r"\.to_csv\(|csv\.(?:writer|DictWriter)", path.read_text()), path
