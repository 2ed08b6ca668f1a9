"""What Hilum takes of a DICOM file beside its pixels: the tags of `DicomHeader` and no other.

Each field names its tag and how its value is cleaned. A value that cannot be understood counts as
absent, for hospital archives hold texts in number fields, dates of year 0 and views in prose.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import date, time
from pathlib import Path
from typing import Annotated, Any, BinaryIO, get_origin, get_type_hints

from hilum.images.dicom.elements import UNDEFINED, Element, Elements, raw, read_elements, text_of
from hilum.images.unreadable import UnreadableFilm

_BINARY = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d", "UV": "Q", "SV": "q"}
_CODE_MEANING, _REFERENCED_SOP_UID = 0x0008_0104, 0x0008_1155
_LONGEST_TEXT = 1024
"""Characters of a text that are kept; the standard allows 64, and 10,240 in a few."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

Clean = Callable[[Elements, int], Any]


def text(elements: Elements, tag: int) -> str:
    """Return a text, its white space and control characters joined to single spaces."""
    value = elements.text(tag)[:_LONGEST_TEXT]
    if value.isprintable() and "  " not in value:
        return value
    return " ".join(_CONTROL.sub(" ", value).split())


def code(elements: Elements, tag: int) -> str:
    """Return a defined term in capitals; of several values the first."""
    return text(elements, tag).partition("\\")[0].strip().upper()


def codes(elements: Elements, tag: int) -> tuple[str, ...]:
    """Return several defined terms in capitals, empty ones in between kept."""
    value = text(elements, tag).upper()
    return tuple(part.strip() for part in value.split("\\")) if value else ()


def numbers(elements: Elements, tag: int) -> tuple[float, ...]:
    """Return the finite numbers of an element, however they are written, in order."""
    values = numbers_of(elements.values.get(tag), elements.little)
    return tuple(value for value in values if math.isfinite(value))


def number(elements: Elements, tag: int) -> float | None:
    """Return the first number, None where there is none or it is not finite."""
    values = numbers_of(elements.values.get(tag), elements.little)
    return values[0] if values and math.isfinite(values[0]) else None


def whole(elements: Elements, tag: int) -> int | None:
    """Return the first number of a text if it is whole."""
    return _whole(numbers_of(elements.values.get(tag), elements.little))


def word(elements: Elements, tag: int) -> int | None:
    """Return the first number of a binary element; 16 bits, unsigned, where the file is implicit."""
    return _whole(numbers_of(elements.values.get(tag), elements.little, "US"))


def _whole(values: list[float]) -> int | None:
    return int(values[0]) if values and values[0].is_integer() else None


def day(elements: Elements, tag: int) -> date | None:
    """Return a date, of 1900 or later; ``20260131``, and ``2026.01.31`` as ACR-NEMA wrote it."""
    match = re.match(r"(\d{4})[.\-/]?(\d\d)[.\-/]?(\d\d)", text(elements, tag))
    try:
        value = date(*map(int, match.groups())) if match else None
    except ValueError:
        return None
    return value if value and value.year >= 1900 else None


def clock(elements: Elements, tag: int) -> time | None:
    """Return a time of the day; parts left out are 0."""
    match = re.match(r"(\d\d):?(\d\d)?:?(\d\d)?(?:\.(\d{1,6}))?", text(elements, tag))
    if not match:
        return None
    hour, minute, second = (int(part or 0) for part in match.groups()[:3])
    try:
        return time(hour, minute, min(second, 59), int((match[4] or "0").ljust(6, "0")))
    except ValueError:
        return None


def years(elements: Elements, tag: int) -> float | None:
    """Return an age in years from ``045Y``, ``018M``, ``006W`` or ``010D``; from 0 to 130.

    >>> from hilum.images.dicom.header import age_in_years
    >>> age_in_years("006M")
    0.5
    """
    return age_in_years(text(elements, tag))


def yes(elements: Elements, tag: int) -> bool | None:
    """Return True for YES, False for NO, None where neither is said."""
    return {"YES": True, "Y": True, "NO": False, "N": False}.get(code(elements, tag))


