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
import struct
import tempfile
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import cv2
import numpy as np

from hilum.images.dicom.sniff import HEAD_BYTES, is_dicom
from hilum.images.rendering import DISPLAY, Rendering
from hilum.images.unreadable import UnreadableFilm

__all__ = [
    "KEEPING_READER",
    "MARKER_SHARE",
    "MAX_PIXELS",
    "NO_MEMORY",
    "NotedFilm",
    "UnreadableFilm",
    "bulk_bits",
    "decode_grey",
    "read_grey",
    "read_grey_keeping_damaged",
    "read_noted",
    "to_eight_bits",
]

MAX_PIXELS = 100_000_000
"""Default limit of pixels; a large mammograph has 30 million."""

KEEPING_READER = "hilum.images.read:read_grey_keeping_damaged"
"""Reader of films that the decoder fills up where their data are damaged, as ``--keep-damaged`` asks."""
MOST_CHUNKS = 100_000
"""PNG chunks, at most: 800 MB of pixels in chunks of 8 kB, the smallest that are usual."""
MOST_MARKERS = 10_000
"""JPEG markers outside the pixels' data, at most; restarts within it and fill bytes do not count."""
MOST_SCANS = 100
"""JPEG scans, at most: a progressive film has about ten."""
MOST_SCANNED = 2 * 10**9
"""Pixels times scans of a JPEG, at most: each scan walks over all of them, however few bytes it has."""
MARKER_SHARE = 0.01
"""Largest share of samples that count as markers whatever their values; see ``bulk_bits``."""

_PNG_MAGIC, _JPEG_MAGIC = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_PNG_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples a pixel by colour type."""
_PNG_KEPT = (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"eXIf")
# A JPEG marker: not a stuffed byte (00), not a fill byte (ff), not a restart (d0 to d7).
_JPEG_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# libjpeg's warnings (jerror.h) about data; those about JFIF or Adobe headers do not touch pixels.
_JPEG_DAMAGE = re.compile(
    rb"(?:Corrupt JPEG data|Premature end of JPEG|Inconsistent progression|Invalid SOS)[^\n]*"
)
_MOST_EXIF = 2**16
_BLOCK = 2**19
"""Samples that are looked at together, in little memory; OpenCV counts exactly up to 2^24."""
_FILE_BYTES = 4
"""Bytes of a PNG before compression, and of any file, at most, for each pixel that a film may have."""
_SLACK = 2**16
_MOST_METADATA = 2**24
_BEST_RATIO = 1032
"""Largest compression ratio of deflate."""
NO_MEMORY = -4
"""OpenCV's code of an error for want of memory."""
_MEMORY = re.compile(rb"(?i)(?:insufficient|out of|failed to allocate) (?:memory|\d+ bytes)")
"""What libjpeg and libpng say then."""
_ERROR_OUTPUT = threading.Lock()
_JPEG_ALONE, _JPEG_SCAN, _JPEG_END = (0x01, 0xD8), 0xDA, 0xD9


class NotedFilm(NamedTuple):
    """A film as grey, and what was odd about it."""

    grey: np.ndarray
    """uint8 [H, W]"""
    notes: tuple[str, ...] = ()
    """A few set phrases, fit for counting."""


class _Encoded(NamedTuple):
    """A parsed file: the bytes for OpenCV, and the declared bits of a 16-bit sample."""

    data: bytes
    declared_bits: int | None = None


def read_grey(
    path: Path, max_pixels: int = MAX_PIXELS, rendering: Rendering = DISPLAY
) -> np.ndarray:
    """Return the film as grey, uint8 [H, W], turned by its EXIF orientation.

    Colour becomes luma (Rec. 601), transparency is ignored. 16-bit samples are scaled by
    `to_eight_bits`; those of DICOM files as ``rendering`` says.

    Raises:
        UnreadableFilm: The file is missing, cut, damaged, neither PNG, JPEG nor DICOM, or has more
            than ``max_pixels`` pixels.
    """
    return read_noted(path, max_pixels, rendering).grey


