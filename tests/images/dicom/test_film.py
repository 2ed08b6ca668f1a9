import io
import struct
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian

from hilum.images.dicom.film import (
    COLOUR,
    FRAMES_WRONG,
    NO_SYNTAX,
    SHAPE_DISAGREES,
    WINDOW_REPLACED,
)
from hilum.images.read import UnreadableFilm, read_grey
from hilum.images.rendering import Rendering

RLE, JPEG, J2K, HTJ2K, JXL, LOSSLESS = (
    f"1.2.840.10008.1.2.{end}" for end in ("5", "4.50", "4.90", "4.201", "4.110", "4.70")
)
SLOPE = np.arange(4096, dtype=np.uint16).reshape(64, 64)
NATIVE = {"Rows": 64, "Columns": 64, "PixelData": SLOPE.tobytes()}


def _packed(*frames: bytes, **tags: object) -> dict[str, object]:
    return {"Rows": 64, "Columns": 64, "PixelData": encapsulate(list(frames)), **tags}


def _notes(path: Path) -> tuple[str, ...]:
    notes: list[str] = []
    read_grey(path, notes=notes)
    return tuple(notes)


def _refused(path: Path) -> UnreadableFilm:
    with pytest.raises(UnreadableFilm) as error:
        read_grey(path)
    assert str(path) not in str(error.value)
    return error.value