def present(elements: Elements, tag: int) -> bool:
    """Return whether there is such an element that is not empty."""
    element = elements.values.get(tag)
    return element is not None and bool(element.value)


def meanings(elements: Elements, tag: int) -> tuple[str, ...]:
    """Return the meanings of a sequence's codes, in capitals."""
    texts = (
        text_of(raw(item, _CODE_MEANING), elements.encodings)[:_LONGEST_TEXT].upper()
        for item in elements.items(tag)
    )
    return tuple(" ".join(meaning.split()) for meaning in texts if meaning)


def references(elements: Elements, tag: int) -> tuple[str, ...]:
    """Return the SOP Instance UIDs of the images that a sequence refers to."""
    return tuple(
        filter(None, (text_of(raw(item, _REFERENCED_SOP_UID)) for item in elements.items(tag)))
    )


def age_in_years(value: str) -> float | None:
    """Return the years that a DICOM age says, None where it says none; from 0 to 130."""
    match = re.fullmatch(r"0*(\d{1,4})\s*([DWMY]?)", value.strip().upper())
    if not match:
        return None
    age = int(match[1]) / {"D": 365.25, "W": 365.25 / 7, "M": 12.0}.get(match[2], 1.0)
    return age if age <= 130 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class DicomHeader:
    """The tags of one file that rendering, entering and identity need; empty or None where absent.

    Texts are stripped, defined terms in capitals. Nothing here is removed or replaced: names,
    numbers and dates of patients are as in the file, and must not pass into a store.
    """

    transfer_syntax: str = ""
    """UID; empty where the file states none."""
    has_pixels: bool = False
    pixel_bytes: int | None = None
    """Length of its pixel data; None where they are packed into fragments."""

    # What it is
    sop_class: Annotated[str, 0x0008_0016, text] = ""
    modality: Annotated[str, 0x0008_0060, code] = ""
    image_type: Annotated[tuple[str, ...], 0x0008_0008, codes] = ()
    """Such as ORIGINAL, PRIMARY and a third value."""
    presentation_intent: Annotated[str, 0x0008_0068, code] = ""
    """FOR PRESENTATION or FOR PROCESSING."""
    conversion_type: Annotated[str, 0x0008_0064, code] = ""
    """DF, DI, WSD …: how a secondary capture came to be; empty for others."""
    capture_device: Annotated[bool, 0x0018_1010, present] = False
    capture_date: Annotated[bool, 0x0018_1012, present] = False
    capture_maker: Annotated[bool, 0x0018_1016, present] = False
    capture_model: Annotated[bool, 0x0018_1018, present] = False
    capture_software: Annotated[bool, 0x0018_1019, present] = False
    burned_in: Annotated[bool | None, 0x0028_0301, yes] = None
    """Burned In Annotation; None where the file does not say."""
    quality_control: Annotated[bool | None, 0x0028_0300, yes] = None
    """Quality Control Image: a phantom."""
    derivation: Annotated[str, 0x0008_2111, text] = ""
    made_of: Annotated[tuple[str, ...], 0x0008_2112, references] = ()
    """SOP Instance UIDs of the images that it was derived from."""
    exposure_event: Annotated[str, 0x0008_3010, text] = ""
    """Irradiation Event UID: equal for the images of one exposure."""
    processing: Annotated[str, 0x0018_1400, text] = ""
    """Acquisition Device Processing Description."""
    processing_code: Annotated[str, 0x0018_1401, text] = ""

    # What it shows
    body_part: Annotated[str, 0x0018_0015, code] = ""
    view_position: Annotated[str, 0x0018_5101, code] = ""
    view_codes: Annotated[tuple[str, ...], 0x0054_0220, meanings] = ()
    """Meanings of the View Code Sequence, such as POSTERO-ANTERIOR."""
    anatomy_codes: Annotated[tuple[str, ...], 0x0008_2218, meanings] = ()
    procedure_codes: Annotated[tuple[str, ...], 0x0008_1032, meanings] = ()
    patient_orientation: Annotated[tuple[str, ...], 0x0020_0020, codes] = ()
    laterality: Annotated[str, 0x0020_0060, code] = ""
    image_laterality: Annotated[str, 0x0020_0062, code] = ""
    study_description: Annotated[str, 0x0008_1030, text] = ""
    series_description: Annotated[str, 0x0008_103E, text] = ""
    protocol_name: Annotated[str, 0x0018_1030, text] = ""
    requested_procedure: Annotated[str, 0x0032_1060, text] = ""
    performed_procedure: Annotated[str, 0x0040_0254, text] = ""

    # Whose it is and when it was taken
    patient_id: Annotated[str, 0x0010_0020, text] = ""
    patient_id_issuer: Annotated[str, 0x0010_0021, text] = ""
    study_uid: Annotated[str, 0x0020_000D, text] = ""
    series_uid: Annotated[str, 0x0020_000E, text] = ""
    sop_uid: Annotated[str, 0x0008_0018, text] = ""
    study_id: Annotated[str, 0x0020_0010, text] = ""
    accession: Annotated[str, 0x0008_0050, text] = ""
    series_number: Annotated[int | None, 0x0020_0011, whole] = None
    acquisition_number: Annotated[int | None, 0x0020_0012, whole] = None
    instance_number: Annotated[int | None, 0x0020_0013, whole] = None
    sex: Annotated[str, 0x0010_0040, code] = ""
    stated_age: Annotated[float | None, 0x0010_1010, years] = None
    """Years by Patient's Age; see ``age``."""
    birth_date: Annotated[date | None, 0x0010_0030, day] = None
    study_date: Annotated[date | None, 0x0008_0020, day] = None
    series_date: Annotated[date | None, 0x0008_0021, day] = None
    acquisition_date: Annotated[date | None, 0x0008_0022, day] = None
    content_date: Annotated[date | None, 0x0008_0023, day] = None
    study_time: Annotated[time | None, 0x0008_0030, clock] = None
    series_time: Annotated[time | None, 0x0008_0031, clock] = None
    acquisition_time: Annotated[time | None, 0x0008_0032, clock] = None
    content_time: Annotated[time | None, 0x0008_0033, clock] = None

    # What took it
    maker: Annotated[str, 0x0008_0070, text] = ""
    model: Annotated[str, 0x0008_1090, text] = ""

    # Its samples
    frames: Annotated[int | None, 0x0028_0008, whole] = None
    """Number of Frames as stated; it may be wrong."""
    rows: Annotated[int | None, 0x0028_0010, word] = None
    columns: Annotated[int | None, 0x0028_0011, word] = None
    samples: Annotated[int | None, 0x0028_0002, word] = None
    """Samples per Pixel: 1 grey, 3 colour."""
    planar: Annotated[int | None, 0x0028_0006, word] = None
    bits_allocated: Annotated[int | None, 0x0028_0100, word] = None
    bits_stored: Annotated[int | None, 0x0028_0101, word] = None
    high_bit: Annotated[int | None, 0x0028_0102, word] = None
    signed: Annotated[int | None, 0x0028_0103, word] = None
    """Pixel Representation: 1 for two's complement."""
    lossy: Annotated[str, 0x0028_2110, code] = ""
    """Lossy Image Compression: 01 if the pixels have ever been compressed with loss."""
    padding: Annotated[int | None, 0x0028_0120, word] = None
    padding_limit: Annotated[int | None, 0x0028_0121, word] = None

    # From samples to grey
    photometric: Annotated[str, 0x0028_0004, code] = ""
    presentation_shape: Annotated[str, 0x2050_0020, code] = ""
    """Presentation LUT Shape: IDENTITY, INVERSE or empty."""
    rescale_slope: Annotated[float | None, 0x0028_1053, number] = None
    rescale_intercept: Annotated[float | None, 0x0028_1052, number] = None
    window_centers: Annotated[tuple[float, ...], 0x0028_1050, numbers] = ()
    window_widths: Annotated[tuple[float, ...], 0x0028_1051, numbers] = ()
    window_function: Annotated[str, 0x0028_1056, code] = ""
    has_modality_lut: Annotated[bool, 0x0028_3000, present] = False
    has_voi_lut: Annotated[bool, 0x0028_3010, present] = False

    @property
    def secondary_capture(self) -> bool:
        """Whether any tag of a secondary capture is present, as CTP takes it."""
        return bool(self.conversion_type) or any(
            (
                self.capture_device, self.capture_date, self.capture_maker, self.capture_model,
                self.capture_software,
            )
        )  # fmt: skip

    @property
    def several_frames(self) -> bool:
        """Whether it has several frames: native pixels that are too few for two outvote Number of Frames."""
        if (self.frames or 1) <= 1:
            return False
        sizes = (self.rows, self.columns, self.bits_allocated, self.samples or 1)
        if self.pixel_bytes is None or None in sizes:
            return True
        return 8 * self.pixel_bytes >= 2 * math.prod(size or 0 for size in sizes)

    @property
    def localiser(self) -> bool:
        """Whether it is a scout view."""
        return "LOCALIZER" in self.image_type

    @property
    def taken(self) -> date | None:
        """The day of the acquisition, else of the content, the series, the study."""
        return self.acquisition_date or self.content_date or self.series_date or self.study_date

    @property
    def age(self) -> float | None:
        """Age in years: as stated, else from the date of birth and the day it was taken."""
        if self.stated_age is not None or self.birth_date is None or self.taken is None:
            return self.stated_age
        age = (self.taken - self.birth_date).days / 365.25
        return age if 0 <= age <= 130 else None

    @classmethod
    def of(cls, elements: Elements) -> DicomHeader:
        """Return the header of a file's elements, read with ``HEADER_TAGS``."""
        values = elements.values
        read = {
            name: clean(elements, tag) if tag in values else absent
            for name, tag, clean, absent in _FIELDS
        }
        pixels = elements.pixels
        native = pixels is not None and pixels.length != UNDEFINED
        return cls(
            transfer_syntax=elements.syntax,
            has_pixels=pixels is not None,
            pixel_bytes=pixels.length if pixels is not None and native else None,
            **read,
        )


