"""Reading films: Pillow is the oracle; what is cut, damaged or too large is refused with its reason."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from hilum.images.read import (
    UnreadableFilm,
    bulk_bits,
    decode_grey,
    read_grey,
    read_grey_keeping_damaged,
    to_eight_bits,
)

GREY = (np.add.outer(np.arange(90), 2 * np.arange(120)) % 256).astype(np.uint8)
COLOUR = np.stack([GREY, 255 - GREY, GREY // 2], axis=-1)
WITH_ALPHA = np.dstack([COLOUR, GREY])


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def with_chunk(png: bytes, name: bytes, body: bytes) -> bytes:
    """Insert a chunk behind the header."""
    return png[:33] + png_chunk(name, body) + png[33:]


def sixteen_bit_png(values: np.ndarray) -> bytes:
    return cv2.imencode(".png", values.astype(np.uint16))[1].tobytes()


def reason(data: bytes, **options: int) -> str:
    with pytest.raises(UnreadableFilm) as caught:
        decode_grey(data, **options)
    assert "\n" not in str(caught.value)
    return caught.value.reason


KINDS = {
    "grey png": (Image.fromarray(GREY), "PNG", {}),
    "one-bit png": (Image.fromarray(GREY).convert("1"), "PNG", {}),
    "colour png": (Image.fromarray(COLOUR), "PNG", {}),
    "png with alpha": (Image.fromarray(WITH_ALPHA), "PNG", {}),
    "grey png with alpha": (Image.merge("LA", [Image.fromarray(GREY)] * 2), "PNG", {}),
    "palette png": (Image.fromarray(COLOUR).quantize(64), "PNG", {}),
    "two-bit palette png": (Image.fromarray(COLOUR).quantize(4), "PNG", {"bits": 2}),
    "palette png with transparency": (
        Image.fromarray(COLOUR).quantize(64),
        "PNG",
        {"transparency": 3},
    ),
    "grey jpeg": (Image.fromarray(GREY), "JPEG", {}),
    "colour jpeg": (Image.fromarray(COLOUR), "JPEG", {"quality": 95}),
    "colour jpeg without subsampling": (Image.fromarray(COLOUR), "JPEG", {"subsampling": 0}),
    "progressive jpeg": (Image.fromarray(COLOUR), "JPEG", {"progressive": True}),
    "jpeg with restarts": (Image.fromarray(COLOUR), "JPEG", {"restart_marker_rows": 1}),
    "cmyk jpeg": (Image.fromarray(COLOUR).convert("CMYK"), "JPEG", {}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_agrees_with_pillow(kind: str) -> None:
    image, container, options = KINDS[kind]
    data = encoded(image, container, **options)
    oracle = Image.open(io.BytesIO(data))
    oracle.draft("L", None)  # a colour JPEG's own luma, as here; by way of RGB it would be clipped
    expected = np.asarray(oracle.convert("L"))
    film = decode_grey(data)
    assert film.dtype == np.uint8
    assert film.shape == (90, 120)
    # The conversions to grey round differently; from CMYK twice.
    assert np.abs(film.astype(int) - expected).max() <= (2 if kind == "cmyk jpeg" else 1)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("container", ["PNG", "JPEG"])
def test_films_stand_upright_as_exif_says(orientation: int, container: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(GREY), container, exif=exif)
    turned = {
        1: GREY,
        2: GREY[:, ::-1],
        3: GREY[::-1, ::-1],
        4: GREY[::-1],
        5: GREY.T,
        6: np.rot90(GREY, -1),
        7: GREY[::-1, ::-1].T,
        8: np.rot90(GREY),
    }[orientation]
    film = decode_grey(data)
    assert film.shape == turned.shape
    assert np.median(np.abs(film.astype(int) - turned)) <= 3


def test_twelve_bits_in_sixteen_are_scaled_by_the_declared_bits() -> None:
    values = np.arange(0, 2049).reshape(3, 683)
    film = decode_grey(with_chunk(sixteen_bit_png(values), b"sBIT", b"\x0c"))
    assert np.array_equal(film, np.floor(values * 255 / 4095 + 0.5))
    assert film.max() == 128


def test_declared_bits_that_are_exceeded_mean_samples_over_the_whole_depth() -> None:
    values = np.array([[0, 4096, 65_520]])
    film = decode_grey(with_chunk(sixteen_bit_png(values), b"sBIT", b"\x0c"))
    assert film.tolist() == [[0, 16, 255]]


def test_undeclared_bits_are_those_of_the_film() -> None:
    assert decode_grey(sixteen_bit_png(np.array([[0, 1000, 2000, 4000]]))).tolist() == [
        [0, 62, 125, 249]
    ]
    assert decode_grey(sixteen_bit_png(np.array([[0, 0, 0]]))).tolist() == [[0, 0, 0]]
    assert decode_grey(sixteen_bit_png(np.array([[0, 65_535]]))).tolist() == [[0, 255]]


def anatomy(bits: int) -> np.ndarray:
    """Return a film whose samples use all of so many bits."""
    return np.linspace(0, 2**bits - 1, 40_000).astype(np.uint16).reshape(200, 200)


def letter(film: np.ndarray) -> None:
    film[5:15, 5:15] = 65_535


def letters_of_other_values(film: np.ndarray) -> None:
    film[5:15, 5:15] = np.linspace(64_000, 65_535, 100).reshape(10, 10)


def soft_letter(film: np.ndarray) -> None:
    film[5:15, 5:15] = np.linspace(film.max(), 65_535, 100).reshape(10, 10)


def one_pixel(film: np.ndarray) -> None:
    film[0, 0] = 65_535


def background_at_the_top(film: np.ndarray) -> None:
    film[:, :80] = 65_535


def collimator(film: np.ndarray) -> None:
    film[:, :80], film[100:110, 100:110] = 0, 65_535


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 15])
@pytest.mark.parametrize(
    "mark",
    [letter, letters_of_other_values, one_pixel, background_at_the_top, collimator],
)
def test_markers_do_not_darken_the_film(bits: int, mark: Callable[[np.ndarray], None]) -> None:
    plain, marked = anatomy(bits), anatomy(bits)
    mark(marked)
    film = decode_grey(sixteen_bit_png(marked))
    same = plain == marked
    full = 2**bits - 1
    expected = (plain.astype(int) * 255 + full // 2) // full
    assert np.array_equal(film[same], expected[same])
    assert film[marked > full].min() == 255
    assert np.array_equal(film, to_eight_bits(marked))  # an array of the same values
    declared = decode_grey(with_chunk(sixteen_bit_png(marked), b"sBIT", bytes([bits])))
    assert np.array_equal(film, declared)


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
def test_letters_with_soft_edges_do_not_darken_the_film(bits: int) -> None:
    marked = anatomy(bits)
    soft_letter(marked)
    assert bulk_bits(marked) == bits


def test_bright_parts_of_the_film_are_no_markers() -> None:
    film = anatomy(16)
    assert bulk_bits(film) == 16
    film[:, :190] = 0  # a narrow open field
    assert bulk_bits(film) == 16
    bright = anatomy(15)
    bright[:20] = np.linspace(20_000, 50_000, 4000).reshape(20, 200)
    assert bulk_bits(bright) == 16
    noisy_border = np.arange(40_000, dtype=np.uint16).reshape(200, 200) % 50
    noisy_border[80:120, 80:120] = np.linspace(20_000, 60_000, 1600).reshape(40, 40)
    assert bulk_bits(noisy_border) == 16
    assert bulk_bits(np.zeros((4, 4), np.uint16)) == 8


def damaged_jpegs() -> dict[str, bytes]:
    """Return JPEGs whose markers are whole and whose data are not."""
    texture = np.random.default_rng(0).integers(0, 255, (96, 96), dtype=np.uint8)
    made = {}
    for name, options in {
        "plain": {},
        "progressive": {"progressive": True},
        "restarts": {"restart_marker_rows": 1},
    }.items():
        data = encoded(Image.fromarray(texture), "JPEG", **options)
        at = data.rindex(b"\xff\xda") + 200
        made[f"{name}, bytes dropped"] = data[:at] + data[at + 300 :]
        made[f"{name}, bytes zeroed"] = data[:at] + bytes(300) + data[at + 300 :]
    return made


@pytest.mark.parametrize("kind", damaged_jpegs())
def test_what_the_decoder_reports_is_damage(
    kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = damaged_jpegs()[kind]
    assert reason(data) == "damaged"
    assert decode_grey(data, keep_damaged=True).shape == (96, 96)
    (tmp_path / "film.jpg").write_bytes(data)
    assert read_grey_keeping_damaged(tmp_path / "film.jpg").shape == (96, 96)
    sound = encoded(Image.fromarray(GREY), "JPEG")
    assert decode_grey(sound).shape == GREY.shape  # the report is each film's own
    assert capfd.readouterr().err == ""


def test_eight_bit_samples_are_left_alone_whatever_is_declared() -> None:
    film = np.array([[0, 3, 7]], np.uint8)
    assert to_eight_bits(film, 3) is film


def test_sixteen_bit_colour_keeps_its_order() -> None:
    ramp = np.linspace(0, 65_535, 300).astype(np.uint16)[None]
    film = decode_grey(cv2.imencode(".png", np.dstack([ramp] * 3))[1].tobytes())
    assert np.abs(film.astype(int) - ramp / 257).max() <= 1


def test_gamma_and_colour_profiles_do_not_bend_grey_values() -> None:
    plain = encoded(Image.fromarray(COLOUR), "PNG")
    for name, body in (
        (b"gAMA", struct.pack(">I", 45_455)),
        (b"sRGB", b"\x00"),
        (b"iCCP", b"x\x00\x00broken"),
    ):
        assert np.array_equal(decode_grey(with_chunk(plain, name, body)), decode_grey(plain))


@pytest.mark.parametrize(
    "kind", ["grey png", "grey jpeg", "progressive jpeg", "jpeg with restarts"]
)
def test_a_cut_file_is_truncated_wherever_it_is_cut(kind: str) -> None:
    image, container, options = KINDS[kind]
    data = encoded(image, container, **options)
    for length in [*range(9, len(data), max(1, len(data) // 60)), len(data) - 1]:
        assert reason(data[:length]) == "truncated", length


def test_bytes_behind_the_end_do_no_harm() -> None:
    for kind in ("grey png", "progressive jpeg"):
        image, container, options = KINDS[kind]
        data = encoded(image, container, **options)
        assert np.array_equal(decode_grey(data + b"\0" * 100), decode_grey(data))


def test_a_flipped_bit_in_a_png_is_noticed() -> None:
    data = bytearray(encoded(Image.fromarray(GREY), "PNG"))
    data[len(data) // 2] ^= 1
    assert reason(bytes(data)) == "damaged"


def test_a_png_with_too_few_rows_is_damaged(capfd: pytest.CaptureFixture[str]) -> None:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 120, 90, 8, 0, 0, 0, 0))
    rows = zlib.compress(b"".join(b"\0" + bytes(row) for row in GREY[:40]))
    data = b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", rows) + png_chunk(b"IEND", b"")
    assert reason(data) == "damaged"
    capfd.readouterr()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "empty"),
        (b"\x00", "not a PNG, JPEG or DICOM image"),
        (b"GIF89a", "not a PNG, JPEG or DICOM image"),
        (b"II*\x00", "not a PNG, JPEG or DICOM image"),
        (b"<html>not found</html>", "not a PNG, JPEG or DICOM image"),
        (b"\x89PNG\r\n\x1a\n", "truncated"),
        (b"\xff\xd8\xff", "truncated"),
        (b"\xff\xd8\xff\xd9", "damaged"),
        (b"\x89PNG\r\n\x1a\n" + png_chunk(b"IEND", b""), "damaged"),
    ],
)
def test_what_is_no_film_is_refused(data: bytes, expected: str) -> None:
    assert reason(data) == expected


def test_a_bomb_is_refused_by_its_header_alone() -> None:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 0, 0, 0, 0))
    assert reason(b"\x89PNG\r\n\x1a\n" + header) == "too many pixels"
    jpeg = bytearray(encoded(Image.fromarray(GREY), "JPEG"))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = b"\xff\xff\xff\xff"
    assert reason(bytes(jpeg)) == "too many pixels"
    jpeg[frame + 5 : frame + 9] = b"\x00\x00\x00\x10"
    assert reason(bytes(jpeg)) == "zero size"


def test_the_pixel_cap_is_the_callers() -> None:
    data = encoded(Image.fromarray(GREY), "PNG")
    assert reason(data, max_pixels=90 * 120 - 1) == "too many pixels"
    assert decode_grey(data, max_pixels=90 * 120).shape == (90, 120)


def test_the_extension_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "film.jpg").write_bytes(encoded(Image.fromarray(GREY), "PNG"))
    assert np.array_equal(read_grey(tmp_path / "film.jpg"), GREY)


def test_paths_that_are_no_films(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    cases = {"none.png": "missing", ".": "not a plain file", "pipe.png": "not a plain file"}
    for name, expected in cases.items():
        with pytest.raises(UnreadableFilm) as caught:
            read_grey(tmp_path / name)
        assert caught.value.reason == expected
        assert str(tmp_path) not in str(caught.value)
    with pytest.raises(UnreadableFilm):
        read_grey(tmp_path / "null\0byte.png")


def test_a_huge_file_is_not_even_read(tmp_path: Path) -> None:
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(UnreadableFilm, match="too many pixels"):
        read_grey(tmp_path / "huge.png")


def test_real_films_agree_with_pillow(shared_data: Path) -> None:
    films = [
        *sorted((shared_data / "nih14-1024").rglob("*.png")),
        *sorted((shared_data / "kermany224").rglob("*.jpeg")),
    ]
    assert films
    for path in films[:20]:
        expected = np.asarray(Image.open(path).convert("L"))
        assert np.abs(read_grey(path).astype(int) - expected).max() <= 1


def test_decoding_imports_neither_torch_nor_pandas() -> None:
    code = (
        "import sys, hilum.images.decoding.worker as _;"
        "print([name for name in ('torch', 'pandas', 'timm') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
