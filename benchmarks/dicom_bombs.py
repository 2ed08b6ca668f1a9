"""DICOM files that ask for far more time or memory than any film needs."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import imagecodecs
import numpy as np

from dicom_files import SYNTAXES

LARGE = 5792
"""Side of films that are large, valid and nearly empty: as many pixels as are decoded."""


def _element(tag: int, kind: bytes, value: bytes, length: int | None = None) -> bytes:
    length = len(value) if length is None else length
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, kind)
    wide = kind in (b"OB", b"OW", b"SQ", b"UN", b"UT")
    return head + (struct.pack("<HI", 0, length) if wide else struct.pack("<H", length)) + value


def _text(value: str) -> bytes:
    return value.encode() + b" " * (len(value) % 2)


def _film(
    pixels: bytes, syntax: str = "explicit", rows: int = 64, columns: int = 64, bits: int = 16, before: bytes = b"",
    middle: bytes = b"", frames: str = "1", photometric: str = "MONOCHROME2", deflate: bool = False,
) -> bytes:  # fmt: skip
    """Return a file whose pixel data element is given whole."""
    uid = SYNTAXES.get(syntax, syntax)
    meta = _element(0x0002_0010, b"UI", uid.encode() + b"\0" * (len(uid) % 2))
    dataset = b"".join(
        [
            _element(0x0008_0060, b"CS", b"DX"), before,
            _element(0x0028_0002, b"US", b"\1\0"), _element(0x0028_0004, b"CS", _text(photometric)),
            _element(0x0028_0008, b"IS", _text(frames)),
            *(_element(tag, b"US", struct.pack("<H", value)) for tag, value in (
                (0x0028_0010, rows), (0x0028_0011, columns), (0x0028_0100, bits),
                (0x0028_0101, min(bits, 12)), (0x0028_0102, min(bits, 12) - 1), (0x0028_0103, 0),
            )),
            middle, pixels,
        ]
    )  # fmt: skip
    if deflate:
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        dataset = packer.compress(dataset) + packer.flush()
    return bytes(128) + b"DICM" + meta + dataset


def _native(count: int = 8192, length: int | None = None) -> bytes:
    return _element(0x7FE0_0010, b"OW", bytes(count), length)


def _packed(*fragments: bytes, end: bool = True) -> bytes:
    items = b"".join(
        struct.pack("<HHI", 0xFFFE, 0xE000, len(part)) + part for part in (b"", *fragments)
    )
    close = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0) if end else b""
    return _element(0x7FE0_0010, b"OB", items + close, 0xFFFF_FFFF)


def _patched(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]


def bombs() -> Iterator[tuple[str, bytes]]:
    """Yield names and files."""
    yield from _headers()
    yield from _frames()
    yield from _large()


def _headers() -> Iterator[tuple[str, bytes]]:
    yield "65535 x 65535 native", _film(_native(), rows=65535, columns=65535)
    yield "9999 x 9999 native, a small file", _film(_native(), rows=9999, columns=9999)
    yield "2 ** 31 frames", _film(_native(), frames=str(2**31 - 1))
    yield "4 GB of pixel data said", _film(_native(8192, 0xFFFF_FFF0))
    yield "64 bits allocated", _film(_native(), bits=64)
    yield (
        "a private value of 4 GB said",
        _film(_native(), before=_element(0x0009_1001, b"OB", b"", 0xFFFF_FFF0)),
    )
    yield "a text of 8 MB", _film(_native(), before=_element(0x0008_103E, b"UT", b"x" * 2**23))
    yield "windows of 8 MB", _film(_native(), middle=_element(0x0028_1050, b"UT", b"1\\" * 2**22))
    yield (
        "500,000 empty elements",
        _film(_native(), before=_element(0x0009_0010, b"LO", b"") * 500_000),
    )
    yield (
        "500,000 wanted elements",
        _film(_native(), before=_element(0x0008_103E, b"LO", b"ab") * 500_000),
    )
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0)
    yield "500,000 items", _film(_native(), before=_element(0x0008_2218, b"SQ", item * 500_000))
    undefined = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFF_FFFF)
    nested = (_element(0x0008_2218, b"SQ", b"", 0xFFFF_FFFF) + undefined) * 20_000
    yield "20,000 sequences in each other", _film(_native(), before=nested)
    yield (
        "an undefined length without an end",
        _film(_native(), before=_element(0x0009_1001, b"OB", bytes(2**25), 0xFFFF_FFFF)),
    )
    lut = _element(0x0028_3002, b"US", struct.pack("<HHH", 0, 0, 16)) + _element(
        0x0028_3006, b"OW", bytes(2**17)
    )
    luts = (struct.pack("<HHI", 0xFFFE, 0xE000, len(lut)) + lut) * 100
    yield (
        "100 tables of 65,536 entries",
        _film(_native(), middle=_element(0x0028_3010, b"SQ", luts)),
    )
    yield (
        "a character set of 1 MB",
        _film(_native(), before=_element(0x0008_0005, b"UT", b"ISO_IR 100\\" * 2**17)),
    )
    yield (
        "deflated: 1 GB of zeros",
        _film(b"", "deflated", before=_element(0x0009_1001, b"OB", bytes(2**30)), deflate=True),
    )
    yield "deflated: 1 GB of pixels", _film(_native(2**30), "deflated", deflate=True)
    yield (
        "deflated: elements without end",
        _film(
            _native(),
            "deflated",
            before=_element(0x0009_0010, b"LO", b"") * 5_000_000,
            deflate=True,
        ),
    )


def _frames() -> Iterator[tuple[str, bytes]]:
    flat = np.zeros((64, 64), np.uint16)
    j2k = bytes(imagecodecs.jpeg2k_encode(flat, codecformat="j2k", reversible=True))
    high = bytes(imagecodecs.htj2k_encode(flat, reversible=True))
    jpeg = bytes(imagecodecs.jpeg8_encode(flat.astype(np.uint8)))
    lossless = bytes(imagecodecs.jpeg8_encode(flat, lossless=True, bitspersample=12))
    jls = bytes(imagecodecs.jpegls_encode(flat))
    big = struct.pack(">II", 60000, 60000)
    huge = {"rows": 60000, "columns": 60000}
    for name, data in (("jpeg-2000", j2k), ("htj2k", high)):
        yield f"{name}: 60000 x 60000 in the frame", _film(_packed(_patched(data, 8, big)), name)
        yield f"{name}: 60000 x 60000 in both", _film(_packed(_patched(data, 8, big)), name, **huge)
        small_tiles = _patched(
            _patched(data, 8, struct.pack(">II", 4096, 4096)), 24, struct.pack(">II", 8, 8)
        )
        yield f"{name}: 262,144 tiles", _film(_packed(small_tiles), name, 4096, 4096)
        yield (
            f"{name}: 16,384 components",
            _film(_packed(_patched(data, 40, struct.pack(">H", 16384))), name),
        )
        layers = data.index(b"\xff\x52") + 6
        yield f"{name}: 65,535 layers", _film(_packed(_patched(data, layers, b"\xff\xff")), name)
        yield f"{name}: 32 levels", _film(_packed(_patched(data, layers + 3, b"\x20")), name)
    for name, data in (("jpeg-8", jpeg), ("lossless", lossless), ("jpeg-ls", jls)):
        frame = next(
            at for at in range(len(data)) if data[at] == 0xFF and data[at + 1] in (0xC0, 0xC3, 0xF7)
        )
        bits = 8 if name == "jpeg-8" else 16
        yield (
            f"{name}: 65500 x 65500",
            _film(
                _packed(_patched(data, frame + 5, struct.pack(">HH", 65500, 65500))),
                name,
                65500,
                65500,
                bits,
            ),
        )
    scan = jpeg.index(b"\xff\xda")
    yield (
        "jpeg-8: 20,000 scans",
        _film(_packed(jpeg[:scan] + jpeg[scan:-2] * 20_000 + jpeg[-2:]), "jpeg-8", bits=8),
    )
    yield (
        "jpeg-xl: 2 ** 30 x 2 ** 30",
        _film(_packed(b"\xff\x0a" + b"\xff" * 40), "jpeg-xl", **huge),
    )
    yield (
        "rle: 4 GB",
        _film(_packed(struct.pack("<16I", 2, 64, 70, *[0] * 13) + b"\x81\0" * 2**22), "rle"),
    )
    yield (
        "deflated frame: 1 GB",
        _film(_packed(zlib.compress(bytes(2**30), 9)[2:-4]), "deflated-frame"),
    )
    yield "300,000 fragments", _film(_packed(*[b""] * 300_000), "jpeg-ls")
    yield (
        "a fragment of 4 GB said",
        _film(
            _element(
                0x7FE0_0010,
                b"OB",
                struct.pack("<HHIHHI", 0xFFFE, 0xE000, 0, 0xFFFE, 0xE000, 0xFFFF_FF00),
                0xFFFF_FFFF,
            ),
            "jpeg-ls",
        ),
    )


def _large() -> Iterator[tuple[str, bytes]]:
    """Yield films of as many pixels as are decoded, and of next to no bytes."""
    flat = np.zeros((LARGE, LARGE), np.uint16)
    size = {"rows": LARGE, "columns": LARGE}
    frames = {
        "jpeg-2000": imagecodecs.jpeg2k_encode(
            flat, codecformat="j2k", reversible=True, bitspersample=12
        ),
        "htj2k": imagecodecs.htj2k_encode(flat, reversible=True),
        "jpeg-xl": imagecodecs.jpegxl_encode(flat, lossless=True, bitspersample=12, effort=1),
        "jpeg-ls": imagecodecs.jpegls_encode(flat),
        "lossless": imagecodecs.jpeg8_encode(flat, lossless=True, bitspersample=12),
    }
    for name, data in frames.items():
        yield (
            f"{name}: {LARGE} x {LARGE}, {len(data)} bytes",
            _film(_packed(bytes(data)), name, **size),
        )
