import struct
import subprocess
import sys
import zlib
from datetime import date, time
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from hilum.images.dicom.header import HEADER_TAGS, DicomHeader, age_in_years, read_header
from hilum.images.read import UnreadableFilm

IMPLICIT, EXPLICIT, BIG, DEFLATED = (f"1.2.840.10008.1.2{end}" for end in ("", ".1", ".2", ".1.99"))


def _code(meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "R-1", "SRT", meaning
    return item


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG, DEFLATED])
@pytest.mark.parametrize("undefined", [False, True])
def test_every_encoding_gives_the_same_header(write, syntax: str, undefined: bool) -> None:
    views = Sequence([_code("postero-anterior")])
    views.is_undefined_length = undefined
    path = write(
        syntax,
        ImageType=["DERIVED", "PRIMARY", "", "X"],
        ViewCodeSequence=views,
        PatientAge="045Y",
        StudyDate="20260131",
        StudyTime="101500.5",
        BurnedInAnnotation="NO",
        WindowCenter=[2048, 40.5],
        WindowWidth="4096",
        RescaleSlope="-1",
        PixelPaddingValue=4095,
        NumberOfFrames="1",
    )
    header = read_header(path)
    assert header.transfer_syntax == syntax
    assert (header.rows, header.columns, header.bits_stored, header.frames) == (2, 3, 12, 1)
    assert header.image_type == ("DERIVED", "PRIMARY", "", "X")
    assert header.view_codes == ("POSTERO-ANTERIOR",)
    assert (header.age, header.study_date) == (45, date(2026, 1, 31))
    assert header.study_time == time(10, 15, 0, 500_000)
    assert header.burned_in is False
    assert header.window_centers == (2048, 40.5)
    assert (header.rescale_slope, header.padding) == (-1, 4095)
    assert header.has_pixels


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG])
def test_a_data_set_without_preamble_is_recognised_by_its_first_bytes(write, syntax: str) -> None:
    header = read_header(write(syntax, preamble=False))
    assert header.transfer_syntax == ""
    assert (header.modality, header.rows) == ("DX", 2)


def test_absent_tags_are_empty(write) -> None:
    path = write(Modality=None, PatientID=None, PixelData=None, BitsStored=None)
    header = read_header(path)
    assert (header.modality, header.patient_id, header.bits_stored) == ("", "", None)
    assert header == DicomHeader(
        **{name: getattr(header, name) for name in ("transfer_syntax", "sop_class", "sop_uid", "study_uid")},
        photometric="MONOCHROME2", samples=1, rows=2, columns=3, bits_allocated=16, high_bit=11, signed=0,
    )  # fmt: skip


def _file(path: Path, elements: dict[int, tuple[bytes, bytes]]) -> Path:
    """Write elements as they are, tag to representation and value, explicit and little-endian."""
    data = bytes(128) + b"DICM"
    for tag, (kind, value) in sorted(elements.items()):
        value += b" " * (len(value) % 2)
        data += struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, kind, len(value)) + value
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("tag", "kind", "value", "field", "expected"),
    [
        (0x0010_1010, b"AS", b"forty", "age", None),
        (0x0010_1010, b"AS", b"999Y", "age", None),
        (0x0010_1010, b"AS", b"018M", "age", 1.5),
        (0x0008_0020, b"DA", b"00000000", "study_date", None),
        (0x0008_0020, b"DA", b"20261301", "study_date", None),
        (0x0008_0020, b"DA", b"2026.01.31", "study_date", date(2026, 1, 31)),
        (0x0008_0030, b"TM", b"1060", "study_time", None),
        (0x0008_0030, b"TM", b"10", "study_time", time(10)),
        (0x0028_1050, b"DS", b"nan\\5", "window_centers", (5,)),
        (0x0028_1050, b"FD", struct.pack("<d", 7), "window_centers", (7,)),
        (0x0028_1053, b"DS", b"inf", "rescale_slope", None),
        (0x0028_1053, b"DS", b"1,5", "rescale_slope", 1.5),
        (0x0028_0008, b"IS", b"1.5", "frames", None),
        (0x0028_0010, b"IS", b"12", "rows", 12),
        (0x0028_0010, b"US", b"", "rows", None),
        (0x0028_0301, b"CS", b"perhaps", "burned_in", None),
        (0x0008_103E, b"LO", b"Thorax\tp.a.\0\0", "series_description", "Thorax p.a."),
        (0x0018_5101, b"CS", b"pa \\ap", "view_position", "PA"),
        (0x0054_0220, b"SQ", b"", "view_codes", ()),
        (0x0054_0220, b"UN", b"no items", "view_codes", ()),
    ],
)
def test_a_value_that_cannot_be_understood_counts_as_absent(
    tmp_path: Path, tag: int, kind: bytes, value: bytes, field: str, expected: object
) -> None:
    if kind in (b"SQ", b"UN"):
        kind, value = kind + b"\0\0", struct.pack("<I", len(value)) + value
        data = bytes(128) + b"DICM" + struct.pack("<HH4s", tag >> 16, tag & 0xFFFF, kind) + value
        (tmp_path / "film").write_bytes(data)
        path = tmp_path / "film"
    else:
        path = _file(tmp_path / "film", {tag: (kind, value)})
    assert getattr(read_header(path), field) == expected


