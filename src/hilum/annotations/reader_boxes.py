"""Boxes of two sets of DICOM films: those of the RSNA challenge of 2018, and of VinDr-CXR's readers."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from hilum.annotations.nih14_boxes import FRAME, Box
from hilum.errors import DataError
from hilum.findings import canonical
from hilum.sources import rsna, vindr
from hilum.sources.tables import FIRST_ROW

Size = tuple[int, int]
"""Height and width of a film in pixels."""
AGREEING = 2
"""Readers of a film who must have drawn a finding for its boxes to count."""


def reader_boxes(root: Path, sizes: Mapping[str, Size]) -> dict[str, list[Box]]:
    """Return the boxes of each film by its file name; none where neither set's table is there.

    Args:
        root: The set's folder.
        sizes: Of the films by their file names, for VinDr-CXR's boxes are in their pixels.

    Raises:
        DataError: A line is no box.
    """
    if (root / rsna.TABLE).is_file():
        return _rsna(root / rsna.TABLE)
    tables = [root / name for name in (*vindr.TRAIN, *vindr.TEST) if (root / name).is_file()]
    boxes: dict[str, list[Box]] = {}
    for table in tables:
        boxes |= _vindr(table, sizes)
    return boxes


def _rsna(table: Path) -> dict[str, list[Box]]:
    boxes: dict[str, list[Box]] = defaultdict(list)
    for line, cells in _lines(table, ("patientId", "x", "y", "width", "height")):
        if cells["x"]:
            left, top, width, height = _numbers(cells, ("x", "y", "width", "height"), line, table)
            ends = (left, top, left + width, top + height)
            box = _box(rsna.OPACITY, ends, (FRAME, FRAME), line, table)
            boxes[f"{cells['patientId'].strip()}.dcm"].append(box)
    return dict(boxes)


def _vindr(table: Path, sizes: Mapping[str, Size]) -> dict[str, list[Box]]:
    by_stem = {name.rpartition(".")[0] or name: name for name in sizes}
    drawn: dict[tuple[str, str], list[Box]] = defaultdict(list)
    readers: dict[tuple[str, str], set[str]] = defaultdict(set)
    for line, cells in _lines(
        table, ("image_id", "class_name", "x_min", "y_min", "x_max", "y_max")
    ):
        film = by_stem.get(cells["image_id"].strip())
        if not cells["x_min"] or film is None:
            continue
        finding = canonical(cells["class_name"]) or cells["class_name"].strip()
        ends = _numbers(cells, ("x_min", "y_min", "x_max", "y_max"), line, table)
        drawn[film, finding].append(_box(finding, ends, sizes[film], line, table))
        readers[film, finding].add(cells.get("rad_id", ""))
    boxes: dict[str, list[Box]] = defaultdict(list)
    for (film, finding), of_finding in drawn.items():
        if "" in readers[film, finding] or len(readers[film, finding]) >= AGREEING:
            boxes[film] += of_finding
    return dict(boxes)


def _lines(table: Path, needed: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.DictReader(file)
            if not set(needed) <= set(lines.fieldnames or ()):
                raise DataError(f"{table} is no table of boxes: needed are {', '.join(needed)}.")
            for number, cells in enumerate(lines, start=FIRST_ROW):
                yield number, {name: cell or "" for name, cell in cells.items() if name}
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table} is no table of boxes ({error!s:.60}): get it again.") from error


def _numbers(
    cells: Mapping[str, str], names: tuple[str, ...], line: int, table: Path
) -> tuple[float, ...]:
    try:
        return tuple(float(cells[name]) for name in names)
    except ValueError as error:
        raise _no_box(line, table) from error


def _box(
    finding: str, ends: tuple[float, ...], size: tuple[int, int], line: int, table: Path
) -> Box:
    left, top, right, bottom = ends
    if not all(map(math.isfinite, ends)) or right <= left or bottom <= top:
        raise _no_box(line, table)
    height, width = size
    return Box(finding, left / width, top / height, right / width, bottom / height)


def _no_box(line: int, table: Path) -> DataError:
    return DataError(
        f"{table.name}, line {line} is no box: its sides must be numbers, the ends above the beginnings."
    )
