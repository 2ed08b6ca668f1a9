"""Mutated tables: reading and preparing never crash or hang; one line says what is wrong, or each row is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from hilum.catalog import Catalog
from hilum.errors import HilumError
from hilum.findings import CHEXPERT
from hilum.images.store import Store
from hilum.sources import read_source
from hilum.workflows.prepare.prepare import PrepareOptions, prepare

FILMS = 12
Mutation = Callable[[bytearray, np.random.Generator], bytes]


def draw(file: Path, number: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(
        str(file), np.random.default_rng(number).integers(0, 256, (16, 16)).astype(np.uint8)
    )


def folder_set(root: Path) -> tuple[Path, dict[str, Any]]:
    """Write a folder with a table of one's own; return the table and the options to read it by."""
    lines = ["path,who,visit,position,sex,age,Edema,Hernia"]
    for number in range(FILMS):
        draw(root / f"films/{number}.png", number)
        lines.append(
            f"films/{number}.png,p{number // 2},{number},{('PA', 'AP', '')[number % 3]},F,{40 + number},1,0"
        )
    (root / "table.csv").write_text("\n".join(lines) + "\n")
    columns = {"patient": "who", "study": "visit", "view": "position", "sex": "sex", "age": "age"}
    options: dict[str, Any] = {f"{name}_column": column for name, column in columns.items()}
    return root / "table.csv", {
        **options,
        "csv": "table.csv",
        "finding_columns": ("Edema", "Hernia"),
    }


def nih14_set(root: Path) -> tuple[Path, dict[str, Any]]:
    """Write a folder in the layout of ChestX-ray14."""
    lines = [
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
        "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
    ]
    names = [f"{number // 2:08d}_{number % 2:03d}.png" for number in range(FILMS)]
    for number, name in enumerate(names):
        draw(root / "images" / name, number)
        label = ("No Finding", "Effusion|Hernia", "Mass")[number % 3]
        lines.append(
            f"{name},{label},{number % 2},{number // 2},{50 + number},M,PA,2500,2048,0.168,0.168"
        )
    (root / "Data_Entry_2017_v2020.csv").write_text("\n".join(lines) + "\n")
    (root / "train_val_list.txt").write_text("\n".join(names[:8]) + "\n")
    (root / "test_list.txt").write_text("\n".join(names[8:]) + "\n")
    return root / "Data_Entry_2017_v2020.csv", {}


def chexpert_set(root: Path) -> tuple[Path, dict[str, Any]]:
    """Write a folder in the layout of CheXpert."""
    header = ",".join(["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *CHEXPERT])
    for part, films in (("train", range(FILMS)), ("valid", range(FILMS, FILMS + 4))):
        lines = [header]
        for number in films:
            place = f"{part}/patient{number // 2:05d}/study1/view{number % 2 + 1}_frontal.jpg"
            draw(root / place, number)
            labels = ",".join(
                ("", "1.0", "0.0", "-1.0")[(number + column) % 4]
                for column in range(len(CHEXPERT) - 1)
            )
            lines.append(f"CheXpert-v1.0-small/{place},Female,{number},Frontal,AP,,{labels}")
        (root / f"{part}.csv").write_text("\n".join(lines) + "\n")
    return root / "train.csv", {}


SETS = {"folder": folder_set, "nih14": nih14_set, "chexpert": chexpert_set}


def flip_bits(data: bytearray, rng: np.random.Generator) -> bytes:
    for place in rng.integers(0, len(data), rng.integers(1, 5)):
        data[place] ^= 1 << rng.integers(8)
    return bytes(data)


def cut(data: bytearray, rng: np.random.Generator) -> bytes:
    return bytes(data[: rng.integers(0, len(data))])


def leave_out(data: bytearray, rng: np.random.Generator) -> bytes:
    start, length = rng.integers(0, len(data)), rng.integers(1, 60)
    return bytes(data[:start] + data[start + length :])


def repeat(data: bytearray, rng: np.random.Generator) -> bytes:
    start, end = sorted(rng.integers(0, len(data), 2))
    return bytes(data[:end] + data[start:])


def put_in(data: bytearray, rng: np.random.Generator) -> bytes:
    tokens = (
        b",",
        b'"',
        b"\n",
        b"\r",
        b"\0",
        b"\xff",
        b"../",
        b"/",
        b"nan",
        b"1e999",
        b"-",
        b"|",
        b";",
        b"\xef\xbb\xbf",
        b"=",
    )
    for place in rng.integers(0, len(data), rng.integers(1, 4)):
        data[place:place] = tokens[rng.integers(len(tokens))]
    return bytes(data)


def shuffle_lines(data: bytearray, rng: np.random.Generator) -> bytes:
    lines = bytes(data).splitlines(keepends=True)
    return b"".join(
        lines[place] for place in rng.permutation(len(lines))[: rng.integers(1, len(lines) + 1)]
    )


def swap_cells(data: bytearray, rng: np.random.Generator) -> bytes:
    rows = [line.split(b",") for line in bytes(data).splitlines()]
    row, other = rng.integers(0, len(rows), 2)
    cell = rng.integers(0, min(len(rows[row]), len(rows[other])))
    rows[row][cell], rows[other][cell - 1] = rows[other][cell - 1], rows[row][cell]
    return b"\n".join(b",".join(cells) for cells in rows) + b"\n"


def other_encoding(data: bytearray, rng: np.random.Generator) -> bytes:
    return bytes(data).decode().encode(rng.choice(["utf-16", "utf-32", "cp037"]))


MUTATIONS: tuple[Mutation, ...] = (
    flip_bits,
    cut,
    leave_out,
    repeat,
    put_in,
    shuffle_lines,
    swap_cells,
    other_encoding,
)


def read_or_refusal(source: str, root: Path, options: dict[str, Any]) -> Catalog | str:
    """Return the catalogue, or the line that refuses the table."""
    try:
        return read_source(source, root, **options)
    except HilumError as error:
        return str(error)


def read_mutants(root: Path, source: str, count: int, seed: int, prepared: int) -> None:
    """Read so many mutants of a source's table, and prepare every few of those that can be read."""
    table, options = SETS[source](root / "set")
    original, rng, seen = table.read_bytes(), np.random.default_rng(seed), Counter[str]()
    for number in range(count):
        table.write_bytes(MUTATIONS[number % len(MUTATIONS)](bytearray(original), rng))
        catalog = read_or_refusal(source, root / "set", options)
        if isinstance(catalog, str):
            seen["refused"] += 1
            assert "\n" not in catalog
            assert len(catalog) < 1000
            continue
        seen["read"] += 1
        assert catalog.rows_read == len(catalog.table) + sum(catalog.excluded.values())
        if seen["read"] % prepared == 1:
            result = prepare(catalog, root / f"store-{number}", PrepareOptions(8, workers=1))
            assert catalog.rows_read == result.rows_kept + sum(result.rows_excluded.values()) + sum(
                result.rows_failed.values()
            )
            assert len(Store.open(result.store)) == result.rows_kept
    assert seen["refused"] > 0
    assert seen["read"] > 0


@pytest.mark.parametrize("source", SETS)
def test_mutated_tables(tmp_path: Path, source: str) -> None:
    read_mutants(tmp_path, source, 170, seed=0, prepared=20)


@pytest.mark.torture
@pytest.mark.parametrize("source", SETS)
def test_many_mutated_tables(tmp_path: Path, source: str) -> None:
    read_mutants(tmp_path, source, 1700, seed=1, prepared=50)
