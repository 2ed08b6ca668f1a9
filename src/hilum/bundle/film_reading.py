"""Images prepared for a model: files in limited processes, arrays in this one, and what looks wrong is warned of."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.bundle.image_inputs import ImageInputs
from hilum.counts import counted
from hilum.errors import DataError
from hilum.images.decoding.decoder import DecodedFilm, Decoder
from hilum.images.enhance import Preparation
from hilum.images.film_check import appearances, is_inverted, thumbnail
from hilum.images.read import UnreadableFilm
from hilum.sources.archive.entering_film import ENTERING_READER

BATCH = 64
"""Images that go through the network together, and are held in memory."""
_LISTED = 5
"""Films that a warning names."""


@dataclass(frozen=True)
class FilmReading:
    """How a model reads images."""

    preparation: Preparation
    keep_damaged: bool = False
    """Whether JPEGs whose decoder reports damaged data are read."""
    keep: tuple[str, ...] = ()
    """Reasons for which a DICOM film is not left out."""

    @cached_property
    def decoder(self) -> Decoder:
        """What reads film files: in processes of limited time and memory, as in `hilum prepare`."""
        options = {"keep": self.keep, "keep_damaged": self.keep_damaged}
        return Decoder(self.preparation, ENTERING_READER, options)

    def batches(
        self, inputs: ImageInputs, unreadable: Literal["raise", "nan"]
    ) -> Iterator[tuple[list[int], list[DecodedFilm]]]:
        """Yield up to BATCH images prepared, with their positions; no more are in memory.

        At the end a UserWarning names those that look inverted, turned, lateral or unlike a chest film.

        Raises:
            DataError: An image cannot be read, unless ``unreadable`` is "nan" and there are several.
        """
        flagged: dict[int, str] = {}
        for start in range(0, len(inputs), BATCH):
            taken: dict[int, DecodedFilm] = {}
            batch = range(start, min(start + BATCH, len(inputs)))
            for row, film in zip(batch, self._read(inputs, batch), strict=True):
                if isinstance(film, DecodedFilm):
                    taken[row] = film
                elif unreadable == "raise" or inputs.single:
                    raise DataError(f"{inputs.name(row)} could not be read: {film}")
            flagged |= {row: film.flag for row, film in taken.items() if film.flag}
            if taken:
                yield list(taken), list(taken.values())
        self._warn(inputs, flagged)

    def _read(self, inputs: ImageInputs, rows: Sequence[int]) -> list[DecodedFilm | UnreadableFilm]:
        files = [file for row in rows if (file := inputs.file(row)) is not None]
        decoded = self.decoder.films(files)
        return [
            self._prepared(inputs.grey(row)) if inputs.file(row) is None else next(decoded)
            for row in rows
        ]

    def _prepared(self, grey: NDArray[np.uint8]) -> DecodedFilm | UnreadableFilm:
        """Return a grey image [H, W] prepared."""
        try:
            image = np.asarray(self.preparation.apply(grey))
            return DecodedFilm(image, grey.shape, *appearances([thumbnail(grey)], [grey.shape]))
        except MemoryError:
            return UnreadableFilm("unreadable", "not enough memory")
        except cv2.error as error:
            return UnreadableFilm("damaged", f"OpenCV's {error.func or 'function'} refuses it")

    def _warn(self, inputs: ImageInputs, flagged: dict[int, str]) -> None:
        if not flagged:
            return
        shown = [
            f"{inputs.name(row)} looks {flag}"
            + (
                " and was inverted back"
                if self.preparation.fix_polarity and is_inverted(flag)
                else ""
            )
            for row, flag in list(flagged.items())[:_LISTED]
        ]
        more = len(flagged) - len(shown)
        shown += [f"so do {counted(more, 'other', 'others')}"] if more else []
        warnings.warn(
            f"{', '.join(shown)}: look at {'it' if len(flagged) == 1 else 'them'} before you trust what is said of "
            f"{'it' if len(flagged) == 1 else 'them'}",
            stacklevel=4,
        )
