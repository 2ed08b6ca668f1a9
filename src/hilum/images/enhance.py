"""From a grey film of any size to the stored square: resize, enhance, fit; the same in training and prediction."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np

from hilum.errors import DataError, OptionError, choose
from hilum.images.film_check import film_flags, is_inverted, thumbnail
from hilum.images.rendering import DISPLAY, Rendering
from hilum.images.resize import resize

_LATER = ("fix_polarity", "rendering", "polarity")
SMALLEST, LARGEST = 8, 4096
"""Allowed sides of a stored film, in pixels."""


def keep(film: np.ndarray) -> np.ndarray:
    """Return the film, uint8 [H, W], as it is."""
    return film


def denoise_and_equalise(film: np.ndarray) -> np.ndarray:
    """Return the film, uint8 [H, W], by the published recipe: non-local means, then histogram equalisation.

    OpenCV's own defaults (strength 3, 7 px patches, 21 px search), as the recipe states none.
    """
    return cv2.equalizeHist(cv2.fastNlMeansDenoising(film))


def equalise_locally(film: np.ndarray) -> np.ndarray:
    """Return the film, uint8 [H, W], with contrast-limited adaptive equalisation (limit 2, 8 x 8 tiles)."""
    return cv2.createCLAHE(clipLimit=2.0, tileGridSize=(8, 8)).apply(film)


ENHANCEMENTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "none": keep,
    "paper": denoise_and_equalise,
    "clahe": equalise_locally,
}
"""Enhancements of the resized film, by name."""


def squashed_size(_height: int, _width: int, size: int) -> tuple[int, int]:
    """Return the whole square: both sides are brought to ``size``, the aspect ratio is lost."""
    return size, size


def padded_size(height: int, width: int, size: int) -> tuple[int, int]:
    """Return the height and width of a film whose longer side becomes ``size``, its aspect ratio kept."""
    longer = max(height, width)
    return max(1, round(height * size / longer)), max(1, round(width * size / longer))


FITS: dict[str, Callable[[int, int, int], tuple[int, int]]] = {
    "squash": squashed_size,
    "pad": padded_size,
}
"""Ways to make a film square, by name."""


def square_film(grey: np.ndarray, size: int, enhance: str, fit: str) -> np.ndarray:
    """Return a grey film, uint8 [H, W], resized, enhanced and made square, uint8 [size, size].

    Args:
        grey: The film.
        size: Side of the square in pixels.
        enhance: A name of ENHANCEMENTS.
        fit: A name of FITS.
    """
    height, width = FITS[fit](grey.shape[0], grey.shape[1], size)
    film = ENHANCEMENTS[enhance](resize(grey, height, width))
    if (height, width) == (size, size):
        return np.ascontiguousarray(film)
    square = np.zeros((size, size), np.uint8)
    top, left = (size - height) // 2, (size - width) // 2
    square[top : top + height, left : left + width] = film
    return square


def pixel_hash(film: np.ndarray) -> str:
    """Return the hash that identifies equal films: SHA-256 of the stored bytes, cut to 128 bits."""
    return hashlib.sha256(np.ascontiguousarray(film).data).hexdigest()[:32]


@dataclass(frozen=True)
class Preparation:
    """The steps from a grey film to a stored one; kept with store and model, so that both prepare alike."""

    size: int
    """Side of the stored square in pixels."""
    enhance: str = "none"
    """A name of ENHANCEMENTS, applied to the resized film before any padding."""
    fit: str = "squash"
    """A name of FITS: squash (aspect ratio lost) or pad (black margins)."""
    fix_polarity: bool = False
    """Whether films that look inverted (`hilum.images.film_check`) are inverted first."""
    rendering: str = DISPLAY.name
    """How samples of DICOM files become grey: a name of RENDERINGS."""
    polarity: str = DISPLAY.polarity
    """Which of their tags says which end is black: a name of POLARITIES."""

    def __post_init__(self) -> None:
        """Refuse unknown names and sizes out of range.

        Raises:
            OptionError: With what is allowed.
        """
        if not SMALLEST <= self.size <= LARGEST:
            raise OptionError(f"--size is {self.size}: allowed are {SMALLEST} to {LARGEST} pixels.")
        choose(self.enhance, ENHANCEMENTS, "enhancement")
        choose(self.fit, FITS, "fit")
        _ = self.dicom

    @property
    def dicom(self) -> Rendering:
        """How DICOM files are rendered."""
        return Rendering(self.rendering, self.polarity)

    def apply(self, grey: np.ndarray) -> np.ndarray:
        """Return the prepared film.

        Args:
            grey: uint8 [H, W], any size.

        Returns:
            uint8 [size, size].

        Raises:
            ValueError: The film is not uint8 with two axes of at least one pixel.
        """
        if grey.dtype != np.uint8 or grey.ndim != 2 or grey.size == 0:
            raise ValueError(
                f"a grey film is uint8 [H, W], this is {grey.dtype} {list(grey.shape)}"
            )
        if self.fix_polarity and is_inverted(*film_flags([thumbnail(grey)])):
            grey = 255 - grey
        return square_film(grey, self.size, self.enhance, self.fit)

    def to_json(self) -> dict[str, Any]:
        """Return the steps as plain values; a step that earlier versions had not is named where it is taken."""
        steps = asdict(self)
        for name in _LATER:
            if steps[name] == getattr(type(self), name):
                del steps[name]
        return steps

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Preparation:
        """Return the steps that `to_json` wrote.

        Raises:
            DataError: The values are not those of a preparation.
        """
        try:
            return cls(
                int(values["size"]),
                str(values["enhance"]),
                str(values["fit"]),
                bool(values.get("fix_polarity", False)),
                str(values.get("rendering", DISPLAY.name)),
                str(values.get("polarity", DISPLAY.polarity)),
            )
        except (KeyError, TypeError, ValueError, OptionError) as error:
            raise DataError(
                f"cannot understand how films were prepared: {dict(values)!r}. Prepare the store again."
            ) from error

    def flags(self) -> str:
        """Return the options of `hilum prepare` that give these steps.

        >>> Preparation(64, "paper").flags()
        '--size 64 --enhance paper --fit squash'
        """
        more = " --fix-polarity" if self.fix_polarity else ""
        for name in ("rendering", "polarity"):
            if getattr(self, name) != getattr(type(self), name):
                more += f" --{name} {getattr(self, name)}"
        return f"--size {self.size} --enhance {self.enhance} --fit {self.fit}{more}"
