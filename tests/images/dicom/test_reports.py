"""Twenty faults that users of other DICOM readers reported; each test names the report."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence

from hilum.images.dicom.film import FRAMES_WRONG, NO_SYNTAX, SHAPE_DISAGREES, WINDOW_REPLACED
from hilum.images.dicom.header import DicomHeader
from hilum.images.enhance import Preparation, pixel_hash
from hilum.images.read import UnreadableFilm, read_grey
from hilum.images.rendering import Rendering
from hilum.sources.archive.film_view import film_view

J2K, JLS, RLE, LOSSLESS = (f"1.2.840.10008.1.2.{end}" for end in ("4.90", "4.80", "5", "4.70"))
IMPLICIT = "1.2.840.10008.1.2"
SLOPE = np.arange(4096, dtype=np.uint16).reshape(64, 64)
FILM = {"Rows": 64, "Columns": 64, "PixelData": SLOPE.tobytes()}
INVERTED = {"PhotometricInterpretation": "MONOCHROME1"}


def packed(frame: bytes, **tags: object) -> dict[str, object]:
    return {**FILM, "PixelData": encapsulate([frame]), **tags}


def notes_of(path: Path) -> list[str]:
    notes: list[str] = []
    read_grey(path, notes=notes)
    return notes


def refused(path: Path) -> str:
    with pytest.raises(UnreadableFilm) as error:
        read_grey(path)
    return error.value.detail


def lookup(first: int, entries: np.ndarray, bits: int, kind: str = "OW") -> Sequence:
    """A VOI LUT Sequence, its descriptor as given."""
    item = Dataset()
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # some of these break the standard, as the reported files did
        item.add_new(0x0028_3002, "US", [len(entries) % 2**16, first % 2**16, bits])
        item.add_new(0x0028_3006, kind, entries.tobytes())
    return Sequence([item])


def test_monodeploy_282_monochrome1_is_inverted(write) -> None:
    plain = read_grey(write(**FILM))
    assert plain[0, 0] == 0
    assert plain[-1, -1] == 255
    assert np.array_equal(read_grey(write(**FILM, **INVERTED)), 255 - plain)


@pytest.mark.parametrize("window", [(1000, 1500), (3500, 800), (-9000, 12000)])
def test_cornerstone3d_2215_the_inversion_comes_after_the_window(write, window) -> None:
    tags = {**FILM, "WindowCenter": window[0], "WindowWidth": window[1]}
    if window[0] < 0:
        tags |= {"RescaleSlope": -4, "RescaleIntercept": 100}
    assert np.array_equal(read_grey(write(**tags, **INVERTED)), 255 - read_grey(write(**tags)))


def test_weasis_372_and_620_monochrome1_and_inverse_are_one_inversion(write) -> None:
    both = write(**FILM, **INVERTED, PresentationLUTShape="INVERSE")
    assert np.array_equal(read_grey(both), read_grey(write(**FILM, **INVERTED)))
    assert notes_of(both) == []


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("tags", [{}, INVERTED])
def test_daikon_35_the_sign_of_the_intensity_does_not_count(write, sign: int, tags) -> None:
    path = write(**FILM, **tags, PixelIntensityRelationshipSign=sign)
    assert np.array_equal(read_grey(path), read_grey(write(**FILM, **tags)))


def test_dcm4chee_3155_a_wrong_shape_is_overruled_by_a_switch(write) -> None:
    path = write(**FILM, PresentationLUTShape="INVERSE")
    plain = read_grey(write(**FILM))
    assert np.array_equal(read_grey(path, rendering=Rendering(polarity="photometric")), plain)
    assert np.array_equal(read_grey(path, rendering=Rendering(polarity="shape")), 255 - plain)
    assert notes_of(path) == [SHAPE_DISAGREES]


@pytest.mark.parametrize("window", [{}, {"WindowCenter": -17475, "WindowWidth": 40950}])
def test_ohif_127_a_negative_slope_turns_the_film_over(write, window) -> None:
    grey = read_grey(write(**FILM, RescaleSlope=-10, RescaleIntercept=3000, **window))
    assert grey[0, 0] == 255
    assert grey[-1, -1] == 0
    assert (np.diff(grey.astype(int).reshape(-1)) <= 0).all()


@pytest.mark.parametrize("stated", [8, 10, 12, 16])
def test_dicomrs_825_a_lut_is_scaled_by_its_own_range(write, stated: int) -> None:
    path = write(**FILM, VOILUTSequence=lookup(0, SLOPE.reshape(-1), stated))
    assert np.abs(read_grey(path).astype(int) - read_grey(write(**FILM))).max() <= 1


def test_cornerstone_wado_259_the_data_of_a_lut_are_unsigned_and_its_first_value_is_not(
    write,
) -> None:
    entries = (SLOPE.reshape(-1) * 16).astype(np.uint16)  # up to 65,520
    values = (SLOPE.astype(np.int32) - 2048).astype(np.int16)
    tags = {**FILM, "PixelData": values.tobytes(), "PixelRepresentation": 1}
    path = write(**tags, VOILUTSequence=lookup(-2048, entries, 16))
    assert np.abs(read_grey(path).astype(int) - read_grey(write(**FILM))).max() <= 1


@pytest.mark.parametrize("syntax", [J2K, JLS, RLE, ""])
def test_pydicom_2260_bits_above_those_stored_do_not_show(write, syntax: str) -> None:
    words = SLOPE | np.where(np.arange(64) % 3 == 0, 0x8000, 0).astype(np.uint16)
    if syntax == J2K:
        frame = imagecodecs.jpeg2k_encode(words, codecformat="j2k", reversible=True)
    elif syntax == JLS:
        frame = imagecodecs.jpegls_encode(words)
    elif syntax == RLE:
        head = np.array([2, 64, 64 + 64 * 65, *[0] * 13], "<u4").tobytes()
        planes = [(words >> 8).astype(np.uint8), (words & 255).astype(np.uint8)]
        frame = head + b"".join(b"\x3f" + row.tobytes() for part in planes for row in part)
    path = (
        write(syntax, **packed(frame))
        if syntax
        else write(**{**FILM, "PixelData": words.tobytes()})
    )
    assert np.array_equal(read_grey(path), read_grey(write(**FILM)))


def test_pydicom_2073_the_code_stream_has_its_own_precision(write) -> None:
    plain = read_grey(write(**FILM))
    for bits in (12, 13, 16):
        frame = imagecodecs.jpeg2k_encode(
            SLOPE, codecformat="j2k", reversible=True, bitspersample=bits
        )
        assert np.array_equal(read_grey(write(J2K, **packed(frame))), plain)
    beyond = imagecodecs.jpeg2k_encode(
        SLOPE * 4, codecformat="j2k", reversible=True, bitspersample=14
    )
    assert "12 bits stored in its header, samples of 14 bits" in refused(
        write(J2K, **packed(beyond))
    )
    signed = imagecodecs.jpeg2k_encode(
        (SLOPE.astype(np.int32) - 2048).astype(np.int16), codecformat="j2k", reversible=True
    )
    assert "which end is black cannot be told" in refused(write(J2K, **packed(signed)))


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", IMPLICIT])
@pytest.mark.parametrize("kind", ["OW", "US", "OB"])
def test_pydicom_1073_and_1183_a_lut_in_bytes_after_a_fractional_slope(
    write, kind: str, syntax: str
) -> None:
    entries = np.linspace(0, 4095, 2048).astype(np.uint16)
    sequence = lookup(0, entries, 12, "OW" if kind == "US" else kind)
    if kind == "US":
        sequence[0].add_new(0x0028_3006, "US", entries.tolist())
    path = write(syntax, **FILM, VOILUTSequence=sequence, RescaleSlope="0.5", RescaleIntercept="0")
    assert np.abs(read_grey(path).astype(int) - read_grey(write(**FILM))).max() <= 1


@pytest.mark.parametrize(
    ("centres", "widths"),
    [([1500, 3000], [2500, 100]), ([1500, 3000, 10], [2500]), ([1500], [2500, 9, 9])],
)
def test_highdicom_210_the_first_of_several_windows_counts(write, centres, widths) -> None:
    several = read_grey(write(**FILM, WindowCenter=centres, WindowWidth=widths))
    assert np.array_equal(several, read_grey(write(**FILM, WindowCenter=1500, WindowWidth=2500)))


def test_dicomrs_826_a_width_below_one_is_a_width(write) -> None:
    tags = {"RescaleSlope": "0.00024", "RescaleIntercept": "0"}
    path = write(**FILM, **tags, WindowCenter="0.5", WindowWidth="0.9")
    expected = np.clip((SLOPE * 0.00024 - 0.5) / 0.9 + 0.5, 0, 1) * 255
    assert np.abs(read_grey(path) - expected).max() <= 1
    assert notes_of(path) == []


@pytest.mark.parametrize("window", [(60000, 100), (-60000, 100), (2048, 2), (2048, 400_000)])
@pytest.mark.parametrize("tags", [{}, INVERTED])
def test_fodicom_752_an_absurd_window_gives_way_to_percentiles(write, window, tags) -> None:
    path = write(**FILM, **tags, WindowCenter=window[0], WindowWidth=window[1])
    grey = read_grey(path)
    assert notes_of(path) == [WINDOW_REPLACED]
    assert grey.std() > 60
    assert (grey[0, 0] > grey[-1, -1]) == bool(tags)


def test_vindr_3_a_file_without_transfer_syntax_is_told_by_its_bytes_or_refused(write) -> None:
    plain = read_grey(write(**FILM))
    for syntax in (IMPLICIT, "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"):
        bare = write(syntax, preamble=False, **_swapped(syntax))
        headed = bare.with_name(f"headed-{syntax}.dcm")
        headed.write_bytes(bytes(128) + b"DICM" + bare.read_bytes())  # no file meta at all
        for path in (bare, headed):
            assert np.array_equal(read_grey(path), plain)
            assert notes_of(path) == [NO_SYNTAX]
    frame = packed(imagecodecs.jpegls_encode(SLOPE))
    assert np.array_equal(read_grey(write(preamble=False, **frame)), plain)
    odd = write(preamble=False, **packed(b"no code stream of any kind" * 9))
    assert refused(odd)
    assert refused(write(**{**FILM, "PixelData": None})) == "no pixel data"


def _swapped(syntax: str) -> dict[str, object]:
    big = syntax.endswith("2.2")
    return {**FILM, "PixelData": SLOPE.astype(">u2").tobytes() if big else FILM["PixelData"]}


@pytest.mark.parametrize(
    ("tags", "view"),
    [
        ({}, None),
        ({"requested_procedure": "CHEST (PA AND LAT)"}, None),
        ({"study_description": "CHEST PA AND LAT", "view_position": "AP"}, "AP"),
        ({"view_position": "LL"}, "LATERAL"),
    ],
)
def test_mimic_15_an_empty_view_is_unknown_and_a_studys_words_tell_none(tags, view) -> None:
    assert film_view(replace(DicomHeader(), **tags)) == view


@pytest.mark.parametrize("rendering", ["display", "archive"])
@pytest.mark.parametrize(("value", "limit"), [(0, None), (4095, None), (0, 99), (4000, 4095)])
def test_vtkdicom_128_padding_is_black_and_moves_nothing(write, rendering, value, limit) -> None:
    values = SLOPE.copy()
    values[:, :20] = value
    inside = {"PixelData": values[:, 20:].clip(500, 3500).tobytes(), "Rows": 64, "Columns": 44}
    values[:, 20:] = values[:, 20:].clip(500, 3500)
    tags = {"PixelPaddingValue": value, **({"PixelPaddingRangeLimit": limit} if limit else {})}
    for photometric in ({}, INVERTED):
        path = write(**{**FILM, "PixelData": values.tobytes()}, **tags, **photometric)
        grey = read_grey(path, rendering=Rendering(rendering))
        assert not grey[:, :20].any()
        alone = read_grey(write(**inside, **photometric), rendering=Rendering(rendering))
        assert np.array_equal(grey[:, 20:], alone)


def test_panimg_75_a_window_goes_with_the_pixels_that_it_was_made_for(write) -> None:
    """Inverting pixels ourselves and keeping their window would shift it to the other end."""
    original = write(**FILM, **INVERTED, WindowCenter="1000", WindowWidth="1001")
    turned = {**FILM, "PixelData": (4095 - SLOPE).tobytes()}
    rewritten = write(**turned, WindowCenter="3096", WindowWidth="1001")
    assert np.abs(read_grey(original).astype(int) - read_grey(rewritten)).max() <= 1


@pytest.mark.parametrize("stated", ["0", "1", "4", None])
def test_pydicom_1666_frames_are_counted_and_not_believed(write, stated) -> None:
    one = imagecodecs.jpegls_encode(SLOPE)
    for path in (
        write(**FILM, NumberOfFrames=stated),
        write(JLS, **packed(one, NumberOfFrames=stated)),
    ):
        assert np.array_equal(read_grey(path), read_grey(write(**FILM)))
        assert notes_of(path) == ([FRAMES_WRONG] if stated == "4" else [])
    two = {**FILM, "PixelData": encapsulate([one, one]), "NumberOfFrames": stated}
    assert refused(write(JLS, **two)).startswith("2 frames")
    native = {**FILM, "PixelData": SLOPE.tobytes() * 2, "NumberOfFrames": stated}
    assert refused(write(**native)).startswith("2 frames")


@pytest.mark.parametrize("enhance", ["none", "paper"])
def test_torchxrayvision_37_a_film_is_prepared_alike_however_it_is_written(write, enhance) -> None:
    lossless = imagecodecs.jpeg8_encode(SLOPE, lossless=True, bitspersample=12)
    paths = [
        write(**FILM),
        write(IMPLICIT, **FILM),
        write(JLS, **packed(imagecodecs.jpegls_encode(SLOPE))),
        write(LOSSLESS, **packed(lossless)),
        write(**{**FILM, "PixelData": (4095 - SLOPE).tobytes()}, **INVERTED),
    ]
    preparation = Preparation(48, enhance)
    assert len({pixel_hash(preparation.apply(read_grey(path))) for path in paths}) == 1
