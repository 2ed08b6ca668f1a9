"""Heatmaps as pictures: alone, and over the film."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.arrays import FloatArray
from hilum.images.enhance import FITS, Preparation

LEAST_SIDE = 256
"""Least pixels of a picture's shorter side; smaller films are shown enlarged."""
LAYER_SIDE = 512
"""Most pixels a side of a layer of heat; heat is smooth, so a viewer may enlarge it."""
_STRONGEST = 0.65  # opacity where the heat is 1, so that the film stays visible below
# Inferno: equal steps of heat look equally large, also in grey print and to the colour-blind.
# OpenCV gives BGR.
_INFERNO: NDArray[np.uint8] = np.asarray(
    cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_INFERNO)[:, 0, ::-1],
    dtype=np.uint8,
)


def overlay(film: NDArray[np.uint8], heat: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Return the film with the heat in colour over it; without heat the film is unchanged.

    Args:
        film: Grey [H, W].
        heat: [H, W] or any other size of the same proportions, from 0 to 1.

    Returns:
        RGB [h, w, 3], the shorter side at least 256 pixels.

    Raises:
        ValueError: The film is not uint8 [H, W], or the heat is not [H, W] from 0 to 1.
    """
    if film.ndim != 2 or film.dtype != np.uint8:
        raise ValueError(f"film must be uint8 [H, W], got {film.dtype} {film.shape}")
    height, width = picture_size(*film.shape)
    strength = _enlarged_heat(heat, height, width)
    grey = cv2.resize(film, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.float32)[
        ..., None
    ]
    opacity = _STRONGEST * strength[..., None]
    return _to_uint8((1.0 - opacity) * grey + opacity * _coloured(strength))


def over_original(
    heat: FloatArray, preparation: Preparation, height: int, width: int
) -> FloatArray:
    """Return a heatmap of the prepared square over the original image, float32 [height, width]."""
    size = preparation.size
    inner = FITS[preparation.fit](height, width, size)  # without the black margins of "pad"
    top, left = (size - inner[0]) // 2, (size - inner[1]) // 2
    square = _resized(heat, size, size)
    return _resized(square[top : top + inner[0], left : left + inner[1]], height, width)


def heat_layer(heat: FloatArray, preparation: Preparation, height: int, width: int) -> bytes:
    """Return a heatmap as a PNG to lie over the original image: colours, the more opaque the hotter.

    Args:
        heat: Over the prepared square, from 0 to 1.
        preparation: How the film was prepared.
        height: Of the original image; the picture has its proportions, and at most LAYER_SIDE pixels a side.
        width: Of the original image.
    """
    factor = min(1.0, LAYER_SIDE / max(height, width))
    shape = max(1, round(height * factor)), max(1, round(width * factor))
    strength = np.clip(over_original(heat, preparation, *shape), 0.0, 1.0)
    layer = np.dstack([_to_uint8(_coloured(strength))[:, :, ::-1], _to_uint8(255 * strength)])
    _, data = cv2.imencode(".png", np.ascontiguousarray(layer))  # OpenCV writes BGRA
    return data.tobytes()


def heatmap_image(heat: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Return the heat [H, W] from 0 to 1 in colour, RGB [h, w, 3], at least 256 pixels a side.

    Raises:
        ValueError: The heat is not [H, W] from 0 to 1.
    """
    return _to_uint8(_coloured(_enlarged_heat(heat, *picture_size(*heat.shape[:2]))))


def picture_size(height: int, width: int) -> tuple[int, int]:
    """Return a picture's size: the film's, or the least multiple with sides of 256 pixels.

    >>> picture_size(64, 64), picture_size(224, 224), picture_size(320, 300)
    ((256, 256), (448, 448), (320, 300))
    """
    factor = -(-LEAST_SIDE // min(height, width))
    return height * factor, width * factor


def enlarged(film: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a grey film [H, W] at its picture's size."""
    height, width = picture_size(*film.shape)
    return np.asarray(cv2.resize(film, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def write_picture(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write a grey [H, W] or RGB [H, W, 3] picture as PNG."""
    coloured = picture if picture.ndim == 2 else picture[:, :, ::-1]  # OpenCV writes BGR
    done, data = cv2.imencode(".png", np.ascontiguousarray(coloured))
    if not done:
        raise ValueError(f"a picture of shape {picture.shape} cannot be written as PNG")
    path.write_bytes(data.tobytes())


def _enlarged_heat(heat: NDArray[np.floating], height: int, width: int) -> FloatArray:
    if heat.ndim != 2 or not heat.size or not (np.min(heat) >= 0.0 and np.max(heat) <= 1.0):
        raise ValueError(f"heat must be [H, W] from 0 to 1, got {heat.shape}")
    resized = cv2.resize(
        np.asarray(heat, dtype=np.float32), (width, height), interpolation=cv2.INTER_LINEAR
    )
    return np.asarray(resized, dtype=np.float32)


def _coloured(strength: FloatArray) -> NDArray[np.uint8]:
    colours: NDArray[np.uint8] = _INFERNO[np.rint(strength * 255.0).astype(np.uint8)]
    return colours


def _to_uint8(picture: NDArray[np.floating] | NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def _resized(heat: FloatArray, height: int, width: int) -> FloatArray:
    if heat.shape == (height, width):
        return heat
    return np.asarray(cv2.resize(heat, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
