"""A DICOM file to grey: header, one frame, one table from sample to grey."""

from __future__ import annotations

import io
from typing import Any, BinaryIO, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.images.dicom.decode import JpegDecoder, Layout, compressed_words, native_words
from hilum.images.dicom.elements import (
    BIG_ENDIAN,
    DEFLATED,
    HEADER_BYTES,
    IMPLICIT,
    PIXELS,
    UNDEFINED,
    Elements,
    read_elements,
)
from hilum.images.dicom.frames import encapsulated_frame, native_frame
from hilum.images.dicom.header import HEADER_TAGS, DicomHeader
from hilum.images.dicom.luts import LUT_TAGS, MODALITY_LUT, VOI_LUT, palette, table, window
from hilum.images.dicom.values import (
    Padding,
    Stored,
    Transform,
    archive_table,
    display_table,
)
from hilum.images.rendering import Rendering
from hilum.images.unreadable import UnreadableFilm

GREY = {"MONOCHROME1": True, "MONOCHROME2": False}
"""Photometric interpretations of one sample, and whether low values are white."""
RGB = ("RGB", "YBR_RCT", "YBR_ICT")
LUMA_FIRST = ("YBR_FULL", "YBR_FULL_422")
PALETTE = "PALETTE COLOR"
NATIVE = ("", IMPLICIT, "1.2.840.10008.1.2.1", BIG_ENDIAN, DEFLATED)
"""Transfer syntaxes whose frames are not compressed; with none, frames may still be encapsulated."""
SHAPES = {"INVERSE": True, "IDENTITY": False}

WINDOW_REPLACED = "window replaced by percentiles"
SHAPE_DISAGREES = "presentation shape contradicts the photometric tag"
COLOUR = "colour turned into grey"
FRAMES_WRONG = "number of frames is wrong"
NO_SYNTAX = "no transfer syntax"


class DicomFilm(NamedTuple):
    """A film as grey."""

    grey: NDArray[np.uint8]
    """[H, W]"""
    notes: tuple[str, ...]
    """What was odd, in a few set phrases, fit for counting."""


def read_dicom(
    file: BinaryIO, max_pixels: int, rendering: Rendering, decode_jpeg: JpegDecoder
) -> DicomFilm:
    """Return the film of a DICOM file.

    Args:
        file: Opened for reading bytes, unbuffered or in memory.
        max_pixels: The most pixels that the film may have.
        rendering: How samples become grey.
        decode_jpeg: Decodes JPEG of 8 bits.

    Raises:
        UnreadableFilm: It is damaged, has no pixels, several frames, or says what cannot be shown
            the right way round.
    """
    tags = HEADER_TAGS | LUT_TAGS
    elements = read_elements(file, tags)
    header = DicomHeader.of(elements)
    layout = _layout(header, elements, max_pixels)
    data_set = file
    if elements.syntax == DEFLATED:
        elements = read_elements(file, tags, HEADER_BYTES + layout.bytes)
        data_set = io.BytesIO(elements.data or b"")
    words = _words(data_set, elements, layout, decode_jpeg)
    notes = []
    if not elements.syntax:
        notes.append(NO_SYNTAX)
    if (header.frames or 1) != 1:  # there was one, or it had been refused
        notes.append(FRAMES_WRONG)
    if header.photometric not in GREY:
        return DicomFilm(_colour(words, header, elements), (*notes, COLOUR))
    transform = _transform(header, elements, rendering)
    counts = _counts(words)
    try:
        tone = (archive_table if rendering.name == "archive" else display_table)(transform, counts)
    except ValueError as error:
        raise UnreadableFilm("damaged", "every pixel is padding") from error
    if tone.replaced:
        notes.append(WINDOW_REPLACED)
    shape = SHAPES.get(header.presentation_shape)
    if shape is not None and shape != GREY[header.photometric]:
        notes.append(SHAPE_DISAGREES)
    return DicomFilm(look_up(tone.grey, words), tuple(notes))


def look_up(table: NDArray[np.uint8], words: NDArray[Any]) -> NDArray[np.uint8]:
    """Return a table's entries for words, uint8 or uint16 [H, W].

    Args:
        table: [256] for uint8, [65536] for uint16.
        words: [H, W]
    """
    if words.dtype == np.uint8 or int(cv2.__version__.partition(".")[0]) >= 5:
        return np.asarray(cv2.LUT(words, table), np.uint8).reshape(words.shape)
    return table.take(words)


