"""What becomes of a film that is passed on: saved again, resized, cropped, made lighter or darker."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

Film = np.ndarray


def jpeg(film: Film, _rng: np.random.Generator) -> Film:
    """Return the film saved as JPEG of quality 30."""
    return cv2.imdecode(
        cv2.imencode(".jpg", film, (cv2.IMWRITE_JPEG_QUALITY, 30))[1], cv2.IMREAD_GRAYSCALE
    )


def resized(film: Film, rng: np.random.Generator) -> Film:
    """Return the film with its sides 0.75 to 1.5 times as long."""
    factor = float(np.exp(rng.uniform(np.log(0.75), np.log(1.5))))
    height, width = (max(8, round(side * factor)) for side in film.shape)
    return cv2.resize(
        film, (width, height), interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    )


def cropped(film: Film, _rng: np.random.Generator) -> Film:
    """Return what is left without 2 % at every side, at the film's size, so that parts of a pixel can be cut off."""
    height, width = film.shape
    matrix = np.array([[0.96, 0, 0.02 * (width - 1)], [0, 0.96, 0.02 * (height - 1)]], np.float32)
    return cv2.warpAffine(
        film, matrix, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    )


def brighter(film: Film, rng: np.random.Generator) -> Film:
    """Return the film at 0.9 or 1.1 times its brightness, cut off at white."""
    return np.clip(np.rint(film * rng.choice([0.9, 1.1])), 0, 255).astype(np.uint8)


def all_four(film: Film, rng: np.random.Generator) -> Film:
    """Return the film resized, cropped, lighter or darker, and saved as JPEG."""
    return jpeg(brighter(cropped(resized(film, rng), rng), rng), rng)


NEAR: dict[str, Callable[[Film, np.random.Generator], Film]] = {
    "jpeg 30": jpeg,
    "resize": resized,
    "crop 2 %": cropped,
    "brightness 10 %": brighter,
    "all four": all_four,
}
"""Alterations by name."""
