"""Tables as spreadsheets, pandas and R save them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hilum.errors import DataError
from hilum.sources import read_source, tables

ROWS = "path,who,Edema\n1.png,a,1\n2.png,b,0\n"
NAN = float("nan")


@pytest.mark.parametrize(
    "content",
    [
        ROWS.encode(),
        ROWS.replace(",", ";").encode(),
        ROWS.replace(",", "\t").encode(),
        b"sep=;\r\n" + ROWS.replace(",", ";").encode(),
        b"\n\n" + ROWS.encode(),
        ROWS.replace("\n", "\r\n").encode(),
        ROWS.replace("\n", "\r").encode(),
        ROWS.encode("utf-8-sig"),
        ROWS.replace(",", "\t").encode("utf-16"),
        ROWS.replace("path", '"path"').encode(),
        ROWS.replace("who", '"who, or\nwhat; not\twhen"').encode(),
        ROWS.replace("who", "who; what; when").encode(),
        ROWS.replace(",", ";").replace("who", '"who, what"').replace("a;1", "0,5;1").encode(),
    ],
)
def test_separators_encodings_and_ends_of_lines(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    cells = tables.read_csv(path).cells
    assert len(cells.columns) == 3
    assert cells["path"].tolist() == ["1.png", "2.png"]
    assert cells["Edema"].tolist() == ["1", "0"]


def test_empty_rows_are_counted_and_lines_stay_those_of_the_file(films: Any) -> None:
    table = "path,who,Edema\n1.png,a,1\n,,\n , nan,NA\n2.png,b,0\n,,\n"
    catalog = read_source(
        "folder", films("1.png", "2.png", table=table), csv="t.csv", finding_columns="Edema"
    )
    assert (catalog.rows_read, catalog.excluded) == (5, {"empty row": 3})
    assert "t.csv: 3 wholly empty rows passed over, first in line 3" in catalog.notes
    root = films(table=table.replace("b,0", "b,odd"))
    with pytest.raises(DataError, match=r"t\.csv, line 5: 'odd'"):
        read_source("folder", root, csv="t.csv", finding_columns="Edema")


def test_words_that_state_nothing(films: Any) -> None:
    words = ["nan", "NaN", "NA", "N/A", "None", "null", "NULL", "<NA>", "#N/A", " ", "1", "0,0"]
    names = [f"{number}.png" for number in range(len(words))]
    rows = [f'{n},p{n},"{w}","{w}"' for n, w in zip(names, words, strict=True)]
    root = films(
        *names, table="\n".join(["path,who,Edema,sex", *rows[:-2], "10.png,p,1,M", *rows[-1:]])
    )
    catalog = read_source("folder", root, csv="t.csv", finding_columns="Edema", sex_column="sex")
    np.testing.assert_array_equal(catalog.labels()[:, 0], np.float32([*[NAN] * 10, 1, 0]))
    assert "1 value of 'sex' dropped, first '0,0'" in catalog.notes


@pytest.mark.parametrize("word", ["nan", "NA", "", " "])
def test_a_patient_called_nan_is_a_missing_patient(films: Any, word: str) -> None:
    root = films("1.png", "2.png", table=f"path,who\n1.png,a\n2.png,{word}\n")
    with pytest.raises(DataError, match="1 cell of column 'who' is empty, first in line 3"):
        read_source("folder", root, csv="t.csv", patient_column="who")


def test_chexpert_through_pandas_and_with_further_columns(chexpert: Any) -> None:
    root = chexpert(
        [f"{i},{row}" for i, row in enumerate(chexpert.rows)], f"Unnamed: 0,{chexpert.header}"
    )
    assert (
        "train.csv: columns without a name passed over: 'Unnamed: 0'"
        in read_source("chexpert", root).notes
    )
    for columns, given in ("fold", "fold"), ("fold,Mass,My race", "fold Mass 'My race'"):
        names = columns.split(",")
        root = chexpert(
            [f"{row}{',x' * len(names)}" for row in chexpert.rows], f"{chexpert.header},{columns}"
        )
        with pytest.raises(DataError, match=f"--ignore-columns {given}"):
            read_source("chexpert", root)
        catalog = read_source("chexpert", root, ignore_columns=names)
        assert len(catalog.table) == 3
        assert any(
            name.startswith("train.csv: columns passed over: 'fold'") for name in catalog.notes
        )


@pytest.mark.parametrize(
    "name", ["Edemma", "PleuralEffusion", "Effusion Pleural", "Fractures", "Atelectasys"]
)
def test_near_misses_of_findings_are_refused(chexpert: Any, name: str) -> None:
    root = chexpert([f"{row},1,x" for row in chexpert.rows], f"{chexpert.header},{name},fold")
    with pytest.raises(DataError, match=f"unknown column '{name}'. Did you mean"):
        read_source("chexpert", root)
    with pytest.raises(DataError, match=f"unknown column '{name}'. Did you mean"):
        read_source("chexpert", root, ignore_columns=("fold",))


@pytest.mark.parametrize(
    ("text", "years"),
    [
        ("45yrs", 45),
        ("45 years", 45),
        ("1 Year", 1),
        ("6months", 0.5),
        ("26 weeks", 0.5),
        ("0 days", 0),
        ("45 ms", np.nan),
        ("45 min", np.nan),
        ("years", np.nan),
    ],
)
def test_ages_with_words(text: str, years: float) -> None:
    assert tables.age(text) == pytest.approx(years, nan_ok=True)
