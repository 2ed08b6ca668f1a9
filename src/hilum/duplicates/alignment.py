"""Correlation of two films after registration, which decides whether they are copies.

The second film is shifted, stretched and turned until both correlate most (Evangelidis 2008, as
OpenCV implements it). Then only structure between a fortieth and a twentieth of the edge is compared, ribs
and vessels: coarser structure all chests share, finer is lost to JPEG and resizing. A change of
brightness or contrast changes nothing.
"""

from __future__ import annotations

import cv2
import numpy as np

from hilum.arrays import FloatArray
from hilum.images.resize import resize

EDGE = 64
"""Side in pixels at which films are compared."""
MOST_MOVED = 0.07
"""Largest shift of a copy's corners, as a fraction of the side. Beyond it, films of different chests
would be warped to match."""
MARGIN = 5
"""Pixels along the edges that are not compared: they may come from outside the film."""
FINE, COARSE = 1.4, 2.8
"""Structure between these is compared: a difference of Gaussians, standard deviations in pixels."""
STEPS = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 20, 1e-4)

_EVERYWHERE = np.ones((EDGE, EDGE), np.uint8)

Film = FloatArray


def aligned_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Return the correlation of two films' fine structure after registration.

    Args:
        one: uint8 [H, W].
        other: uint8 [H, W].

    Returns: From -1 to 1, the mean over registering either film to the other; a direction counts 0
        where the film would move farther than a copy does, or has no structure.
    """
    first, second = _at_edge(one), _at_edge(other)
    return (_registered(first, second) + _registered(second, first)) / 2


def _registered(first: Film, second: Film) -> float:
    moved = _best_move(first, second)
    if _farthest(moved) > MOST_MOVED:
        return 0.0
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    laid = cv2.warpAffine(second, moved, (EDGE, EDGE), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return _correlation(_structure(first), _structure(np.asarray(laid, np.float32)))


def _at_edge(film: np.ndarray) -> Film:
    return np.asarray(resize(film, EDGE, EDGE), np.float32)


def _best_move(first: Film, second: Film) -> Film:
    """Return the affine map, [2, 3], from the first film to the second; the identity where none is found."""
    unmoved = np.eye(2, 3, dtype=np.float32)
    try:
        one, other = _smooth(first, 1), _smooth(second, 1)
        _, matrix = cv2.findTransformECC(
            one, other, unmoved.copy(), cv2.MOTION_AFFINE, STEPS, _EVERYWHERE, 1
        )
        return np.asarray(matrix, np.float32)
    except cv2.error:  # two films without anything in common, or one of a single grey
        return unmoved


def _farthest(move: Film) -> float:
    """Return how far a map moves a corner of the film, as a fraction of the side."""
    end = EDGE - 1
    corners = np.array([[0, 0, end, end], [0, end, 0, end], [1, 1, 1, 1]], np.float64)
    return float(np.abs(move @ corners - corners[:2]).max() / EDGE)


def _smooth(film: Film, deviation: float) -> Film:
    return np.asarray(cv2.GaussianBlur(film, (0, 0), deviation, borderType=cv2.BORDER_REFLECT))


def _structure(film: Film) -> Film:
    """Return the band of structure between fine and coarse, without the margin and without its mean."""
    inner = (_smooth(film, FINE) - _smooth(film, COARSE))[MARGIN:-MARGIN, MARGIN:-MARGIN]
    return np.asarray(inner - inner.mean())


def _correlation(one: Film, other: Film) -> float:
    """Return the correlation of two films of mean 0; 0 where one has hardly any grey to it."""
    size = float(np.sqrt((one**2).mean() * (other**2).mean()))
    return float(np.clip((one * other).mean() / size, -1, 1)) if size > 0.01 else 0.0
