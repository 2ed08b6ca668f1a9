"""The picture of a method's crops on the page: its bytes as they are, and a label above each group of its columns."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from hilum.arrays import BoolArray
from hilum.errors import DataError

APART = 8
"""Transparent columns between groups are at least so many; between pictures of a group there are
fewer."""


@dataclass(frozen=True)
class CropPicture:
    """A ``data:`` address, the width in pixels, and each group of columns: its label and its width in pixels."""

    address: str
    width: int
    groups: tuple[tuple[str, int], ...]


def crop_picture(data: bytes, name: str) -> CropPicture:
    """Return the picture that ``hilum.workflows.train.crop_grid`` wrote, for the page.

    Raises:
        DataError: The bytes are no such picture.
    """
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    if picture is None or picture.ndim != 3 or picture.shape[2] != 4:
        raise DataError(
            f"{name} is not the picture that pretraining wrote: delete it and build the page again."
        )
    widths = _group_widths(np.asarray(picture[0, :, 3] > 0))
    address = "data:image/png;base64," + b64encode(data).decode()
    # Above the groups: the film, then its crops from large to small.
    crops = {2: ["crops"], 3: ["large crops", "small crops"]}
    several = [f"crops {number}" for number in range(1, len(widths))]
    labels = ["whole film", *crops.get(len(widths), several)]
    return CropPicture(address, picture.shape[1], tuple(zip(labels, widths, strict=True)))


def _group_widths(opaque: BoolArray) -> list[int]:
    """Return how wide each group is, with the gap that follows it."""
    columns = np.flatnonzero(opaque)
    begins = [0, *(int(columns[place + 1]) for place in np.flatnonzero(np.diff(columns) > APART))]
    return [end - begin for begin, end in pairwise([*begins, len(opaque)])]
