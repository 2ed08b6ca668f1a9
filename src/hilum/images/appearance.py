"""Coarse features of a film: its tones and its outlines, in a few hundred numbers."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.arrays import FloatArray
from hilum.images.resize import resize

TONES_SIDE = 16
"""Side in pixels at which tones are compared."""
OUTLINES_SIDE, DIRECTIONS = 8, 4
"""Cells in a row, and directions of edges in each."""

TURNS: dict[str, Callable[[FloatArray], FloatArray]] = {
    "turned to the left": lambda tones: np.rot90(tones, -1, (1, 2)),
    "upside down": lambda tones: np.rot90(tones, 2, (1, 2)),
    "turned to the right": lambda tones: np.rot90(tones, 1, (1, 2)),
    "inverted": lambda tones: -tones,
}
"""Changes of orientation or polarity by name, each undone on tones [n, s, s]."""


def tones(films: NDArray[np.uint8]) -> FloatArray:
    """Return films uint8 [n, S, S] equalised, reduced and standardised: float32 [n, s, s]."""
    flat = (cv2.equalizeHist(np.ascontiguousarray(film)) for film in films)
    small = np.stack([resize(film, TONES_SIDE, TONES_SIDE) for film in flat]).astype(np.float32)
    spread = np.maximum(small.std(axis=(1, 2), keepdims=True), 1.0)
    return np.asarray((small - small.mean(axis=(1, 2), keepdims=True)) / spread, np.float32)


def outlines(films: NDArray[np.uint8]) -> FloatArray:
    """Return positions and directions of edges in films uint8 [n, S, S], float32 [n, D].

    The fraction of the film's edges in each cell and direction, as its square root (Dalal and
    Triggs 2005, coarse; the root of Arandjelovic and Zisserman 2012).
    """
    return np.stack([_outlines(film) for film in films])


def contrast(films: NDArray[np.uint8]) -> FloatArray:
    """Return the standard deviation of each film uint8 [n, S, S] in grey levels, float32 [n]."""
    return np.asarray(films.reshape(len(films), -1).std(axis=1), np.float32)


def _outlines(film: NDArray[np.uint8]) -> FloatArray:
    smooth = cv2.GaussianBlur(film.astype(np.float32), (3, 3), 0)
    across, down = cv2.Sobel(smooth, -1, 1, 0), cv2.Sobel(smooth, -1, 0, 1)
    strength = np.hypot(across, down)
    direction = (
        np.floor((np.arctan2(down, across) % np.pi) / np.pi * DIRECTIONS).astype(int) % DIRECTIONS
    )
    side = (OUTLINES_SIDE, OUTLINES_SIDE)
    layers = [
        cv2.resize(
            np.where(direction == number, strength, 0).astype(np.float32),
            side,
            interpolation=cv2.INTER_AREA,
        )
        for number in range(DIRECTIONS)
    ]
    cells = np.stack(layers).ravel()
    return np.asarray(np.sqrt(cells / (cells.sum() + 1e-6)), np.float32)