def read_header(path: str | Path) -> DicomHeader:
    """Return the header of a DICOM file; its pixels are not read.

    A damaged file may make the parser slow or fail in ways of its own: call it in a worker process.

    Raises:
        UnreadableFilm: It is missing, no DICOM file, or damaged. The reason names no path and no
            value.
    """
    try:
        with Path(path).open("rb", buffering=0) as file:
            return read_header_of(file)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UnreadableFilm("missing") from error
    except OSError as error:
        raise UnreadableFilm("unreadable", error.strerror or type(error).__name__) from error


def read_header_of(file: BinaryIO) -> DicomHeader:
    """Return the header of a DICOM file that is open for reading.

    Raises:
        UnreadableFilm: It is no DICOM file, or damaged.
    """
    return DicomHeader.of(read_elements(file, HEADER_TAGS))


def numbers_of(element: Element | None, little: bool, implicit: str = "") -> list[float]:
    """Return an element's numbers, NaN for what is none.

    Args:
        element: As read, or None.
        little: Byte order of binary numbers.
        implicit: Value representation where the file states none; text unless it is binary.
    """
    value = element.value if element is not None else None
    if not isinstance(value, bytes) or not value:
        return []
    value = value[:_LONGEST_TEXT]
    kind = getattr(element, "VR", None) or implicit
    letter = _BINARY.get(implicit if kind == "UN" else kind)
    if letter is not None:
        count = len(value) // struct.calcsize(letter)
        return list(
            map(float, struct.unpack_from(f"{'<' if little else '>'}{count}{letter}", value))
        )
    return [_float(part) for part in value.decode("latin_1").strip("\0 ").split("\\")]


def _float(value: str) -> float:
    try:
        return float(value.replace(",", "."))
    except ValueError:
        return math.nan


_HINTS = get_type_hints(DicomHeader, include_extras=True)
_FIELDS: tuple[tuple[str, int, Clean, Any], ...] = tuple(
    (entry.name, *_HINTS[entry.name].__metadata__, entry.default)
    for entry in fields(DicomHeader)
    if get_origin(_HINTS[entry.name]) is Annotated
)
HEADER_TAGS = frozenset(tag for _, tag, _, _ in _FIELDS)
"""The tags that a `DicomHeader` is made of: the allow-list."""