def read_grey_keeping_damaged(
    path: Path, max_pixels: int = MAX_PIXELS, rendering: Rendering = DISPLAY
) -> np.ndarray:
    """Return the film as `read_grey` does, also a JPEG whose decoder reports damaged data.

    Raises:
        UnreadableFilm: As for `read_grey`; what has no pixels still fails.
    """
    return read_noted(path, max_pixels, rendering, keep_damaged=True).grey


def read_noted(
    path: Path,
    max_pixels: int = MAX_PIXELS,
    rendering: Rendering = DISPLAY,
    *,
    keep_damaged: bool = False,
) -> NotedFilm:
    """Return the film as `read_grey` does, with what was odd about it.

    Raises:
        UnreadableFilm: As for `read_grey`.
    """
    with _opened(path) as file:
        if not is_dicom(file.read(HEAD_BYTES)):
            file.seek(0)
            data = _read_bytes(file, max_pixels)
            return NotedFilm(decode_grey(data, max_pixels, keep_damaged=keep_damaged))
        from hilum.images.dicom.film import read_dicom  # pydicom takes a tenth of a second

        def decode_jpeg(data: bytes) -> np.ndarray:
            return _decode(_walk_jpeg(data, max_pixels).data, keep_damaged)

        file.seek(0)
        return NotedFilm(*read_dicom(file, max_pixels, rendering, decode_jpeg))


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
    for magic, walk in _CONTAINERS.items():
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
    size, largest = os.fstat(file.fileno()).st_size, _FILE_BYTES * max_pixels + _MOST_METADATA
    if size > largest:
        raise UnreadableFilm(
            "too many pixels", f"a file of {size} bytes, at most {largest} are read"
        )
    return file.read()


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width == 0 or height == 0:
        raise UnreadableFilm("zero size", f"{width} x {height}")
    if width * height > max_pixels:
        raise UnreadableFilm(
            "too many pixels", f"{width} x {height}, at most {max_pixels} are read"
        )


def _walk_png(data: bytes, max_pixels: int) -> _Encoded:
    """Check size, order and checksums; keep only the chunks that grey pixels need.

    Colour profiles and gamma would change grey values in some OpenCV versions, and text chunks may
    be decompression bombs: both are left out.
    """
    view, at, bits, packed = memoryview(data), len(_PNG_MAGIC), 0, 0
    kept, names = [view[:at]], Counter[bytes]()
    while b"IEND" not in names:
        name, body, end = _png_chunk(view, at)
        if not names:
            raw = _check_png_header(name, body, max_pixels)
        names[name] += 1
        if names.total() > MOST_CHUNKS:
            raise UnreadableFilm("too many chunks", f"at most {MOST_CHUNKS} of a PNG are read")
        if name == b"sBIT" and body:
            bits = max(body)
        packed += len(body) * (name == b"IDAT")
        if name in _PNG_KEPT and (name != b"eXIf" or len(body) <= _MOST_EXIF):
            kept.append(view[at:end])
        at = end
    if b"IDAT" not in names:
        raise UnreadableFilm("damaged", "no image data")
    if not raw <= packed * _BEST_RATIO <= (2 * raw + _SLACK) * _BEST_RATIO:
        raise UnreadableFilm("damaged", f"{packed} bytes of image data do not fit its pixels")
    whole = at == len(data) and len(kept) == names.total() + 1
    return _Encoded(data if whole else b"".join(kept), bits if 1 <= bits <= 16 else None)


def _png_chunk(data: memoryview, at: int) -> tuple[bytes, memoryview, int]:
    """Return the chunk's name, its body and its end."""
    if at + 12 > len(data):
        raise UnreadableFilm("truncated", "the PNG ends before its IEND chunk")
    length, name = struct.unpack_from(">I4s", data, at)
    end = at + 12 + length
    if not name.isalpha():
        raise UnreadableFilm("damaged", "a PNG chunk without a name")
    if end > len(data):
        raise UnreadableFilm("truncated", f"the PNG ends inside its {name.decode()} chunk")
    body = data[at + 8 : end - 4]
    if zlib.crc32(body, zlib.crc32(name)) != struct.unpack_from(">I", data, end - 4)[0]:
        raise UnreadableFilm("damaged", f"wrong checksum of a PNG {name.decode()} chunk")
    return name, body, end


