"""Pictures inside a page: films and heatmaps as data, outlines of findings as paths over them."""

from __future__ import annotations

from base64 import b64encode

import cv2
import numpy as np

from hilum.arrays import BoolArray
from hilum.errors import DataError

QUALITY = 88
"""Of JPEG; heatmaps are smooth, films noisy, and a page holds dozens."""


def as_jpeg(data: bytes, name: str, side: int = 0) -> str:
    """Return an image file as a ``data:`` address of a JPEG, enlarged to at least ``side`` pixels.

    Raises:
        DataError: The bytes are no image.
    """
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    if picture is None:
        raise DataError(f"{name} is no image: make the folder's content again.")
    factor = -(-side // min(picture.shape[:2]))
    if factor > 1:
        picture = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    _, coded = cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, QUALITY))
    return "data:image/jpeg;base64," + b64encode(coded.tobytes()).decode()


def outline(mask: BoolArray) -> str:
    """Return the outline of a mask [H, W] as an SVG path in a frame of 100 x 100, empty for an empty mask."""
    height, width = mask.shape
    # Enlarged first, which rounds the steps between pixels; a thin line would else run along their
    # centres, twice.
    soft = cv2.resize(
        mask.astype(np.float32), (width * 4, height * 4), interpolation=cv2.INTER_LINEAR
    )
    enlarged = (soft > 0.4).astype(np.uint8)
    contours, _ = cv2.findContours(enlarged, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    across, down = 100 / (width * 4), 100 / (height * 4)
    paths = []
    for contour in contours:
        points = np.asarray(contour[:, 0, :], np.int64).tolist()
        steps = [f"{(x + 0.5) * across:.4g} {(y + 0.5) * down:.4g}" for x, y in points]
        paths.append("M" + "L".join(steps) + "Z")
    return "".join(paths)
