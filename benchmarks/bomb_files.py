"""Film files that ask a decoder for far more time or memory than their bytes: what `film_bombs.py` measures.

Every bomb is valid up to the point where it exceeds what a film needs, and is made in memory or as a
sparse file, in a second or two each.
"""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

SIDE = 9_999
"""Of films just within the limit of pixels."""
MANY = 1_000_000
GREY, COLOUR, PALETTE, RGBA = 0, 2, 3, 6
Maker = Callable[[], bytes]


def chunk(name: bytes, body: bytes = b"") -> bytes:
    """Return a PNG chunk."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def zeros(count: int, more: bytes = b"") -> bytes:
    """Return so many zero bytes, deflated, and others behind them."""
    packer, block, packed = zlib.compressobj(9), bytes(2**20), []
    while count > 0:
        packed.append(packer.compress(block[:count]))
        count -= len(block)
    return b"".join([*packed, packer.compress(more), packer.flush()])


def png(
    width: int,
    height: int,
    *,
    depth: int = 8,
    colour: int = GREY,
    interlaced: bool = False,
    before: bytes = b"",
    data: bytes | None = None,
) -> bytes:
    """Return a black PNG.

    Args:
        width: In pixels.
        height: In pixels.
        depth: Bits a sample.
        colour: PNG's colour type.
        interlaced: Whether its pixels come in seven passes.
        before: Chunks before the pixels.
        data: The IDAT chunks, if not those of black pixels.
    """
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    if colour == PALETTE:
        before += chunk(b"PLTE", bytes(3))
    if data is None:
        bits = depth * {GREY: 1, COLOUR: 3, PALETTE: 1, RGBA: 4}[colour]
        sizes = passes(width, height) if interlaced else [(width, height)]
        data = chunk(b"IDAT", zeros(sum(h * (1 + -(-w * bits // 8)) for w, h in sizes)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + data + chunk(b"IEND")


def passes(width: int, height: int) -> list[tuple[int, int]]:
    """Return the sizes of the seven passes of an interlaced PNG."""
    first = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)]
    steps = [*first, (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    sizes = [(-(-(width - x) // across), -(-(height - y) // down)) for x, y, across, down in steps]
    return [(w, h) for w, h in sizes if w > 0 and h > 0]


def split_idat(data: bytes, step: int) -> bytes:
    """Return IDAT chunks of so many bytes."""
    return b"".join(chunk(b"IDAT", data[at : at + step]) for at in range(0, len(data), step))


def animated(frames: int, side: int) -> bytes:
    """Return an APNG."""
    control = struct.pack(">II", frames, 0)
    body = struct.pack(">I", 1) + zeros(side * (side + 1))
    frame = chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, side, side, 0, 0, 1, 1, 0, 0))
    more = (frame + chunk(b"fdAT", body)) * frames
    return png(64, 64, before=chunk(b"acTL", control), data=chunk(b"IDAT", zeros(64 * 65)) + more)


def segment(marker: int, body: bytes = b"") -> bytes:
    """Return a JPEG segment."""
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def small_jpeg(*options: int) -> bytes:
    """Return a small grey JPEG."""
    return cv2.imencode(".jpg", np.full((64, 64), 90, np.uint8), list(options))[1].tobytes()


def with_segments(more: bytes) -> bytes:
    """Return a small JPEG with more behind its first marker."""
    data = small_jpeg()
    return data[:2] + more + data[2:]


def declared(width: int, height: int) -> bytes:
    """Return a small JPEG that claims another size."""
    data = bytearray(small_jpeg())
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def progressive(side: int, scans: int, components: int = 1, marker: int = 0xC2) -> bytes:
    """Return a JPEG in scans, each with hardly a byte: a run of empty blocks stands for all."""
    frame = struct.pack(">BHHB", 8, side, side, components)
    frame += b"".join(bytes([number, 0x11, 0]) for number in range(1, components + 1))
    table = segment(0xDB, b"\0" + bytes([1]) * 64)
    codes = segment(0xC4, b"\0" + bytes([1] + [0] * 15) + b"\0")  # 0: no difference
    codes += segment(0xC4, b"\x10" + bytes([1] + [0] * 15) + b"\xe0")  # 0: 2^14 blocks and more
    blocks = (-(-side // 8)) ** 2
    names = b"".join(bytes([number, 0]) for number in range(1, components + 1))
    first = segment(0xDA, bytes([components]) + names + bytes([0, 0, 0]))
    first += bytes(-(-blocks * components // 8))
    runs = np.full((-(-blocks // 32_767), 15), 1, np.uint8)
    runs[:, 0] = 0
    packed = np.packbits(runs.reshape(-1)).tobytes().replace(b"\xff", b"\xff\0")
    later = segment(0xDA, bytes([1, 1, 0, 1, 63, 0])) + packed
    return (
        b"\xff\xd8"
        + table
        + segment(marker, frame)
        + codes
        + first
        + later * (scans - 1)
        + b"\xff\xd9"
    )


def restarted(side: int) -> bytes:
    """Return a JPEG with a restart behind every block."""
    data = declared(side, side)
    at = data.index(b"\xff\xda")
    head = data[:at] + segment(0xDD, struct.pack(">H", 1)) + data[at : at + 10]
    blocks = (-(-side // 8)) ** 2
    body = b"".join(b"\x00\xff" + bytes([0xD0 + number % 8]) for number in range(blocks))
    return head + body + b"\xff\xd9"


def exif_circle(entries: int) -> bytes:
    """Return EXIF data whose directory names itself as the next."""
    entry = struct.pack("<HHII", 0x8769, 4, 1, 8)
    directory = struct.pack("<H", entries) + entry * entries + struct.pack("<I", 8)
    return b"II*\0" + struct.pack("<I", 8) + directory


def npy(shape: str, kind: str = "|u1", fortran: str = "False") -> bytes:
    """Return a NumPy header."""
    text = f"{{'descr': '{kind}', 'fortran_order': {fortran}, 'shape': ({shape}), }}\n"
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(text)) + text.encode()


def npz(header: bytes, pixels: int, name: str = "train_images.npy") -> bytes:
    """Return an archive of one array of zeros."""
    buffer, block = io.BytesIO(), bytes(2**20)
    with (
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open(name, "w", force_zip64=True) as file,
    ):
        file.write(header)
        for at in range(0, pixels, len(block)):
            file.write(block[: pixels - at])
    return buffer.getvalue()


def crowded(entries: int) -> bytes:
    """Return an archive with so many names of one array."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("train_images.npy", npy("1, 8, 8") + bytes(64))
    data = buffer.getvalue()
    at, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    entry = data[at:end]
    tail = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 0xFFFF, 0xFFFF, len(entry) * entries, at, 0)
    return data[:at] + entry * entries + tail


