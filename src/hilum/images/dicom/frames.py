"""The bytes of the one frame of a radiograph: native, or put together from fragments."""

from __future__ import annotations

import os
import struct
import zlib
from typing import BinaryIO

from hilum.images.dicom.codestream import begins_frame
from hilum.images.dicom.elements import UNDEFINED, PixelElement
from hilum.images.unreadable import UnreadableFilm

RLE = "1.2.840.10008.1.2.5"
DEFLATED_FRAME = "1.2.840.10008.1.2.8.1"
MOST_FRAGMENTS = 100_000

_ITEM, _END = 0xFFFE_E000, 0xFFFE_E0DD


def native_frame(file: BinaryIO, pixels: PixelElement, need: int) -> bytes:
    """Return the frame's bytes.

    Args:
        file: The data set.
        pixels: Where its pixel data are; of stated length.
        need: Bytes of a frame.

    Raises:
        UnreadableFilm: There are fewer bytes, or more than one frame.
    """
    if pixels.length >= 2 * need:
        raise several(pixels.length // need)
    available = min(pixels.length, max(0, file.seek(0, os.SEEK_END) - pixels.start))
    if available < need:
        raise UnreadableFilm("truncated", f"{available} bytes of pixel data, {need} are needed")
    return _read(file, pixels.start, need)


def encapsulated_frame(file: BinaryIO, pixels: PixelElement, syntax: str, need: int) -> bytes:
    """Return the one compressed frame, whatever the number of its fragments.

    Raises:
        UnreadableFilm: The fragments are damaged or cut, or there are several frames.
    """
    size = file.seek(0, os.SEEK_END)
    offsets, fragments = _items(file, pixels, size)
    if not fragments:
        raise UnreadableFilm("damaged", "no fragment in its pixel data")
    if syntax in (RLE, DEFLATED_FRAME):
        frames = len(fragments)
    else:
        starts = sum(begins_frame(_read(file, at, min(12, length))) for at, length in fragments)
        frames = starts if offsets <= 1 or starts > 1 else offsets
    if frames > 1:
        raise several(frames)
    total = sum(length for _, length in fragments)
    if total > 2 * need + 2**16:
        raise UnreadableFilm("damaged", f"{total} bytes in a frame that has {need} when decoded")
    return b"".join(_read(file, at, length) for at, length in fragments)


def inflated_frame(data: bytes, need: int) -> bytes:
    """Return a deflated frame's bytes.

    Raises:
        UnreadableFilm: It is damaged.
    """
    try:
        frame = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, need)
    except zlib.error as error:
        raise UnreadableFilm("damaged", "the deflated frame") from error
    if len(frame) < need:
        raise UnreadableFilm("truncated", f"{len(frame)} bytes of pixel data, {need} are needed")
    return frame


def several(frames: int) -> UnreadableFilm:
    """Return the refusal of a file of several frames."""
    return UnreadableFilm("not supported", f"{frames} frames: a radiograph has one")


def _items(file: BinaryIO, pixels: PixelElement, size: int) -> tuple[int, list[tuple[int, int]]]:
    """Return the number of frames by the offset table (0 where it is empty), and each fragment's place and length."""
    at, offsets = pixels.start, None
    fragments: list[tuple[int, int]] = []
    end = at + pixels.length if pixels.length != UNDEFINED else size
    while at < end:  # the delimiter after the last fragment may be missing
        head = _read(file, at, 8)
        group, number, length = struct.unpack("<HHI", head)
        at += 8
        if group << 16 | number == _END:
            break
        if group << 16 | number != _ITEM or length == UNDEFINED:
            raise UnreadableFilm("damaged", "the fragments of its pixel data")
        if offsets is None:
            offsets = length // 4
        else:
            fragments.append((at, length))
        if len(fragments) > MOST_FRAGMENTS:
            raise UnreadableFilm("damaged", f"more than {MOST_FRAGMENTS} fragments")
        at += length
        if at > size:
            raise UnreadableFilm("truncated", "it ends inside its pixel data")
    return offsets or 0, fragments


def _read(file: BinaryIO, at: int, length: int) -> bytes:
    file.seek(at)
    data = file.read(length)
    if len(data) < length:
        raise UnreadableFilm("truncated", "it ends inside its pixel data")
    return data