def _layout(header: DicomHeader, elements: Elements, max_pixels: int) -> Layout:
    """Return what the header says of the frame, all of it checked before anything is allocated."""
    if elements.pixels is None or elements.pixels.tag != PIXELS:
        kind = "no pixel data" if elements.pixels is None else "pixels of floating point"
        raise UnreadableFilm("not supported", kind)
    for name, value in (
        ("Rows", header.rows),
        ("Columns", header.columns),
        ("Bits Allocated", header.bits_allocated),
        ("Photometric Interpretation", header.photometric),
    ):
        if value is None or value == "":
            raise UnreadableFilm("damaged", f"no {name} in its header")
    rows, columns, allocated = header.rows or 0, header.columns or 0, header.bits_allocated or 0
    samples = header.samples or 1
    if rows < 1 or columns < 1:
        raise UnreadableFilm("zero size", f"{columns} x {rows}")
    if rows * columns > max_pixels:
        raise UnreadableFilm(
            "too many pixels", f"{columns} x {rows}, at most {max_pixels} are read"
        )
    if header.photometric not in (*GREY, PALETTE, *RGB, *LUMA_FIRST):
        raise UnreadableFilm(
            "not supported",
            "its Photometric Interpretation: MONOCHROME1, MONOCHROME2, RGB, YBR and PALETTE COLOR are read",
        )
    coloured = header.photometric in (*RGB, *LUMA_FIRST)
    if samples != (3 if coloured else 1) or (coloured and allocated != 8):
        raise UnreadableFilm(
            "not supported",
            f"{samples} samples of {allocated} bits a pixel: 1 of 8 or 16, 3 of 8 are read",
        )
    if allocated not in (8, 16):
        raise UnreadableFilm("not supported", f"{allocated} bits allocated: 8 and 16 are read")
    stored = header.bits_stored
    if stored is None:
        stored = header.high_bit + 1 if header.high_bit is not None else allocated
    if not 1 <= stored <= allocated:
        raise UnreadableFilm("damaged", f"{stored} bits stored of {allocated} allocated")
    if header.high_bit is not None and header.high_bit != stored - 1:
        raise UnreadableFilm(
            "not supported",
            f"High Bit {header.high_bit} with {stored} bits stored: samples that begin at bit 0 are read",
        )
    return Layout(
        rows, columns, samples, allocated, stored, header.signed == 1, header.planar == 1,
        header.photometric in LUMA_FIRST, elements.little,
        not elements.little and allocated == 8 and elements.pixels.vr == "OW",
    )  # fmt: skip


def _words(
    file: BinaryIO, elements: Elements, layout: Layout, decode_jpeg: JpegDecoder
) -> NDArray[Any]:
    pixels = elements.pixels
    assert pixels is not None
    if pixels.length == UNDEFINED or elements.syntax not in NATIVE:
        data = encapsulated_frame(file, pixels, elements.syntax, layout.bytes)
        return compressed_words(data, elements.syntax, layout, decode_jpeg)
    need = layout.bytes + layout.bytes % 2 * layout.swapped
    return native_words(native_frame(file, pixels, need), layout)


def _transform(header: DicomHeader, elements: Elements, rendering: Rendering) -> Transform:
    stored = Stored(header.bits_stored or header.bits_allocated or 16, header.signed == 1)
    modality = table(elements, MODALITY_LUT, stored.signed)
    slope, intercept = header.rescale_slope or 1.0, header.rescale_intercept or 0.0
    lowest = min(end * slope + intercept for end in stored.limits)
    voi = table(elements, VOI_LUT, modality is None and lowest < 0)
    inverted = GREY[header.photometric]
    if rendering.polarity == "shape":
        inverted = SHAPES.get(header.presentation_shape, inverted)
    padding = None
    if header.padding is not None:
        limit = header.padding if header.padding_limit is None else header.padding_limit
        padding = Padding(header.padding, limit)
    return Transform(
        stored,
        inverted,
        padding,
        slope,
        intercept,
        modality,
        voi if voi is not None else window(header),
    )


def _counts(words: NDArray[Any]) -> NDArray[np.float64]:
    """Return how many pixels have each word, float64 [256] or [65536]."""
    most = 2 ** (8 * words.dtype.itemsize)
    counts = cv2.calcHist([words], [0], None, [most], [0, most])
    return np.asarray(counts, np.float64).reshape(-1)


def _colour(words: NDArray[Any], header: DicomHeader, elements: Elements) -> NDArray[np.uint8]:
    """Return the luma (Rec. 601) of colours."""
    if header.photometric == PALETTE:
        grey = palette(elements)
        return look_up(grey[: 2 ** (8 * words.dtype.itemsize)], words)
    if words.ndim == 2:
        return np.ascontiguousarray(words, np.uint8)
    if header.photometric in LUMA_FIRST:
        return np.ascontiguousarray(words[..., 0], np.uint8)
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(words), cv2.COLOR_RGB2GRAY), np.uint8)
