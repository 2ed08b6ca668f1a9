"""From a frame's bytes to its words [H, W]: imagecodecs for every compressed syntax, NumPy for the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hilum.images.dicom.codestream import Codestream, inspect
from hilum.images.dicom.frames import DEFLATED_FRAME, RLE, inflated_frame
from hilum.images.unreadable import UnreadableFilm

MOST_COMPRESSED = 2**25
"""Pixels of a compressed film that is decoded; JPEG 2000 needs 12 bytes for each."""


JpegDecoder = Callable[[bytes], NDArray[Any]]
"""From a JPEG file of 8 bits a sample to grey, uint8 [H, W]; refuses damaged data."""


class Layout(NamedTuple):
    """What the header says of the frame."""

    rows: int
    columns: int
    samples: int
    """1 grey, 3 colour."""
    allocated: int
    """Bits Allocated: 8 or 16."""
    stored: int
    """Bits Stored."""
    signed: bool
    planar: bool
    """Whether colours come one after the other."""
    luma_first: bool
    """Whether the first of three samples is the luminance."""
    little: bool
    swapped: bool = False
    """Whether bytes are swapped in pairs, as those of 8-bit samples in big-endian words are."""

    @property
    def bytes(self) -> int:
        """Bytes of a decoded frame."""
        return self.rows * self.columns * self.samples * self.allocated // 8


def native_words(data: bytes, layout: Layout) -> NDArray[Any]:
    """Return uncompressed samples, uint8 or uint16, [H, W] or [H, W, 3]."""
    order = "<" if layout.little else ">"
    words = np.frombuffer(data, np.uint8 if layout.allocated == 8 else f"{order}u2")
    if layout.swapped:
        words = words[: len(words) // 2 * 2].reshape(-1, 2)[:, ::-1].reshape(-1)
    words = words[: layout.bytes * 8 // layout.allocated]
    if layout.samples == 1:
        words = words.reshape(layout.rows, layout.columns)
    elif layout.planar:
        words = words.reshape(layout.samples, layout.rows, layout.columns).transpose(1, 2, 0)
    else:
        words = words.reshape(layout.rows, layout.columns, layout.samples)
    return words if words.dtype.isnative else words.astype(np.uint16)


def compressed_words(
    data: bytes, syntax: str, layout: Layout, decode_jpeg: JpegDecoder
) -> NDArray[Any]:
    """Return a compressed frame's samples as they were stored, uint8 or uint16, [H, W] or [H, W, 3].

    Which codec it is, the frame says itself; the transfer syntax decides only where it does not.

    Args:
        data: The frame.
        syntax: Transfer Syntax UID, or an empty string.
        layout: What the header says of the frame.
        decode_jpeg: Decodes JPEG of 8 bits: imagecodecs drops what libjpeg reports of damaged data.

    Raises:
        UnreadableFilm: It is damaged, of an unknown kind, or not what the header says.
    """
    if layout.rows * layout.columns > MOST_COMPRESSED:
        raise UnreadableFilm(
            "too many pixels",
            f"{layout.columns} x {layout.rows} compressed, at most {MOST_COMPRESSED} are read",
        )
    if syntax == DEFLATED_FRAME:
        return native_words(inflated_frame(data, layout.bytes), layout)
    if syntax == RLE:
        return _run_length(data, layout)
    stream = inspect(data)
    if stream is None:
        raise UnreadableFilm("not supported", f"frames of transfer syntax {syntax or 'unknown'}")
    if (stream.width, stream.height) != (layout.columns, layout.rows):
        raise UnreadableFilm(
            "damaged",
            f"{layout.columns} x {layout.rows} in its header, {stream.width} x {stream.height} in its frame",
        )
    if stream.signed is not None and stream.signed != layout.signed:
        kinds = {True: "signed", False: "unsigned"}
        raise UnreadableFilm(
            "damaged",
            f"{kinds[layout.signed]} samples in its header, {kinds[stream.signed]} ones in its JPEG 2000: "
            "which end is black cannot be told",
        )
    if (
        stream.codec == "jpeg"
        and stream.bits == 8
        and (stream.components == 1 or layout.luma_first)
    ):
        words = decode_jpeg(data)
    else:
        words = _decoded(data, stream)
    if words.dtype.itemsize > 2 or words.dtype.kind not in "ui":
        raise UnreadableFilm("not supported", f"samples of type {words.dtype.name}")
    words = words.view(words.dtype.str.replace("i", "u"))
    expected = (layout.rows, layout.columns)
    if words.shape[:2] != expected or words.shape[2:] not in ((), (3,)):
        raise UnreadableFilm("damaged", f"its frame decodes to {list(words.shape)}")
    return _within_stored(words, stream, layout)


def _decoded(data: bytes, stream: Codestream) -> NDArray[Any]:
    import imagecodecs

    try:
        if stream.codec == "jpeg" and stream.components == 3:
            words = imagecodecs.jpeg8_decode(data, colorspace="RGB", outcolorspace="RGB")
        elif stream.codec in ("jpeg", "jpeg-lossless"):
            words = imagecodecs.jpeg8_decode(data)
        elif stream.codec == "jpeg-ls":
            words = imagecodecs.jpegls_decode(data)
        elif stream.codec == "jpeg2000":
            # High-throughput ones too: imagecodecs' htj2k_decode (2026.3.6) returns what it makes of
            # a cut or damaged frame, without an error.
            words = imagecodecs.jpeg2k_decode(data, numthreads=1)
        else:
            words = imagecodecs.jpegxl_decode(data, 0, numthreads=1)
    except (RuntimeError, ValueError, TypeError, OverflowError, NotImplementedError) as error:
        raise UnreadableFilm("damaged", f"the decoder refuses its {stream.codec} frame") from error
    return np.asarray(words)


def _run_length(data: bytes, layout: Layout) -> NDArray[Any]:
    import imagecodecs

    dtype = np.dtype(np.uint8 if layout.allocated == 8 else "<u2")
    try:
        decoded = imagecodecs.dicomrle_decode(data, dtype, out=layout.bytes)
    except (RuntimeError, ValueError, TypeError, OverflowError) as error:
        raise UnreadableFilm("damaged", "the decoder refuses its RLE frame") from error
    if len(decoded) < layout.bytes:
        raise UnreadableFilm(
            "truncated", f"{len(decoded)} bytes of pixel data, {layout.bytes} are needed"
        )
    # It gives the samples of one colour after those of the other.
    return native_words(bytes(decoded), layout._replace(little=True, planar=True, swapped=False))


def _within_stored(words: NDArray[Any], stream: Codestream, layout: Layout) -> NDArray[Any]:
    """Return samples of no more than Bits Stored.

    Bits above these in a frame of all allocated bits are overlays, which are masked later. A lossy
    codec may overshoot: masked, its white would turn black.

    Raises:
        UnreadableFilm: A frame of more bits than are stored, and fewer than are allocated, uses them.
    """
    precise = stream.bits or layout.allocated
    if precise <= layout.stored:
        return words
    if stream.lossy:
        if layout.signed:
            values = words.view(words.dtype.str.replace("u", "i"))
            half = 2 ** (layout.stored - 1)
            return np.asarray(np.clip(values, -half, half - 1).view(words.dtype))
        return np.asarray(np.minimum(words, np.array(2**layout.stored - 1, words.dtype)))
    if precise < layout.allocated and not layout.signed and int(words.max()) >= 2**layout.stored:
        raise UnreadableFilm(
            "damaged",
            f"{layout.stored} bits stored in its header, samples of {precise} bits in its frame",
        )
    return words