@pytest.mark.parametrize(
    ("tags", "reason", "detail"),
    [
        ({"HighBit": 15}, "not supported", "High Bit 15 with 12 bits stored"),
        ({"BitsStored": 17, "HighBit": 16}, "damaged", "17 bits stored of 16 allocated"),
        ({"BitsAllocated": 32}, "not supported", "32 bits allocated"),
        ({"BitsAllocated": None}, "damaged", "no Bits Allocated"),
        ({"Rows": None}, "damaged", "no Rows"),
        ({"Rows": 0}, "zero size", "64 x 0"),
        ({"Rows": 65535, "Columns": 65535}, "too many pixels", "65535 x 65535"),
        ({"Rows": 65}, "truncated", "8192 bytes of pixel data, 8320 are needed"),
        ({"Rows": 21}, "not supported", "3 frames"),
        ({"Rows": 32, "NumberOfFrames": "2"}, "not supported", "2 frames"),
        ({"PixelData": None}, "not supported", "no pixel data"),
        ({"PhotometricInterpretation": None}, "damaged", "no Photometric Interpretation"),
        ({"PhotometricInterpretation": "HSV"}, "not supported", "its Photometric Interpretation"),
        ({"SamplesPerPixel": 3}, "not supported", "3 samples of 16 bits"),
        ({"PhotometricInterpretation": "RGB"}, "not supported", "1 samples of 16 bits"),
        ({"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 4095}, "damaged", "every pixel is padding"),
    ],
)  # fmt: skip
def test_what_cannot_be_shown_is_refused_with_the_reason(write, tags, reason, detail) -> None:
    error = _refused(write(**{**NATIVE, **tags}))
    assert (error.reason, error.detail[: len(detail)]) == (reason, detail)


@pytest.mark.parametrize("codec", [J2K, HTJ2K])
@pytest.mark.parametrize("signed", [False, True])
def test_samples_of_another_sign_than_the_header_says_are_refused(
    write, codec: str, signed: bool
) -> None:
    values = SLOPE if not signed else (SLOPE.astype(np.int32) - 2048).astype(np.int16)
    encode = imagecodecs.jpeg2k_encode if codec == J2K else imagecodecs.htj2k_encode
    data = encode(values, reversible=True, **({"codecformat": "j2k"} if codec == J2K else {}))
    path = write(codec, **_packed(data, PixelRepresentation=int(signed)))
    assert read_grey(path).std() > 50
    error = _refused(write(codec, **_packed(data, PixelRepresentation=int(not signed))))
    assert "which end is black cannot be told" in error.detail


@pytest.mark.parametrize(
    "damage",
    [lambda data: data[: len(data) // 2], lambda data: data[:-2], lambda data: data[:20]],
    ids=["half", "end", "header"],
)
@pytest.mark.parametrize("codec", [JPEG, LOSSLESS, J2K, HTJ2K, JXL, RLE])
def test_a_cut_frame_is_refused(write, codec: str, damage: Callable[[bytes], bytes]) -> None:
    encode = {
        JPEG: lambda: imagecodecs.jpeg8_encode((SLOPE >> 4).astype(np.uint8)),
        LOSSLESS: lambda: imagecodecs.jpeg8_encode(SLOPE, lossless=True, bitspersample=12),
        J2K: lambda: imagecodecs.jpeg2k_encode(SLOPE, codecformat="j2k", reversible=True),
        HTJ2K: lambda: imagecodecs.htj2k_encode(SLOPE, reversible=True),
        JXL: lambda: imagecodecs.jpegxl_encode(SLOPE, lossless=True, bitspersample=12),
        RLE: lambda: struct.pack("<16I", 2, 64, 64 + 64 * 65, *[0] * 13)
        + b"".join(b"\x3f" + row.tobytes() for part in (SLOPE >> 8, SLOPE & 255) for row in part.astype(np.uint8)),
    }[codec]  # fmt: skip
    bits = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7} if codec == JPEG else {}
    whole = encode()
    assert read_grey(write(codec, **_packed(whole, **bits))).shape == (64, 64)
    assert _refused(write(codec, **_packed(damage(whole), **bits))).reason in (
        "truncated",
        "damaged",
    )


def test_a_jpeg_whose_decoder_reports_damage_is_refused(write) -> None:
    rng = np.random.default_rng(0)
    data = bytearray(imagecodecs.jpeg8_encode(rng.integers(0, 255, (64, 64), dtype=np.uint8)))
    middle = len(data) // 2
    del data[middle : middle + 400]
    bits = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    path = write(JPEG, **_packed(bytes(data), **bits))
    assert _refused(path).reason == "damaged"
    assert read_grey(path, keep_damaged=True).shape == (64, 64)


def test_a_frame_of_another_size_than_the_header_says_is_refused(write) -> None:
    data = imagecodecs.jpegls_encode(SLOPE[:32])
    error = _refused(write("1.2.840.10008.1.2.4.80", **_packed(data)))
    assert error.detail == "64 x 64 in its header, 64 x 32 in its frame"


def test_fragments_of_one_frame_are_put_together_and_several_frames_are_refused(write) -> None:
    data = imagecodecs.jpegls_encode(SLOPE)
    third = len(data) // 3 // 2 * 2
    pieces = encapsulate([data[:third], data[third : 2 * third], data[2 * third :]], has_bot=False)
    whole = read_grey(write("1.2.840.10008.1.2.4.80", **{**NATIVE, "PixelData": pieces}))
    one = read_grey(write("1.2.840.10008.1.2.4.80", **_packed(data)))
    assert (whole == one).all()
    assert _refused(write("1.2.840.10008.1.2.4.80", **_packed(data, data))).detail[:8] == "2 frames"


def test_the_frame_says_which_codec_it_is(write) -> None:
    data = imagecodecs.jpegls_encode(SLOPE)
    for syntax in (LOSSLESS, "1.2.840.10008.1.2.4.57", J2K, "1.2.3.4"):
        assert (read_grey(write(syntax, **_packed(data))) == read_grey(write(**NATIVE))).all()


def test_what_is_odd_is_noted(write) -> None:
    assert _notes(write(**NATIVE)) == ()
    assert _notes(write(**NATIVE, WindowCenter=60000, WindowWidth=2)) == (WINDOW_REPLACED,)
    assert _notes(write(**NATIVE, PresentationLUTShape="INVERSE")) == (SHAPE_DISAGREES,)
    assert _notes(write(**NATIVE, NumberOfFrames="4")) == (FRAMES_WRONG,)
    assert _notes(write(preamble=False, **NATIVE)) == (NO_SYNTAX,)


def test_the_polarity_is_that_of_the_tag_or_of_the_shape(write) -> None:
    plain = read_grey(write(**NATIVE))
    assert plain[0, 0] < plain[-1, -1]
    for photometric, shape, by_tag, by_shape in (
        ("MONOCHROME1", None, False, False),
        ("MONOCHROME1", "IDENTITY", False, True),
        ("MONOCHROME1", "INVERSE", False, False),
        ("MONOCHROME2", "INVERSE", True, False),
        ("MONOCHROME2", "IDENTITY", True, True),
    ):
        path = write(**NATIVE, PhotometricInterpretation=photometric, PresentationLUTShape=shape)
        for rendering in ("display", "archive"):
            for polarity, rises in (("photometric", by_tag), ("shape", by_shape)):
                grey = read_grey(path, rendering=Rendering(rendering, polarity))
                assert (grey == (plain if rises else 255 - plain)).all()


def test_a_constant_film_keeps_its_grey(write) -> None:
    """Inverting at the film's own maximum would make it black."""
    flat = {**NATIVE, "PixelData": np.full((64, 64), 1000, np.uint16).tobytes()}
    assert set(read_grey(write(**flat)).flat) == {round(1000 / 4095 * 255)}
    path = write(**flat, PhotometricInterpretation="MONOCHROME1")
    assert set(read_grey(path).flat) == {255 - round(1000 / 4095 * 255)}


@pytest.mark.parametrize("planar", [0, 1])
def test_colours_become_luma(write, planar: int) -> None:
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
    stored = colours.transpose(2, 0, 1) if planar else colours
    path = write(
        Rows=64, Columns=64, PixelData=stored.tobytes(), SamplesPerPixel=3, BitsAllocated=8,
        BitsStored=8, HighBit=7, PhotometricInterpretation="RGB", PlanarConfiguration=planar,
    )  # fmt: skip
    luma = colours @ np.array([0.299, 0.587, 0.114])
    assert np.abs(read_grey(path) - luma).max() <= 1
    assert _notes(path) == (COLOUR,)


def test_a_palette_is_looked_up(write) -> None:
    grey = np.arange(256, dtype=np.uint16)[::-1] * 257
    tables = {
        f"{colour}PaletteColorLookupTable{part}": value
        for colour in ("Red", "Green", "Blue")
        for part, value in (("Descriptor", [256, 0, 16]), ("Data", grey.tobytes()))
    }
    index = (SLOPE >> 4).astype(np.uint8)
    bits = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    path = write(
        Rows=64,
        Columns=64,
        PixelData=index.tobytes(),
        PhotometricInterpretation="PALETTE COLOR",
        **bits,
        **tables,
    )
    assert (read_grey(path) == 255 - index).all()
    del tables["RedPaletteColorLookupTableData"]
    path = write(
        Rows=64,
        Columns=64,
        PixelData=index.tobytes(),
        PhotometricInterpretation="PALETTE COLOR",
        **bits,
        **tables,
    )
    assert "palette" in _refused(path).detail


def test_a_compressed_bomb_is_refused_before_it_is_decoded(write) -> None:
    large = np.tile(SLOPE, (2, 2))
    tiles = bytearray(imagecodecs.jpeg2k_encode(large, codecformat="j2k", reversible=True))
    tiles[24:32] = struct.pack(">II", 1, 1)
    error = _refused(write(J2K, **{**_packed(bytes(tiles)), "Rows": 128, "Columns": 128}))
    assert "16384 tiles" in error.detail
    path = write(JXL, Rows=8000, Columns=8000, PixelData=encapsulate([b"\xff\x0a" + bytes(40)]))
    assert _refused(path).reason == "too many pixels"
    path = write(RLE, **_packed(struct.pack("<16I", 2, 64, 70, *[0] * 13) + b"\x81\0" * 5000))
    assert _refused(path).reason in ("damaged", "truncated")


def test_without_a_preamble_and_a_transfer_syntax_a_film_is_read(write) -> None:
    for syntax in ("1.2.840.10008.1.2", ExplicitVRLittleEndian):
        assert (
            read_grey(write(syntax, preamble=False, **NATIVE)) == read_grey(write(**NATIVE))
        ).all()


def test_files_in_memory_are_read_as_those_on_disk(write) -> None:
    from hilum.images.dicom.film import read_dicom

    data = write(**NATIVE).read_bytes()
    film = read_dicom(io.BytesIO(data), 10**8, Rendering(), lambda _: np.zeros(0))
    assert film.grey.shape == (64, 64)
