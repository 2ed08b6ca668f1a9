"""The containers of PNG and JPEG, walked before a decoder sees them: their size, completeness and limits."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable
from typing import NamedTuple

from hilum.images.unreadable import UnreadableFilm

MOST_CHUNKS = 100_000
"""PNG chunks, at most: 800 MB of pixels in chunks of 8 kB, the smallest that are usual."""
MOST_MARKERS = 10_000
"""JPEG markers outside the pixels' data, at most; restarts within it and fill bytes do not count."""
MOST_SCANS = 100
"""JPEG scans, at most: a progressive film has about ten."""
MOST_SCANNED = 2 * 10**9
"""Pixels times scans of a JPEG, at most: each scan walks over all of them, however few bytes it has."""
FILE_BYTES = 4
"""Bytes of a PNG before compression, and of any file, at most, for each pixel that a film may have."""
MOST_METADATA = 2**24
"""Bytes of a JPEG, or of any file, at most, beside those."""
_SLACK = 2**16
_BEST_RATIO = 1032
"""Largest compression ratio of deflate."""
_MOST_EXIF = 2**16
PNG_MAGIC, JPEG_MAGIC = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_PNG_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples a pixel by colour type."""
_PNG_KEPT = (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"eXIf")
# A JPEG marker: not a stuffed byte (00), not a fill byte (ff), not a restart (d0 to d7).
_JPEG_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_ALONE, _JPEG_SCAN, _JPEG_END = (0x01, 0xD8), 0xDA, 0xD9


class Encoded(NamedTuple):
    """A parsed file: the bytes for OpenCV, and the declared bits of a 16-bit sample."""

    data: bytes
    declared_bits: int | None = None


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width == 0 or height == 0:
        raise UnreadableFilm("zero size", f"{width} x {height}")
    if width * height > max_pixels:
        raise UnreadableFilm(
            "too many pixels", f"{width} x {height}, at most {max_pixels} are read"
        )


def walk_png(data: bytes, max_pixels: int) -> Encoded:
    """Check size, order and checksums; keep only the chunks that grey pixels need.

    Colour profiles and gamma would change grey values in some OpenCV versions, and text chunks may
    be decompression bombs: both are left out.

    Raises:
        UnreadableFilm: It is cut, damaged or exceeds a limit.
    """
    view, at, bits, packed = memoryview(data), len(PNG_MAGIC), 0, 0
    kept, names, chunks = [view[:at]], set[bytes](), 0
    while b"IEND" not in names:
        name, body, end = _png_chunk(view, at)
        if not names:
            raw = _check_png_header(name, body, max_pixels)
        names.add(name)
        chunks += 1
        if chunks > MOST_CHUNKS:
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
    whole = at == len(data) and len(kept) == chunks + 1
    return Encoded(data if whole else b"".join(kept), bits if 1 <= bits <= 16 else None)


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
    if height * row > FILE_BYTES * max_pixels:
        raise UnreadableFilm(
            "too many pixels",
            f"{width} x {height} of {8 * row // width} bits, at most {FILE_BYTES * max_pixels} bytes are read",
        )
    return int(height * row)


def walk_jpeg(data: bytes, max_pixels: int) -> Encoded:
    """Check the size and follow the markers, scan by scan, to the end of the picture.

    Raises:
        UnreadableFilm: It is cut, damaged or exceeds a limit.
    """
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
    if at > FILE_BYTES * pixels + MOST_METADATA:
        raise UnreadableFilm("damaged", f"{at} bytes do not fit its {pixels} pixels")
    return Encoded(data)


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


CONTAINERS: dict[bytes, Callable[[bytes, int], Encoded]] = {
    PNG_MAGIC: walk_png,
    JPEG_MAGIC: walk_jpeg,
}
