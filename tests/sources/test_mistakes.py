"""Every mistake in a table or a root: one line that says what, the value and the remedy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hilum.errors import DataError, HilumError, OptionError
from hilum.sources import SOURCES, read_source

Edit = Callable[[str], list[str]]

NIH_MISTAKES: dict[str, tuple[Edit, str]] = {
    "unknown finding": (
        lambda row: [row.replace("Effusion", "Efusion")],
        "unknown finding 'Efusion'.*Did you mean",
    ),
    "two rows": (lambda row: [row, row], "line 3: '00000001_000.png' has two rows"),
    "climbs out": (lambda row: ["../../etc/passwd.png" + row[16:]], "leaves the root"),
    "no patient": (
        lambda row: [row.replace(",0,1,", ",0,,")],
        "column 'Patient ID' is empty, first in line 2",
    ),
    "no labels": (
        lambda row: [row.replace("Cardiomegaly|Effusion", "")],
        "column 'Finding Labels' is empty, first in line 2",
    ),
    "short row": (lambda row: [row, "00000001_001.png,Edema"], "no regular CSV"),
    "long row": (lambda row: [row, f"{row.replace('_000', '_001')},1,2"], "no regular CSV"),
}
CHEXPERT_MISTAKES: dict[str, tuple[Edit, str]] = {
    "no number": (
        lambda row: [row.replace(",1.0,", ",maybe,", 1)],
        "line 2: 'maybe' in column 'No Finding' is not a label",
    ),
    "other number": (
        lambda row: [row.replace(",1.0,", ",0.5,", 1)],
        "'0.5' in column 'No Finding' is not a label",
    ),
    "two rows": (lambda row: [row, row], "line 3: 'CheXpert.*has two rows"),
    "climbs out": (
        lambda row: [row.replace("CheXpert-v1.0-small/", "../")],
        "line 2: path '../train.*leaves the root",
    ),
    "climbs out within": (lambda row: [row.replace("/train/", "/../../x/")], "leaves the root"),
    "absolute": (lambda row: [f"/{row}"], "leaves the root"),
    "drive letter": (lambda row: [f"C:\\{row}"], "leaves the root"),
    "other form": (lambda row: [row.replace("patient00001", "p1")], "is not of CheXpert's form"),
    "no path": (lambda row: [row.partition("/view1_frontal.jpg")[2]], "column 'Path' is empty"),
    "long value": (
        lambda row: [row.replace(",1.0,", f",{'x' * 500},", 1)],
        r"'x{50,56}\.\.\.' in column",
    ),
}
HEADER_MISTAKES = {
    "missing": (("Path,", "Pat,"), "unknown column 'Pat'.*Did you mean 'Path'"),
    "misspelt finding": (
        ("Edema", "Edemma"),
        "unknown column 'Edemma'. Did you mean 'Edema'.*--ignore-columns Edemma",
    ),
    "twice": (("Edema", "Fracture"), "column 'Fracture' more than once"),
}


def line_of(error: pytest.ExceptionInfo[HilumError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    assert len(text) < 700
    return text


@pytest.mark.parametrize("mistake", NIH_MISTAKES)
def test_nih_rows(nih: Any, mistake: str) -> None:
    edit, words = NIH_MISTAKES[mistake]
    with pytest.raises(DataError, match=words) as error:
        read_source("nih14", nih(edit(nih.rows[0])))
    line_of(error)


def test_nih_missing_column(nih: Any) -> None:
    header = nih.header.replace("Finding Labels", "Finding Label")
    with pytest.raises(
        DataError, match=r"no column 'Finding Labels'.*Did you mean 'Finding Label'"
    ) as error:
        read_source("nih14", nih(header=header))
    line_of(error)


@pytest.mark.parametrize("mistake", CHEXPERT_MISTAKES)
def test_chexpert_rows(chexpert: Any, mistake: str) -> None:
    edit, words = CHEXPERT_MISTAKES[mistake]
    with pytest.raises(DataError, match=words) as error:
        read_source("chexpert", chexpert(edit(chexpert.rows[0])))
    line_of(error)


@pytest.mark.parametrize("mistake", HEADER_MISTAKES)
def test_chexpert_header(chexpert: Any, mistake: str) -> None:
    (old, new), words = HEADER_MISTAKES[mistake]
    header = chexpert.header.replace(old, new)
    with pytest.raises(DataError, match=words) as error:
        read_source("chexpert", chexpert(header=header))
    line_of(error)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"Path,Edema", "no rows"),
        (b"Path,Edema\n", "no rows"),
        (b"Path,Edema\na\0b,1\n", "byte 12 is NUL"),
        (
            b"PK\x03\x04\x14\0\x06\0",
            "is an Excel workbook or another packed file and no CSV: save its",
        ),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "is an Excel workbook and no CSV"),
        (b"PAR1\x15\x04", "is a Parquet file and no CSV"),
        (b'\n<?xml version="1.0"?>\n<annotations>', "is XML and no CSV"),
        (b"<!DOCTYPE html>\n<html>", "is a web page and no CSV"),
        (b'[\n  {"image": "x.png"}]', "is JSON and no CSV"),
        (b"# made by x\nPath,Edema\nx,1\n", "no regular CSV .* title or a remark: take out"),
        (b"Path,Edema\n" + b"x" * 1_000_001 + b",1\n", "more than 1 MB in line 2"),
        (b"Path,Edema," + b"x," * 500_001, "more than 1 MB in line 1"),
        (b"Path\n" + b"x\n" * 400_000 + b"y" * 1_000_002, "more than 1 MB in line 400002"),
        (b",".join(b"c%d" % number for number in range(10_001)) + b"\n1\n", "10001 columns"),
        (b'Path,Edema\nx,1\ny,"0\nz,1\n', "a quote that is never closed"),
        (b"Path,Edema\n,\n , \nnan,NA\n", "only empty rows"),
        (b"\xff\xfeP\0a\0\0", "damaged UTF-16"),
        ("Path,Edema\n\xfcber.png,1\n".encode("latin-1"), r"no UTF-8 text \(line 2\)"),
        ("Path,Edema\nx,1\n".encode("utf-16"), "is not of CheXpert's form"),
        ("Path,Edema\nx,1\n".encode("utf-16-le"), "NUL"),
        ("Path,Edema\nx,1\n".encode("utf-32"), "NUL"),
        (b'Path,Edema\n"never closed,1\n', "no regular CSV|not of CheXpert's form|no rows"),
    ],
)
def test_a_table_that_is_no_table(chexpert: Any, content: bytes, words: str) -> None:
    root = chexpert()
    (root / "train.csv").write_bytes(content)
    with pytest.raises(DataError, match=words) as error:
        read_source("chexpert", root)
    line_of(error)


@pytest.mark.parametrize("source", SOURCES)
def test_a_wrong_root(tmp_path: Path, source: str, touch: Any) -> None:
    with pytest.raises(DataError, match="looked for") as error:
        read_source(source, tmp_path)
    line_of(error)
    with pytest.raises(DataError, match="does not exist") as error:
        read_source(source, tmp_path / "nowhere")
    line_of(error)
    touch(tmp_path, "file")
    with pytest.raises(DataError, match="is a file") as error:
        read_source(source, tmp_path / "file")
    line_of(error)


@pytest.mark.parametrize("source", ["nih14", "chexpert"])
def test_the_folder_above_is_hinted_at(nih: Any, chexpert: Any, source: str) -> None:
    root = {"nih14": nih, "chexpert": chexpert}[source]()
    with pytest.raises(DataError, match=f"Did you mean '{root}'"):
        read_source(source, root.parent)


def test_an_unknown_source() -> None:
    with pytest.raises(OptionError, match=r"unknown source 'chexprt'.*Did you mean 'chexpert'"):
        read_source("chexprt", ".")


FOLDER_TABLE = "path,who,class,Edema\n1.png,a,Edema,1\n2.png,b,normal,0\n"
FOLDER_MISTAKES: dict[str, tuple[dict[str, Any], str, str]] = {
    "missing column": (
        {"patient_column": "whom"},
        "",
        "no column 'whom'.*give --patient-column.*Did you mean 'who'",
    ),
    "no path column": (
        {},
        "Bild,who\n1.png,a\n",
        "no column 'path': it has Bild, who: give --path-column",
    ),
    "a title above the header": (
        {},
        "Export of May,,\npath,who,class\n1.png,a,b\n",
        "no column 'path'.*title or a remark: take out what lies above",
    ),
    "no label column": ({"label_column": "kind"}, "", "no column 'kind'.*give --label-column"),
    "no finding column": (
        {"finding_columns": ("Edema", "Mass")},
        "",
        "no column 'Mass'.*give --finding-columns",
    ),
    "missing table": ({"csv": "tt.csv"}, "", "no table 'tt.csv'.*Did you mean 't.csv'"),
    "table outside": ({"csv": "../x.csv"}, "", "leaves the root"),
    "two kinds of labels": (
        {"finding_columns": ("Edema",), "label_column": "class"},
        "",
        "exclude each other",
    ),
    "labels twice": ({"class_folders": True}, "", "exclude each other"),
    "patients twice": (
        {"patient_column": "who", "patient_pattern": "(a)"},
        "",
        "exclude each other",
    ),
    "no separator": ({"label_column": "class", "separator": ""}, "", "separator ''"),
    "needs a table": ({"csv": "", "label_column": "class"}, "", "needs a table"),
    "bad pattern": ({"patient_pattern": "("}, "", "no regular expression"),
    "no group": ({"patient_pattern": "a"}, "", "has 0 groups"),
    "pattern misses": (
        {"patient_pattern": "x(y)"},
        "",
        "finds no patient in 2 paths, first '1.png'",
    ),
    "mapping misses": (
        {"label_column": "class", "mapping": {"Edma": "x"}},
        "",
        "'Edma', which does not.*'Edema'",
    ),
    "one finding twice": (
        {"finding_columns": ("Edema", "class"), "mapping": {"class": "oedema"}},
        "",
        "two columns are the finding 'Edema'",
    ),
    "a reserved name": (
        {"finding_columns": ("Edema",), "mapping": {"Edema": "age"}},
        "",
        "finding 'age' has a name",
    ),
    "only normal": (
        {"label_column": "class"},
        "path,class\n1.png,normal\n",
        "names no finding, only 'normal'",
    ),
    "no label": ({"finding_columns": ("who",)}, "", "'a' in column 'who' is not a label"),
    "no part": ({"part_column": "who"}, "", "'a' in column 'who' is not a split.*--split-values"),
    "empty patient": (
        {"patient_column": "who"},
        "path,who\n1.png,a\n2.png, \n",
        "'who' is empty, first in line 3",
    ),
    "two rows": ({}, "path,who\n1.png,a\n./1.png,b\n", "line 3: '1.png' has two rows"),
    "climbs out": ({}, "path,who\n1.png,a\nx/../../1.png,b\n", "line 3.*leaves the root"),
    "the root itself": ({}, "path,who\nx/..,a\n", "leaves the root"),
    "nothing there": (
        {},
        "path,who\n8.png,a\n9.png,b\n",
        "no film is left of 2 rows.*2 not on disk",
    ),
}


@pytest.mark.parametrize("mistake", FOLDER_MISTAKES)
def test_folder(films: Any, mistake: str) -> None:
    options, table, words = FOLDER_MISTAKES[mistake]
    root = films("1.png", "2.png", table=table or FOLDER_TABLE)
    with pytest.raises(HilumError, match=words) as error:
        read_source("folder", root, **{"csv": "t.csv", **options})
    line_of(error)


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("many", [1, 20])
def test_a_link_out_of_the_root_is_refused_and_one_inside_followed(
    films: Any, tmp_path: Path, deep: bool, many: int, touch: Any
) -> None:
    touch(tmp_path, *(f"secret/{number}.png" for number in range(many)))
    root = films(*(f"real/{number}.png" for number in range(many)))
    (root / "t.csv").write_text("path\n" + "".join(f"in/{number}.png\n" for number in range(many)))
    (root / "in").symlink_to("real")
    assert len(read_source("folder", root, csv="t.csv").table) == many
    (root / "in").unlink()
    if deep:
        (root / "in").symlink_to(tmp_path / "secret")
    else:
        (root / "in").mkdir()
        for number in range(many):
            (root / "in" / f"{number}.png").symlink_to(tmp_path / "secret" / f"{number}.png")
    with pytest.raises(DataError, match=r"symbolic link: path 'in.*leaves the root") as error:
        read_source("folder", root, csv="t.csv")
    line_of(error)


def test_a_folder_or_dangling_link_in_a_films_place_is_not_on_disk(films: Any) -> None:
    root = films("1.png", "2.png/x", table="path\n1.png\n2.png\n3.png\n1.png/4.png\n")
    (root / "3.png").symlink_to("nowhere")
    assert read_source("folder", root, csv="t.csv").excluded == {"not on disk": 3}


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    place=st.integers(0, 10_000),
    junk=st.binary(max_size=6),
    cut=st.integers(0, 12),
    source=st.sampled_from(["nih14", "chexpert"]),
)
def test_mutated_tables_are_read_or_refused_in_one_line(
    nih: Any, chexpert: Any, place: int, junk: bytes, cut: int, source: str
) -> None:
    root, name = (
        (nih(), "Data_Entry_2017_v2020.csv") if source == "nih14" else (chexpert(), "train.csv")
    )
    content = (root / name).read_bytes()
    place %= len(content)
    (root / name).write_bytes(content[:place] + junk + content[place + cut :])
    try:
        catalog = read_source(source, root)
        refusal = ""
        assert catalog.rows_read == len(catalog.table) + sum(catalog.excluded.values())
    except HilumError as error:
        refusal = str(error)
    assert "\n" not in refusal
