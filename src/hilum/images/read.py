"""Read a radiograph file into grey: PNG, JPEG and DICOM of all kinds, in bounded memory, or the reason why it failed.

Only the content counts, not the file's extension. Before OpenCV gets the bytes, the container is
parsed here: its size is taken from the header (decompression bombs), and it must be complete
(OpenCV may return a half-grey picture for a truncated file). What libjpeg reports about compressed
bytes that are damaged *between* valid markers is read from standard error, film by film, since
OpenCV has no other way to tell.
"""

from __future__ import annotations

import os
import re
import stat
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import cv2
import numpy as np

from hilum.images.containers import (
    CONTAINERS,
    FILE_BYTES,
    JPEG_MAGIC,
    MOST_METADATA,
    walk_jpeg,
)
from hilum.images.dicom.sniff import HEAD_BYTES, is_dicom
from hilum.images.rendering import DISPLAY, Rendering
from hilum.images.unreadable import UnreadableFilm

__all__ = [
    "KEEPING_READER",
    "MARKER_SHARE",
    "MAX_PIXELS",
    "NO_MEMORY",
    "UnreadableFilm",
    "bulk_bits",
    "decode_grey",
    "read_grey",
    "read_grey_keeping_damaged",
    "to_eight_bits",
]

MAX_PIXELS = 100_000_000
"""Default limit of pixels; a large mammograph has 30 million."""

KEEPING_READER = "hilum.images.read:read_grey_keeping_damaged"
"""Reader of films that the decoder fills up where their data are damaged, as ``--keep-damaged`` asks."""
MARKER_SHARE = 0.01
"""Largest share of samples that count as markers whatever their values; see ``bulk_bits``."""

# libjpeg's warnings (jerror.h) about data; those about JFIF or Adobe headers do not touch pixels.
_JPEG_DAMAGE = re.compile(
    rb"(?:Corrupt JPEG data|Premature end of JPEG|Inconsistent progression|Invalid SOS)[^\n]*"
)
_BLOCK = 2**19
"""Samples that are looked at together, in little memory; OpenCV counts exactly up to 2^24."""
NO_MEMORY = -4
"""OpenCV's code of an error for want of memory."""
_MEMORY = re.compile(rb"(?i)(?:insufficient|out of|failed to allocate) (?:memory|\d+ bytes)")
"""What libjpeg and libpng say then."""
_ERROR_OUTPUT = threading.Lock()


def read_grey(
    path: Path,
    max_pixels: int = MAX_PIXELS,
    rendering: Rendering = DISPLAY,
    notes: list[str] | None = None,
    *,
    keep_damaged: bool = False,
) -> np.ndarray:
    """Return the film as grey, uint8 [H, W], turned by its EXIF orientation.

    Colour becomes luma (Rec. 601), transparency is ignored. 16-bit samples are scaled by
    `to_eight_bits`.

    Args:
        path: A PNG, JPEG or DICOM file, by its content.
        max_pixels: The most pixels that it may have.
        rendering: How the samples of a DICOM file become grey.
        notes: Gets what is odd about a DICOM file, in a few set phrases, fit for counting.
        keep_damaged: Return a JPEG although its decoder reports damaged data.

    Raises:
        UnreadableFilm: The file is missing, cut, damaged, neither PNG, JPEG nor DICOM, or has more
            than ``max_pixels`` pixels.
    """
    with _opened(path) as file:
        if not is_dicom(file.read(HEAD_BYTES)):
            file.seek(0)
            data = _read_bytes(file, max_pixels)
            return decode_grey(data, max_pixels, keep_damaged=keep_damaged)
        from hilum.images.dicom.film import read_dicom  # pydicom takes a tenth of a second

        def decode_jpeg(data: bytes) -> np.ndarray:
            return _decode(walk_jpeg(data, max_pixels).data, keep_damaged)

        film = read_dicom(file, max_pixels, rendering, decode_jpeg)
        if notes is not None:
            notes.extend(film.notes)
        return film.grey


def read_grey_keeping_damaged(
    path: Path,
    max_pixels: int = MAX_PIXELS,
    rendering: Rendering = DISPLAY,
    notes: list[str] | None = None,
) -> np.ndarray:
    """Return the film as `read_grey` does, also a JPEG whose decoder reports damaged data.

    Raises:
        UnreadableFilm: As for `read_grey`; what has no pixels still fails.
    """
    return read_grey(path, max_pixels, rendering, notes, keep_damaged=True)


def decode_grey(
    data: bytes, max_pixels: int = MAX_PIXELS, *, keep_damaged: bool = False
) -> np.ndarray:
    """Return an encoded PNG or JPEG as grey, uint8 [H, W]; see `read_grey`.

    Args:
        data: The file's content.
        max_pixels: The most pixels that the film may have.
        keep_damaged: Return a JPEG although its decoder reports damaged data.

    Raises:
        UnreadableFilm: As for `read_grey`.
    """
    for magic, walk in CONTAINERS.items():
        if data.startswith(magic):
            encoded = walk(data, max_pixels)
            return to_eight_bits(_decode(encoded.data, keep_damaged), encoded.declared_bits)
    raise UnreadableFilm("not a PNG, JPEG or DICOM image") if data else UnreadableFilm("empty")


