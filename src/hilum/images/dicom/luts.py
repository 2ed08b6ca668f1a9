"""The tables, windows and palettes of a file, however they are written."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum.images.dicom.elements import Element, Elements, raw
from hilum.images.dicom.header import DicomHeader, numbers_of
from hilum.images.dicom.values import Table, Window, Words
from hilum.images.unreadable import UnreadableFilm

MODALITY_LUT, VOI_LUT = 0x0028_3000, 0x0028_3010
RED, GREEN, BLUE = 0x0028_1101, 0x0028_1102, 0x0028_1103
_PALETTE_DATA, _SEGMENTED = 0x100, 0x120
LUT_TAGS = frozenset(
    {MODALITY_LUT, VOI_LUT}
    | {tag + more for tag in (RED, GREEN, BLUE) for more in (0, _PALETTE_DATA, _SEGMENTED)}
)
"""The tags that are read here, beside those of the header."""

_DESCRIPTOR, _DATA = 0x0028_3002, 0x0028_3006
_LUMA = (0.299, 0.587, 0.114)  # Rec. 601


def table(elements: Elements, sequence: int, signed: bool) -> Table | None:
    """Return the first valid table of a sequence, None where there is none.

    Args:
        elements: The file's.
        sequence: MODALITY_LUT or VOI_LUT.
        signed: Whether the values that it maps can be below 0.
    """
    for item in elements.items(sequence):
        entries = _entries(raw(item, _DATA), raw(item, _DESCRIPTOR), elements.little)
        described = numbers_of(raw(item, _DESCRIPTOR), elements.little, "US")
        if len(entries) < 2 or len(described) < 2 or int(entries.max()) == int(entries.min()):
            continue
        first = int(described[1])
        # The entries are unsigned whatever the samples are; only the first value mapped follows them.
        return Table(first - 2**16 if signed and first >= 2**15 else first, entries)
    return None


def window(header: DicomHeader) -> Window | None:
    """Return the first pair of a centre and a width above 0, None where there is none.

    An unknown or empty VOI LUT Function is LINEAR.
    """
    function = header.window_function
    for center, width in zip(header.window_centers, header.window_widths, strict=False):
        if width > 0:
            known = function in ("LINEAR_EXACT", "SIGMOID")
            return Window(center, width, function if known else "LINEAR")
    return None


def palette(elements: Elements) -> NDArray[np.uint8]:
    """Return the grey of each word of a palette film, uint8 [65536], by its colours' luma.

    Raises:
        UnreadableFilm: The palettes are missing, damaged or segmented.
    """
    grey = np.zeros(2**16)
    for tag, weight in zip((RED, GREEN, BLUE), _LUMA, strict=True):
        described = numbers_of(elements.values.get(tag), elements.little, "US")
        entries = _entries(
            elements.values.get(tag + _PALETTE_DATA), elements.values.get(tag), elements.little
        )
        if len(described) < 3 or not len(entries):
            raise UnreadableFilm("not supported", "a palette that is missing or segmented")
        index = np.clip(np.arange(2**16) - int(described[1]), 0, len(entries) - 1)
        grey += weight * entries[index] / (257.0 if described[2] > 8 else 1.0)
    return np.floor(np.minimum(grey, 255) + 0.5).astype(np.uint8)


def _entries(data: Element | None, descriptor: Element | None, little: bool) -> Words:
    """Return a table's entries, as many as there are: descriptors are wrong about their number and bits.

    They are words, or bytes where there are only as many bytes as entries.
    """
    described = numbers_of(descriptor, little, "US")
    value = data.value if data is not None else None
    if not described or not isinstance(value, bytes):
        return np.zeros(0, np.int64)
    count = int(described[0]) % 2**16 or 2**16
    if len(value) in (count, count + 1) and count > 1:
        words: NDArray[Any] = np.frombuffer(value, np.uint8)
        if not little and len(value) % 2 == 0:  # bytes in words, which are swapped
            words = words.reshape(-1, 2)[:, ::-1].reshape(-1)
    else:
        words = np.frombuffer(value[: len(value) // 2 * 2], "<u2" if little else ">u2")
    return words[:count].astype(np.int64)
