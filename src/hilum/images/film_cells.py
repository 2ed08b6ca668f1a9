"""What a simple reader takes from a film: how bright each cell is, and the brightest and darkest detail in it.

A part of the film may be hidden. Nothing of what is hidden reaches the numbers: brightness is taken against the mean
and the standard deviation of the visible part, and detail against its visible surroundings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.images.enhance import resize

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]

SIDE = 64
"""Pixels of the side that films are read at, at most."""
BRIGHTNESS_CELLS, DETAIL_CELLS = 16, 8
"""Cells in a row."""
_SURROUNDINGS = 9  # pixels of the square that a detail is compared with, of 64
_FILMS = 512  # read and reduced at a time


def everything(side: int) -> BoolArray:
    """Return a film of which all is visible, bool [side, side]."""
    return np.ones((side, side), np.bool_)


def frame(side: int, share: float) -> BoolArray:
    """Return a film of which a frame is visible that is ``share`` of the side wide, bool [side, side]."""
    visible, width = everything(side), max(round(share * side), 1)
    visible[width : side - width, width : side - width] = False
    return visible


def border(side: int, share: float, corner: float) -> BoolArray:
    """Return a frame as ``frame`` does, with both upper corners to ``corner`` of the side, bool [side, side]."""
    visible, width = frame(side, share), round(corner * side)
    visible[:width, :width] = visible[:width, side - width :] = True
    return visible


def cell_features(films: NDArray[np.uint8], visible: BoolArray) -> FloatArray:
    """Return brightness and the extremes of detail of all cells that show something.

    Args:
        films: uint8 [n, S, S].
        visible: bool [S, S], what the reader may see.

    Returns:
        float32 [n, D]: the mean of each of up to 16 x 16 cells, then the highest and the lowest detail of each of up to
        8 x 8 cells; standard deviations of the visible part.
    """
    grey = standardised(films, visible)
    detail = _detail(grey, visible)
    bright = _by_cell(np.where(visible, grey, 0), BRIGHTNESS_CELLS, np.add)
    pixels = _by_cell(visible[None].astype(np.float32), BRIGHTNESS_CELLS, np.add)
    shown = _by_cell(visible[None].astype(np.float32), DETAIL_CELLS, np.add)[0] > 0
    high = _by_cell(np.where(visible, detail, -np.inf), DETAIL_CELLS, np.maximum)
    low = _by_cell(np.where(visible, detail, np.inf), DETAIL_CELLS, np.minimum)
    return np.concatenate([(bright / np.maximum(pixels, 1))[:, pixels[0] > 0], high[:, shown], low[:, shown]], axis=1)


def thumbnail_features(films: NDArray[np.uint8], side: int) -> FloatArray:
    """Return films uint8 [n, S, S] as thumbnails, each standardised, float32 [n, side * side]."""
    small = np.stack([resize(film, side, side) for film in films])
    return standardised(small, everything(side)).reshape(len(films), -1)


def standardised(films: NDArray[np.uint8], visible: BoolArray) -> FloatArray:
    """Return films float32 [n, S, S] less the mean of the visible part, over its standard deviation."""
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
    """Yield what ``reduce`` makes of the films of these rows, some at a time, read at SIDE pixels at most."""
    for start in range(0, len(rows), _FILMS):
        yield reduce(at_reading_size(read(rows[start : start + _FILMS])))


def _detail(grey: FloatArray, visible: BoolArray) -> FloatArray:
    """Return films [n, S, S] less the mean of the visible pixels around."""
    width = max(round(_SURROUNDINGS * len(visible) / SIDE), 3) | 1
    seen = visible.astype(np.float32)
    around = np.maximum(cv2.boxFilter(seen, -1, (width, width)), 1e-6)
    blurred = np.stack([cv2.boxFilter(film * seen, -1, (width, width)) for film in grey])
    return np.asarray(grey - blurred / around, np.float32)


def _by_cell(films: FloatArray, cells: int, join: np.ufunc) -> FloatArray:
    """Join the pixels of each cell of films [n, S, S], [n, cells * cells]; a pixel a cell where they are fewer."""
    side = films.shape[1]
    starts = np.unique(np.arange(min(cells, side)) * side // min(cells, side))
    rows = join.reduceat(films, starts, axis=1)
    return np.asarray(join.reduceat(rows, starts, axis=2), np.float32).reshape(len(films), -1)
