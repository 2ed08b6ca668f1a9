"""What a compressed frame says of itself, read before any decoder allocates memory for it."""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

from hilum.images.unreadable import UnreadableFilm

MOST_TILES = 4096
"""Tiles of a JPEG 2000 frame; OpenJPEG reserves kilobytes for each before it decodes the first."""
MOST_SCANS = 4
"""Scans of a sequential JPEG frame: one a component."""

_SOI, _EOI, _SOS = b"\xff\xd8", b"\xff\xd9", b"\xff\xda"
_J2K, _JP2, _JXL = b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  ", b"\xff\x0a"
_JXL_BOX = b"\x00\x00\x00\x0cJXL "
_COD = b"\xff\x52\x00"
_STARTS = (_SOI, _J2K, _JP2, _JXL, _JXL_BOX)
_SEQUENTIAL, _LOSSLESS, _LS = (0xC0, 0xC1), 0xC3, 0xF7
_FRAMES = {*range(0xC0, 0xD0), _LS} - {0xC4, 0xC8, 0xCC}
# Widths for a height of 1 by JPEG XL's code, ISO 18181-1, table of SizeHeader.
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


class Codestream(NamedTuple):
    """The frame's codec and size; see ``inspect``."""

    codec: str
    """jpeg, jpeg-lossless, jpeg-ls, jpeg2000 or jpeg-xl."""
    width: int
    height: int
    components: int | None = None
    bits: int | None = None
    """Precision of a sample; None where it is not read here."""
    signed: bool | None = None
    """Whether samples are signed; None where the codec does not say."""
    lossy: bool = False
    """Whether decoded samples may differ from those that were encoded, as far as the frame says."""


def begins_frame(data: bytes) -> bool:
    """Return whether a fragment is the first of a compressed frame, other than RLE."""
    return data.startswith(_STARTS)


def inspect(data: bytes) -> Codestream | None:
    """Return what a frame says of itself, None where it is of no codec that says anything.

    Raises:
        UnreadableFilm: It is cut, damaged, or of a kind that no radiograph has.
    """
    try:
        if data.startswith(_SOI):
            return _jpeg(data)
        if data.startswith((_J2K, _JP2)):
            return _jpeg2000(data)
        if data.startswith((_JXL, _JXL_BOX)):
            return _jpeg_xl(data)
    except (struct.error, IndexError, ValueError) as error:
        raise UnreadableFilm("truncated", "the compressed frame ends inside its header") from error
    return None


def _jpeg(data: bytes) -> Codestream:
    at = 2
    while True:
        match = re.compile(rb"\xff+([^\xff\0])").match(data, at)
        if match is None:
            raise UnreadableFilm("damaged", "no frame header in its JPEG")
        marker, at = match[1][0], match.end()
        if marker in _FRAMES:
            break
        at += struct.unpack_from(">H", data, at)[0]
    bits, height, width, components = struct.unpack_from(">BHHB", data, at + 2)
    if marker == _LS:
        codec = "jpeg-ls"
    elif marker == _LOSSLESS:
        codec = "jpeg-lossless"
    elif marker in _SEQUENTIAL:
        codec = "jpeg"
    else:
        raise UnreadableFilm(
            "not supported",
            f"a JPEG of process SOF{marker - 0xC0}: sequential and lossless are read",
        )
    if data.rfind(_EOI, at) < 0:  # from the end, where it is
        raise UnreadableFilm("truncated", "the compressed frame ends before its end marker")
    if codec != "jpeg-ls" and data.count(_SOS, at) > MOST_SCANS:
        raise UnreadableFilm("damaged", f"more than {MOST_SCANS} scans in its JPEG")
    lossy = codec == "jpeg"
    if codec == "jpeg-ls":
        scan = data.index(_SOS, at)
        lossy = data[scan + 5 + 2 * data[scan + 4]] > 0  # NEAR
    return Codestream(codec, width, height, components, bits, lossy=lossy)


def _jpeg2000(data: bytes) -> Codestream:
    at = data.find(_J2K)  # inside of a JP2 file's boxes, which some writers leave around it
    if at < 0:
        raise UnreadableFilm("damaged", "no codestream in its JPEG 2000 file")
    right, bottom, left, top, tile_width, tile_height, tile_left, tile_top, components, depth = (
        struct.unpack_from(">8IHB", data, at + 8)
    )
    width, height = right - left, bottom - top
    if not (tile_width and tile_height and width > 0 and height > 0):
        raise UnreadableFilm("zero size", "in its JPEG 2000 header")
    tiles = -(-(right - tile_left) // tile_width) * -(-(bottom - tile_top) // tile_height)
    if tiles > MOST_TILES:
        raise UnreadableFilm(
            "damaged", f"{tiles} tiles in its JPEG 2000, at most {MOST_TILES} are read"
        )
    if data.rfind(_EOI, at) < 0:  # from the end, where it is
        raise UnreadableFilm("truncated", "the compressed frame ends before its end marker")
    coding = data.find(_COD, at)
    lossy = coding >= 0 and data[coding + 13] == 0  # the irreversible 9-7 transform
    return Codestream(
        "jpeg2000", width, height, components, (depth & 0x7F) + 1, bool(depth >> 7), lossy
    )


def _jpeg_xl(data: bytes) -> Codestream:
    if data.startswith(_JXL_BOX):
        data = _jpeg_xl_box(data)
    if not data.startswith(_JXL):
        raise UnreadableFilm("damaged", "no codestream in its JPEG XL file")
    bits = int.from_bytes(data[2:18], "little")

    def take(count: int) -> int:
        nonlocal bits
        value = bits & (1 << count) - 1
        bits >>= count
        return value

    def side(eighths: int) -> int:
        return (take(5) + 1) * 8 if eighths else take((9, 13, 18, 30)[take(2)]) + 1

    eighths = take(1)
    height = side(eighths)
    ratio = take(3)
    if ratio:
        across, down = _RATIOS[ratio - 1]
        width = height * across // down
    else:
        width = side(eighths)
    return Codestream("jpeg-xl", width, height, lossy=True)  # it may be


def _jpeg_xl_box(data: bytes) -> bytes:
    """Return the (first part of the) codestream in a JPEG XL container."""
    at = 0
    while at + 8 <= len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        begin = at + 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, begin)
            begin += 8
        if name in (b"jxlc", b"jxlp"):
            return data[begin + 4 * (name == b"jxlp") :]
        at = at + size if size >= 8 else len(data)
    return b""