def png_bombs() -> Iterator[tuple[str, Maker]]:
    """Yield the PNG bombs by name."""
    yield "png-largest-size", lambda: png(2**31 - 1, 2**31 - 1, data=chunk(b"IDAT", zeros(99)))
    yield "png-60000", lambda: png(60_000, 60_000, data=chunk(b"IDAT", zeros(99)))
    yield "png-little-data", lambda: png(SIDE, SIDE, data=chunk(b"IDAT", zeros(99)))
    yield "png-8-bit", lambda: png(SIDE, SIDE)
    yield "png-16-bit", lambda: png(SIDE, SIDE, depth=16)
    yield "png-1-bit", lambda: png(SIDE, SIDE, depth=1)
    yield "png-palette", lambda: png(SIDE, SIDE, colour=PALETTE)
    yield "png-rgba", lambda: png(SIDE, SIDE, colour=RGBA)
    yield "png-rgba-16-bit", lambda: png(SIDE, SIDE, colour=RGBA, depth=16)
    yield "png-interlaced", lambda: png(SIDE, SIDE, interlaced=True)
    yield "png-interlaced-16-bit", lambda: png(SIDE, SIDE, depth=16, interlaced=True)
    yield "png-interlaced-rgb-16-bit", lambda: png(SIDE, SIDE, depth=16, colour=COLOUR, interlaced=True)  # fmt: skip
    yield "png-one-row", lambda: png(SIDE**2, 1)
    yield "png-one-column", lambda: png(1, SIDE**2)
    noise, black = np.random.default_rng(0).bytes(MANY), chunk(b"IDAT", zeros(64 * 65))
    yield "png-million-idat", lambda: png(1000, 1000, data=split_idat(noise, 1))
    yield "png-million-empty-idat", lambda: png(64, 64, data=chunk(b"IDAT") * MANY + black)
    yield "png-million-text", lambda: png(64, 64, before=chunk(b"tEXt", b"a\0b") * MANY)
    yield "png-million-unknown", lambda: png(64, 64, before=chunk(b"hiLm") * MANY)
    yield "png-ztxt", lambda: png(64, 64, before=chunk(b"zTXt", b"a\0\0" + zeros(2**30)))
    yield (
        "png-many-ztxt",
        lambda: png(64, 64, before=chunk(b"zTXt", b"a\0\0" + zeros(2**26)) * 1000),
    )
    yield "png-iccp", lambda: png(64, 64, before=chunk(b"iCCP", b"a\0\0" + zeros(2**30)))
    yield "png-itxt", lambda: png(64, 64, before=chunk(b"iTXt", b"a\0\1\0\0\0" + zeros(2**30)))
    yield "png-data-behind-pixels", lambda: png(64, 64, data=chunk(b"IDAT", zeros(64 * 65 + 2**30)))
    empty = zlib.compress(b"", 9)[:2] + b"\0\0\0\xff\xff" * 10_000_000
    yield "png-empty-blocks", lambda: png(64, 64, data=chunk(b"IDAT", empty))
    yield "png-apng-frames", lambda: animated(20_000, 64)
    yield "png-apng-large-frames", lambda: animated(20, SIDE)
    yield "png-exif-circle", lambda: png(64, 64, before=chunk(b"eXIf", exif_circle(5_000)))
    yield "png-exif-large", lambda: png(64, 64, before=chunk(b"eXIf", exif_circle(60_000) * 50))