@pytest.mark.parametrize(
    ("charset", "value", "expected"),
    [
        (b"", b"Thorax stehend", "Thorax stehend"),
        (b"ISO_IR 100", "Röntgen".encode("latin_1"), "Röntgen"),
        (b"ISO_IR 192", "Röntgen".encode(), "Röntgen"),
        (b"ISO_IR 144", "лёгкие".encode("iso8859_5"), "лёгкие"),
        (b"\\ISO 2022 IR 87", b"\x1b$B6;It\x1b(B", "胸部"),
        (b"no such set", b"Thorax", "Thorax"),
        (b"ISO_IR 192", b"R\xf6ntgen", "R\ufffdntgen"),
    ],
)
def test_texts_are_decoded_by_their_character_set(
    tmp_path: Path, charset: bytes, value: bytes, expected: str
) -> None:
    path = _file(tmp_path / "f", {0x0008_0005: (b"CS", charset), 0x0008_103E: (b"LO", value)})
    assert read_header(path).series_description == expected


def test_what_is_explicit_and_calls_itself_implicit_is_read_as_it_is(write) -> None:
    path = write(EXPLICIT)
    data = path.read_bytes()
    path.write_bytes(data.replace(EXPLICIT.encode() + b"\0", IMPLICIT.encode() + b"\0\0\0"))
    assert read_header(path).rows == 2


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"\x89PNG\r\n\x1a\n" + bytes(200), "not a PNG, JPEG or DICOM image"),
        (bytes(4000), "not a PNG, JPEG or DICOM image"),
        (b"\x08\0" * 100, "not a PNG, JPEG or DICOM image"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "film").write_bytes(content)
    with pytest.raises(UnreadableFilm) as error:
        read_header(tmp_path / "film")
    assert error.value.reason == reason


def test_a_missing_file_and_a_folder_are_named_without_their_path(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(UnreadableFilm) as error:
            read_header(path)
        assert str(tmp_path) not in str(error.value)


def test_millions_of_tiny_elements_are_given_up(tmp_path: Path) -> None:
    element = struct.pack("<HH2sH", 0x0009, 0x0010, b"LO", 0)
    (tmp_path / "film").write_bytes(bytes(128) + b"DICM" + element * 200_000)
    with pytest.raises(UnreadableFilm, match="longer than in any film"):
        read_header(tmp_path / "film")


def test_a_deflated_bomb_is_inflated_up_to_the_limit(write, tmp_path: Path) -> None:
    path = write(DEFLATED)
    data = path.read_bytes()
    at = data.index(DEFLATED.encode()) + len(DEFLATED)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = struct.pack("<HH2sHI", 9, 0x10, b"OB", 0, 2**28)
    bomb = packer.compress(bomb) + packer.compress(bytes(2**27)) + packer.flush()
    path.write_bytes(data[:at] + bomb)
    assert not read_header(path).has_pixels


def test_ages() -> None:
    assert [age_in_years(text) for text in ("045Y", "45", "006M", "52W", "", "Y")] == [
        45, 45, 0.5, pytest.approx(1, abs=0.01), None, None,
    ]  # fmt: skip


def test_an_age_comes_from_the_birth_date_where_none_is_stated(write) -> None:
    header = read_header(write(PatientBirthDate="19660115", StudyDate="20260115"))
    assert header.age == pytest.approx(60, abs=0.01)
    header = read_header(write(PatientBirthDate="19660115"))
    assert header.age is None


def test_secondary_captures_and_scout_views_are_recognised(write) -> None:
    assert read_header(write(ConversionType="WSD")).secondary_capture
    assert read_header(write(SecondaryCaptureDeviceManufacturer="x")).secondary_capture
    assert read_header(write(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])).localiser
    assert not read_header(write()).secondary_capture


def test_no_name_and_no_private_tag_is_asked_for() -> None:
    names = {0x0010_0010, 0x0008_0080, 0x0008_0090, 0x0008_1070, 0x0010_1040}
    assert not HEADER_TAGS & names
    assert not [tag for tag in HEADER_TAGS if (tag >> 16) % 2]


def test_hilum_imports_pydicom_and_imagecodecs_when_a_dicom_file_is_met() -> None:
    seen = "import sys, hilum.images.read, hilum.images.npz, hilum.images.decoding.worker as w; "
    seen += "print(sorted({'pydicom', 'imagecodecs'} & set(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", seen], capture_output=True, text=True, check=True
    )
    assert result.stdout == "[]\n"


def test_the_exposure_and_the_images_that_a_film_was_made_of(write):
    item = Dataset()
    item.ReferencedSOPInstanceUID = "1.2.840.5"
    header = read_header(write(SourceImageSequence=[item], IrradiationEventUID="1.9"))
    assert (header.made_of, header.exposure_event) == (("1.2.840.5",), "1.9")
