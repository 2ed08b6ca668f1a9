"""Hand-made features of a film for linear baselines: brightness of cells, and their small bright and dark details.

A region of the film may be masked. No masked pixel enters the features: brightness is relative to
the mean and the standard deviation of the visible region, and details to their visible
surroundings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.arrays import BoolArray, FloatArray
from hilum.images.resize import resize

SIDE = 64
"""Largest side in pixels at which films are read."""
BRIGHTNESS_CELLS, DETAIL_CELLS = 16, 8
"""Cells in a row."""
_SURROUNDINGS = 9  # pixels of the square that a pixel is compared with, of 64
_SMALL = 5  # pixels of the square that a small detail does not fill, of 64
_BEYOND = np.float32(1e3)  # standard deviations: brighter than any pixel
_FILMS = 512  # read and reduced at a time


def everything(side: int) -> BoolArray:
    """Return a mask in which all pixels are visible, bool [side, side]."""
    return np.ones((side, side), np.bool_)


def frame(side: int, fraction: float) -> BoolArray:
    """Return a mask with a visible frame of width ``fraction`` of the side, bool [side, side]."""
    visible, width = everything(side), max(round(fraction * side), 1)
    visible[width : side - width, width : side - width] = False
    return visible


def border(side: int, fraction: float, corner: float) -> BoolArray:
    """Return a frame as ``frame`` does, with both upper corners to ``corner`` of the side, bool [side, side]."""
    visible, width = frame(side, fraction), round(corner * side)
    visible[:width, :width] = visible[:width, side - width :] = True
    return visible


def cell_features(films: NDArray[np.uint8], visible: BoolArray) -> FloatArray:
    """Return brightness and small details of all cells with visible pixels.

    Args:
        films: uint8 [n, S, S].
        visible: bool [S, S], pixels that may be used.

    Returns: float32 [n, D], in standard deviations of the visible region: the mean of each of up to
        16 x 16 cells; then of each of up to 8 x 8 cells the highest and the lowest difference of a
        pixel from its surroundings, and the contrast of the brightest small detail and of the
        darkest (white and black top-hat, which ignore edges).
    """
    grey = standardised(films, visible)
    detail = np.where(visible, _detail(grey, visible), 0)
    bright, dark = _small_details(grey, visible), _small_details(-grey, visible)
    shown = _by_cell(visible[None], DETAIL_CELLS, np.maximum)[0] > 0
    extremes = [
        _by_cell(values, DETAIL_CELLS, np.maximum)[:, shown]
        for values in (detail, -detail, bright, dark)
    ]
    return np.concatenate([_cell_means(grey, visible), *extremes], axis=1)


def thumbnail_features(films: NDArray[np.uint8], side: int) -> FloatArray:
    """Return films uint8 [n, S, S] as thumbnails, each standardised, float32 [n, side * side]."""
    small = np.stack([resize(film, side, side) for film in films])
    return standardised(small, everything(side)).reshape(len(films), -1)


def standardised(films: NDArray[np.uint8], visible: BoolArray) -> FloatArray:
    """Return films float32 [n, S, S] less the mean of the visible region, over its standard deviation."""
    grey = films.astype(np.float32)
    seen = grey[:, visible]  # [n, v]
    mean, spread = seen.mean(axis=1), np.maximum(seen.std(axis=1), 1.0)
    return np.asarray((grey - mean[:, None, None]) / spread[:, None, None], np.float32)


def at_reading_size(films: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return films uint8 [n, S, S] at SIDE pixels where they are larger."""
    if films.shape[1] <= SIDE:
        return films
    return np.stack([resize(film, SIDE, SIDE) for film in films])


def over_stored(
    read: Callable[[NDArray[np.int64]], NDArray[np.uint8]],
    rows: NDArray[np.int64],
    reduce: Callable[[NDArray[np.uint8]], FloatArray],
) -> Iterator[FloatArray]:
    """Yield ``reduce`` of the films of these rows, block by block, read at SIDE pixels at most."""
    for start in range(0, len(rows), _FILMS):
        yield reduce(at_reading_size(read(rows[start : start + _FILMS])))


def _cell_means(grey: FloatArray, visible: BoolArray) -> FloatArray:
    """Return the mean of each cell's visible pixels of films [n, S, S], where it has any."""
    sums = _by_cell(np.where(visible, grey, 0), BRIGHTNESS_CELLS, np.add)
    pixels = _by_cell(visible[None].astype(np.float32), BRIGHTNESS_CELLS, np.add)[0]
    return np.asarray(sums[:, pixels > 0] / pixels[pixels > 0], np.float32)


def _detail(grey: FloatArray, visible: BoolArray) -> FloatArray:
    """Return films [n, S, S] less the mean of the visible pixels around."""
    side = _pixels(_SURROUNDINGS, visible)
    seen = visible.astype(np.float32)
    around = np.maximum(cv2.boxFilter(seen, -1, (side, side)), 1e-6)
    blurred = np.stack([cv2.boxFilter(film * seen, -1, (side, side)) for film in grey])
    return np.asarray(grey - blurred / around, np.float32)


def _small_details(grey: FloatArray, visible: BoolArray) -> FloatArray:
    """Return the white top-hat of films [n, S, S]: bright details smaller than a square; 0 where masked."""
    square = np.ones(2 * [_pixels(_SMALL, visible)], np.uint8)
    eroded = [cv2.erode(np.where(visible, film, _BEYOND), square) for film in grey]
    opened = np.stack([cv2.dilate(np.where(visible, film, -_BEYOND), square) for film in eroded])
    return np.asarray(np.where(visible, grey - opened, 0), np.float32)


def _pixels(of_64: int, visible: BoolArray) -> int:
    """Return a length as an odd number of pixels of these films."""
    return max(round(of_64 * len(visible) / SIDE), 3) | 1


def _by_cell(films: NDArray[np.generic], cells: int, join: np.ufunc) -> FloatArray:
    """Join the pixels of each cell of films [n, S, S], [n, cells * cells]; a pixel a cell where they are fewer."""
    side = films.shape[1]
    starts = np.unique(np.arange(min(cells, side)) * side // min(cells, side))
    rows = join.reduceat(films, starts, axis=1)
    return np.asarray(join.reduceat(rows, starts, axis=2), np.float32).reshape(len(films), -1)
