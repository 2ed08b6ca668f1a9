"""Boxes of findings on NIH ChestX-ray14: the set's own, and the RSNA challenge's of 2018.

Both are drawn in a frame of 1,024 pixels, whatever the size of the films at hand, so they are given
as shares of it.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hilum.errors import DataError
from hilum.findings import canonical
from hilum.sources.tables import FIRST_ROW, show

OWN = "BBox_List_2017.csv"
"""The set's own boxes: 984 of eight findings (Wang 2017, arXiv 1705.02315, section 3.3)."""
OPACITIES = "rsna_boxes.csv"
"""Boxes of Lung Opacity in the RSNA Pneumonia Detection Challenge of 2018, by these films'
names."""
FRAME = 1024
"""Pixels of the frame that boxes are drawn in, unless a column ``frame_px`` says another."""
_CELLS = 6  # name, finding, x, y, width, height


@dataclass(frozen=True)
class Box:
    """A finding's box, its sides as shares of the film's width and height."""

    finding: str
    left: float
    top: float
    right: float
    bottom: float


def read_boxes(root: Path) -> dict[str, list[Box]]:
    """Return the boxes of each film by its file name; none where neither table is there.

    Raises:
        DataError: A line is no box of a known finding.
    """
    boxes: dict[str, list[Box]] = {}
    for name in (OWN, OPACITIES):
        for film, box in _read(root / name):
            boxes.setdefault(film, []).append(box)
    return boxes


def _read(path: Path) -> Iterator[tuple[str, Box]]:
    if not path.is_file():
        return
    try:
        lines = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is no table of boxes ({error!s:.60}): get it again.") from error
    # Read by position: the set's own header ends in commas that its rows lack, and splits "Bbox
    # [x,y,w,h]" into four.
    frames = lines[0].index("frame_px") if lines and "frame_px" in lines[0] else None
    for number, cells in enumerate(lines[1:], start=FIRST_ROW):
        if cells:
            yield cells[0].strip(), _box(cells, frames, f"{path.name}, line {number}")


def _box(cells: list[str], frames: int | None, where: str) -> Box:
    """Return one line's box.

    Raises:
        DataError: It is none.
    """
    finding = canonical(cells[1]) if len(cells) >= _CELLS else None
    try:
        x, y, width, height = (float(cell) for cell in cells[2:_CELLS])
        frame = FRAME if frames is None else float(cells[frames])
    except (ValueError, IndexError):
        x = y = width = height = frame = math.nan
    if finding is None or not (
        min(width, height, frame) > 0 and all(map(math.isfinite, (x, y, width, height, frame)))
    ):
        raise DataError(
            f"{where}: {show(','.join(cells))} is no box: needed are film, finding, x, y, width, height."
        )
    return Box(finding, x / frame, y / frame, (x + width) / frame, (y + height) / frame)