def to_eight_bits(grey: np.ndarray, declared_bits: int | None = None) -> np.ndarray:
    """Return grey samples as uint8 [H, W]; 8-bit samples are returned as they are.

    16-bit samples are divided by their full scale, never shifted, for many hold 10 to 15 bits. The
    full scale is ``2 ** bits - 1``, and what exceeds it (a marker) becomes white. The bits are those
    declared if the bulk of the film stays within them; 16 where the bulk exceeds what is declared
    (PNG's own rule: samples scaled up to the whole depth); those of the bulk, by `bulk_bits`, where
    nothing is declared. Files and arrays are scaled alike.

    Args:
        grey: uint8 or uint16, [H, W].
        declared_bits: Significant bits a sample (PNG's sBIT chunk), None if the film has none.
    """
    if grey.dtype == np.uint8:
        return grey
    bits = bulk_bits(grey)
    if declared_bits is not None:
        bits = declared_bits if bits <= max(8, declared_bits) else 16
    full = 2**bits - 1
    scaled = np.empty(grey.shape, np.uint8)
    rows = max(1, _BLOCK // grey.shape[1])
    for top in range(0, len(grey), rows):
        part = np.minimum(grey[top : top + rows], full).astype(np.uint32)
        part *= 255
        part += full // 2
        part //= full
        scaled[top : top + rows] = part
    return scaled


def bulk_bits(grey: np.ndarray) -> int:
    """Return the bits, from 8 to 16, that the bulk of a film uses: the fewest that hold all samples but markers.

    Samples above ``2 ** bits - 1`` are markers if either

    - they are at most 1 % of those above the film's lowest value, and an empty range of at least
      half of ``2 ** bits`` lies below them, or they reach three times ``2 ** bits`` (letters with
      soft edges);
    - they all have one value, which is 65,535 or above three times ``2 ** bits``, and are at most
      90 % (padding, a background at the top).

    The lowest value is not counted, so that a collimator's border is not taken for the bulk.

    Args:
        grey: uint16 [H, W].
    """
    samples, counts = grey.reshape(1, -1), np.zeros(65_536, np.int64)
    for start in range(0, samples.shape[1], _BLOCK):
        part = np.ascontiguousarray(samples[:, start : start + _BLOCK])
        counts += (
            cv2.calcHist([part], [0], None, [65_536], [0, 65_536]).reshape(-1).astype(np.int64)
        )
    values = np.flatnonzero(counts)
    largest, total = int(values[-1]), int(counts[values[1:]].sum())
    for bits in range(8, max(8, largest.bit_length())):
        above = values[values >= 2**bits]
        share = counts[above].sum() / max(1, total)
        apart, far = above[0] >= 1.5 * 2**bits, largest > 3 * 2**bits
        constant = len(above) == 1 and (far or largest == 65_535)
        if (share <= MARKER_SHARE and (apart or far)) or (constant and share <= 0.9):
            return bits
    return max(8, largest.bit_length())


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open a film for reading, unbuffered; what the system refuses becomes an UnreadableFilm."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would block for ever
            raise UnreadableFilm("not a plain file")
        with path.open("rb", buffering=0) as file:
            yield cast(BinaryIO, file)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UnreadableFilm("missing") from error
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        raise UnreadableFilm(
            "unreadable", getattr(error, "strerror", None) or type(error).__name__
        ) from error


def _read_bytes(file: BinaryIO, max_pixels: int) -> bytes:
    """Return the file's bytes; a file larger than any valid film of ``max_pixels`` is not read."""
    size, largest = os.fstat(file.fileno()).st_size, FILE_BYTES * max_pixels + MOST_METADATA
    if size > largest:
        raise UnreadableFilm(
            "too many pixels", f"a file of {size} bytes, at most {largest} are read"
        )
    return file.read()


def _decode(data: bytes, keep_damaged: bool) -> np.ndarray:
    """Return the decoded grey, uint8 or uint16 [H, W]."""
    # OpenCV's libjpeg prints its warnings and returns a picture: standard error is the only report.
    with _ERROR_OUTPUT, tempfile.TemporaryFile() as report:
        try:
            kept = os.dup(2)
        except OSError:  # a process without standard error
            kept = -1
        os.dup2(report.fileno(), 2)
        try:
            grey = cv2.imdecode(
                np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH
            )
        except cv2.error as error:
            if error.code == NO_MEMORY:
                raise MemoryError from error
            raise UnreadableFilm("damaged", "the decoder refuses it") from error
        finally:
            if kept < 0:
                os.close(2)
            else:
                os.dup2(kept, 2)
                os.close(kept)
        report_text = os.pread(report.fileno(), 2**16, 0)
    if grey is None and _MEMORY.search(report_text):
        raise MemoryError
    warning = _JPEG_DAMAGE.search(report_text)
    if grey is None or grey.ndim != 2 or grey.dtype not in (np.uint8, np.uint16):
        raise UnreadableFilm("damaged", "the decoder refuses it")
    if warning and data.startswith(JPEG_MAGIC) and not keep_damaged:
        raise UnreadableFilm("damaged", warning[0].decode("ascii", "replace")[:100])
    return grey
