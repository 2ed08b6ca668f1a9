"""A film at another size."""

from __future__ import annotations

import cv2
import numpy as np


def resize(film: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the film, uint8 [H, W], at another size: area means to shrink a side, linear interpolation to enlarge it.

    In two calls, since OpenCV's area mode becomes linear (and aliases) if one side is enlarged.
    """
    small = (min(width, film.shape[1]), min(height, film.shape[0]))
    if small != film.shape[::-1]:
        film = cv2.resize(film, small, interpolation=cv2.INTER_AREA)
    if small != (width, height):
        film = cv2.resize(film, (width, height), interpolation=cv2.INTER_LINEAR)
    return film