def _check_png_header(name: bytes, body: memoryview, max_pixels: int) -> int:
    """Check the size and return the bytes of the pixels before compression."""
    if name != b"IHDR" or len(body) != 13:
        raise UnreadableFilm("damaged", "a PNG without its header")
    width, height, depth, colour = struct.unpack_from(">IIBB", body)
    _check_size(width, height, max_pixels)
    row = width * depth * _PNG_SAMPLES.get(colour, 1) // 8
    if height * row > _FILE_BYTES * max_pixels:
        raise UnreadableFilm(
            "too many pixels",
            f"{width} x {height} of {8 * row // width} bits, at most {_FILE_BYTES * max_pixels} bytes are read",
        )
    return int(height * row)


def _walk_jpeg(data: bytes, max_pixels: int) -> _Encoded:
    """Check the size and follow the markers, scan by scan, to the end of the picture."""
    at, pixels, scans, markers = 2, 0, 0, 0
    while True:
        match = _JPEG_MARKER.search(data, at)
        if match is None:
            raise UnreadableFilm("truncated", "the JPEG ends before its end marker")
        marker, at = match[1][0], match.end()
        markers += 1
        if markers > MOST_MARKERS:
            raise UnreadableFilm("too many markers", f"at most {MOST_MARKERS} of a JPEG are read")
        if marker == _JPEG_END:
            break
        if marker in _JPEG_ALONE:
            continue
        body, at = _jpeg_segment(data, at)
        if marker in _JPEG_FRAMES and not pixels:
            pixels = _check_jpeg_frame(body, max_pixels)
        scans += marker == _JPEG_SCAN
        most = min(MOST_SCANS, MOST_SCANNED // max(1, pixels))
        if scans > most:
            raise UnreadableFilm("too many scans", f"at most {most} of a JPEG of its size are read")
    if not (pixels and scans):
        raise UnreadableFilm("damaged", "no image data")
    if at > _FILE_BYTES * pixels + _MOST_METADATA:
        raise UnreadableFilm("damaged", f"{at} bytes do not fit its {pixels} pixels")
    return _Encoded(data)


def _jpeg_segment(data: bytes, at: int) -> tuple[bytes, int]:
    """Return the segment's body and its end."""
    if at + 2 > len(data):
        raise UnreadableFilm("truncated", "the JPEG ends inside a segment")
    end = at + max(2, struct.unpack_from(">H", data, at)[0])
    if end > len(data):
        raise UnreadableFilm("truncated", "the JPEG ends inside a segment")
    return data[at + 2 : end], end


def _check_jpeg_frame(body: bytes, max_pixels: int) -> int:
    """Check the size and return the number of pixels."""
    if len(body) < 6:
        raise UnreadableFilm("damaged", "a JPEG frame without its header")
    height, width = struct.unpack_from(">HH", body, 1)
    _check_size(width, height, max_pixels)
    return int(height * width)


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
        said = os.pread(report.fileno(), 2**16, 0)
    if grey is None and _MEMORY.search(said):
        raise MemoryError
    warning = _JPEG_DAMAGE.search(said)
    if grey is None or grey.ndim != 2 or grey.dtype not in (np.uint8, np.uint16):
        raise UnreadableFilm("damaged", "the decoder refuses it")
    if warning and data.startswith(_JPEG_MAGIC) and not keep_damaged:
        raise UnreadableFilm("damaged", warning[0].decode("ascii", "replace")[:100])
    return grey


_CONTAINERS: dict[bytes, Callable[[bytes, int], _Encoded]] = {
    _PNG_MAGIC: _walk_png,
    _JPEG_MAGIC: _walk_jpeg,
}