def jpeg_bombs() -> Iterator[tuple[str, Maker]]:
    """Yield the JPEG bombs by name."""
    yield "jpeg-largest-size", lambda: declared(65_500, 65_500)
    yield "jpeg-little-data", lambda: declared(SIDE, SIDE)
    yield "jpeg-no-height", lambda: declared(SIDE, 0)
    yield "jpeg-one-row", lambda: declared(65_500, 1)
    yield "jpeg-progressive", lambda: progressive(SIDE, 2)
    yield "jpeg-progressive-10", lambda: progressive(SIDE, 10)
    yield "jpeg-progressive-20", lambda: progressive(SIDE, 20)
    yield "jpeg-progressive-99", lambda: progressive(SIDE, 99)
    yield "jpeg-progressive-colour", lambda: progressive(SIDE, 2, 3)
    yield "jpeg-progressive-cmyk", lambda: progressive(SIDE, 2, 4)
    yield "jpeg-99-scans-small", lambda: progressive(1_000, 99)
    yield "jpeg-2000-scans", lambda: progressive(2_000, 2_000)
    yield "jpeg-20000-scans", lambda: progressive(512, 20_000)
    yield "jpeg-arithmetic", lambda: progressive(SIDE, 10, marker=0xCA)
    yield "jpeg-lossless", lambda: progressive(SIDE, 2, marker=0xC3)
    yield "jpeg-255-components", lambda: progressive(512, 2, 255)
    yield "jpeg-million-comments", lambda: with_segments(segment(0xFE) * MANY)
    yield "jpeg-million-tables", lambda: with_segments(segment(0xC4) * MANY)
    yield (
        "jpeg-million-exif",
        lambda: with_segments(segment(0xE1, b"Exif\0\0" + exif_circle(1)) * MANY),
    )
    yield "jpeg-million-starts", lambda: with_segments(b"\xff\xd8" * MANY)
    yield "jpeg-million-lone-markers", lambda: with_segments(b"\xff\x01" * MANY)
    yield "jpeg-fill-bytes-few", lambda: with_segments(b"\xff" * 16_000_000)
    yield "jpeg-fill-bytes", lambda: with_segments(b"\xff" * 100_000_000)
    yield "jpeg-fill-within-data", lambda: small_jpeg()[:-2] + b"\xff" * 100_000_000 + b"\xff\xd9"
    yield "jpeg-restarts", lambda: restarted(SIDE)
    yield "jpeg-exif-circle", lambda: with_segments(segment(0xE1, b"Exif\0\0" + exif_circle(5_000)))
    yield "jpeg-without-end", lambda: progressive(SIDE, 20)[:-2]


def npz_bombs() -> Iterator[tuple[str, Maker]]:
    """Yield archives; the film asked for is the last that each claims, or the first."""
    yield "npz-last-of-many", lambda: npz(npy("50000000, 8, 8"), 3_200_000_000)
    yield "npz-one-film", lambda: npz(npy("1, 20000, 20000"), 400_000_000)
    yield "npz-claims-more", lambda: npz(npy("999999999999, 28, 28"), 10_000)
    yield "npz-negative", lambda: npz(npy("-1, 28, 28"), 784)
    yield "npz-huge-number", lambda: npz(npy("9" * 100 + ", 28, 28"), 784)
    yield "npz-objects", lambda: npz(npy("1, 28, 28", "|O"), 784)
    yield "npz-fortran", lambda: npz(npy("1, 28, 28", fortran="True"), 784)
    yield "npz-float", lambda: npz(npy("1, 28, 28", "<f8"), 8 * 784)
    long = b"\x93NUMPY\x02\0" + struct.pack("<I", 2**31) + b" " * 5_000
    yield "npz-long-header", lambda: npz(long, 2**27)
    yield "npz-million-names", lambda: crowded(MANY)


def write_bombs(folder: Path, only: str = "") -> Iterator[tuple[str, Path]]:
    """Write one bomb after the other, and yield its name and the path of its film.

    Args:
        folder: Where.
        only: Beginning of the names that are wanted.
    """
    for name, make in [*png_bombs(), *jpeg_bombs(), *npz_bombs()]:
        if not name.startswith(only):
            continue
        kind = name.partition("-")[0]
        file = folder / f"{name}.{kind}"
        file.write_bytes(make())
        last = 49_999_999 if "last" in name else 0
        yield name, Path(f"{file}#train/{last}") if kind == "npz" else file
    for kind, start in (("png", png(64, 64)), ("jpeg", small_jpeg()[:-2])):
        for size in (2**29, 2**40):
            name = f"sparse-{kind}-{size >> 20}-mb"
            if name.startswith(only):
                with (folder / f"{name}.{kind}").open("wb") as handle:
                    handle.write(start[:-12])  # without its end
                    handle.truncate(size)
                yield name, folder / f"{name}.{kind}"
    if not only:
        os.mkfifo(folder / "pipe.png")
        yield "pipe", folder / "pipe.png"
        yield "device", Path("/dev/zero")
