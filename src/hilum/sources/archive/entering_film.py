"""A film file to grey; a DICOM file only if its header says that it is a chest film for presentation."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np

from hilum.images.film_check import LATERAL
from hilum.images.npz import read_film, read_film_keeping_damaged
from hilum.images.read import MAX_PIXELS
from hilum.images.rendering import DISPLAY, Rendering
from hilum.images.unreadable import UnreadableFilm
from hilum.sources.archive.tree import is_dicom

ENTERING_READER = "hilum.sources.archive.entering_film:read_entering"
"""Reader of what is given to a model, whose films are none of an archive that was judged before."""


def read_entering(
    path: Path,
    max_pixels: int = MAX_PIXELS,
    rendering: Rendering = DISPLAY,
    notes: list[str] | None = None,
    *,
    keep: Collection[str] = (),
    keep_damaged: bool = False,
) -> np.ndarray:
    """Return a film as `read_film` does, uint8 [H, W], if its header lets it enter.

    Args:
        path: A film file, or an archive's film.
        max_pixels: The most pixels that it may have.
        rendering: How the samples of a DICOM file become grey.
        notes: Gets what is odd about a DICOM file, and LATERAL of a lateral film.
        keep: Reasons of `REASONS` that do not count.
        keep_damaged: Return a JPEG although its decoder reports damaged data.

    Raises:
        UnreadableFilm: It does not enter, with the option that takes it, or cannot be read.
    """
    if is_dicom(path):
        # Here, for pydicom takes a tenth of a second, and most models see no DICOM file.
        from hilum.images.dicom.header import read_header
        from hilum.sources.archive.entering import left_out, switch
        from hilum.sources.archive.film_view import film_view

        header = read_header(path)
        if reason := left_out(header, keep):
            raise UnreadableFilm(reason, switch(reason))
        if notes is not None and film_view(header) == "LATERAL":
            notes.append(LATERAL)
    read = read_film_keeping_damaged if keep_damaged else read_film
    return read(path, max_pixels, rendering, notes)
