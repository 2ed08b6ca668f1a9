"""The gate before the network: films of which no number is given, and why.

The header of a DICOM file speaks first, then the pixels (`hilum.images.film_check`). It runs in the
decoding processes.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from hilum.images.enhance import Preparation
from hilum.images.film_check import INVERTED, STRANGE, network, thumbnail

NOT_CHEST, LATERAL, TURNED, TOO_SMALL = "not a chest film", "lateral", "turned", "too small"
NOT_ENTERING = "not for reading"
REFUSALS = {
    NOT_CHEST: "It does not look like a chest radiograph, or its header names another body part or modality.",
    LATERAL: "Its header says that it is a lateral film; the model reads frontal films.",
    INVERTED: "It looks inverted (bright and dark exchanged): send it the right way.",
    TURNED: "It looks turned by 90, 180 or 270 degrees: send it upright.",
    TOO_SMALL: "It has far fewer pixels than the model looks at: send the film in its own size.",
    NOT_ENTERING: "Its header says that it is no film for reading, such as a localiser, a test image, a secondary "
    "capture, a film for processing, or one with text burnt into it.",
}
"""Reasons of a refusal, and a sentence for the reader. None quotes a file."""
LEAST_SIDE = 48
"""Pixels of the shorter side below which nothing can be read off a chest film."""
_OTHER_IMAGES = ("another modality", "another body part", "no image")


def by_header(path: str, keep: Collection[str]) -> str:
    """Return why a DICOM file is refused by its header, an entry of REFUSALS, or nothing.

    Raises:
        UnreadableFilm: It is damaged.
    """
    from hilum.images.dicom.header import read_header  # pydicom: a fifth of a second
    from hilum.sources.archive.entering import left_out
    from hilum.sources.archive.film_view import film_view

    header = read_header(path)
    reason = left_out(header, keep)
    if reason in _OTHER_IMAGES:
        return NOT_CHEST
    if reason:
        return NOT_ENTERING
    return LATERAL if film_view(header) == "LATERAL" else ""


def by_pixels(grey: NDArray[np.uint8], preparation: Preparation, network_size: int) -> str:
    """Return why a grey film [H, W] is refused by its pixels, an entry of REFUSALS, or nothing.

    An inverted film is not where the model's preparation puts it right.
    """
    if min(grey.shape) < max(LEAST_SIDE, network_size // 2):
        return TOO_SMALL if network_size >= LEAST_SIDE else ""
    (flag,) = network().appearances([thumbnail(grey)])
    if flag == STRANGE:
        return NOT_CHEST
    if flag.startswith(INVERTED):
        if not preparation.fix_polarity:
            return INVERTED
        flag = flag.removeprefix(INVERTED)
    return TURNED if flag else ""
