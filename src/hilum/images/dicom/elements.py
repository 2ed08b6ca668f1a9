"""The elements of a DICOM file before its pixels: only those asked for, as raw bytes, in bounded time and memory.

pydicom parses the encoding. Its generator is used without its data sets, which would convert every
value by rules that many files break. How the first bytes are encoded counts more than the transfer
syntax: files that call themselves explicit and are implicit exist, and the reverse.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, cast

from pydicom.charset import convert_encodings, decode_bytes, python_encoding
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import data_element_generator, read_sequence
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

from hilum.images.dicom.sniff import (
    HEAD_BYTES,
    MAGIC,
    PREAMBLE,
    REPRESENTATIONS,
    encoding,
    is_dicom,
)
from hilum.images.unreadable import UnreadableFilm

IMPLICIT, BIG_ENDIAN, DEFLATED = (
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.1.99",
)
TRANSFER_SYNTAX, CHARACTER_SET = 0x0002_0010, 0x0008_0005
FLOAT_PIXELS, PIXELS = 0x7FE0_0008, 0x7FE0_0010
UNDEFINED = 0xFFFF_FFFF
"""Length of an element that ends with a delimiter."""
USUAL_BYTES = 2**16
"""Bytes that are read at once; in most files the pixels begin before."""
HEADER_BYTES = 2**24
"""Most bytes that are read before the pixels; films have 4 MB at most, overlays and icons included."""
MOST_PIECES = 60_000
"""Most pieces, three an element, that a header is read in: it bounds the time for millions of tiny elements."""

# What pydicom raises for damaged elements.
_DAMAGE = (
    ValueError, LookupError, TypeError, AttributeError, NotImplementedError, OverflowError, EOFError,
    RecursionError, AssertionError, struct.error, zlib.error, InvalidDicomError,
)  # fmt: skip

Stream = io.BytesIO | io.BufferedReader
Element = RawDataElement | DataElement
"""A raw element; pydicom has parsed it where it is a sequence of undefined length."""


@dataclass(frozen=True, slots=True)
class PixelElement:
    """Where the pixel data are."""

    tag: int
    vr: str
    """Empty in implicit files."""
    length: int
    """In bytes; UNDEFINED for encapsulated frames."""
    start: int
    """Of the value in the data set."""


@dataclass(frozen=True, slots=True)
class Elements:
    """A file's elements before its pixels."""

    syntax: str
    """Transfer Syntax UID; empty where the file states none."""
    explicit: bool
    little: bool
    values: Mapping[int, Element]
    """By tag."""
    encodings: tuple[str, ...]
    """Python's names of the character sets of its texts."""
    pixels: PixelElement | None
    """None where the file has none."""
    data: bytes | None = None
    """The data set, as far as it was inflated; None where it is not deflated: then it is the file."""

    def text(self, tag: int) -> str:
        """Return a text, empty where it is absent; see ``text_of``."""
        return text_of(self.values.get(tag), self.encodings)

    def items(self, tag: int) -> list[Dataset]:
        """Return the items of a sequence, none where it is absent or damaged."""
        element = self.values.get(tag)
        value = element.value if element is not None else None
        if isinstance(value, bytes):
            # Elements in a value of unknown representation are implicit (PS3.5 6.2.2, note 2).
            implicit = not self.explicit or getattr(element, "VR", None) == "UN"
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    value = read_sequence(
                        cast(BinaryIO, _Bounded(io.BytesIO(value))),
                        implicit,
                        self.little,
                        len(value),
                        list(self.encodings),
                    )
            except (*_DAMAGE, OSError, UnreadableFilm):  # pydicom's, of a value in memory
                return []
        return list(value) if value else []


def read_elements(file: BinaryIO, tags: frozenset[int], inflated: int = HEADER_BYTES) -> Elements:
    """Return those of a file's elements that have one of these tags, up to its pixels.

    Args:
        file: Opened for reading bytes, unbuffered or in memory; read from its beginning.
        tags: Tags, such as ``0x0028_0010``.
        inflated: Most bytes to inflate where the data set is deflated.

    Raises:
        UnreadableFilm: It is no DICOM file, or is damaged.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of texts that break rules, and that are never shown
        try:
            file.seek(0)
            beginning = file.read(USUAL_BYTES)
            whole = len(beginning) < USUAL_BYTES
            try:
                elements = _read(io.BytesIO(beginning), tags, inflated)
            except (*_DAMAGE, OSError):
                if whole:
                    raise
            else:
                if whole or (elements.pixels is not None and elements.data is None):
                    return elements
            file.seek(0)
            stream = _Bounded(file, HEADER_BYTES + inflated)
            try:
                return _read(stream, tags, inflated)
            finally:
                stream.detach()  # else it closes the file
        except (*_DAMAGE, OSError) as error:
            if getattr(error, "errno", None) is not None:  # the system's, not pydicom's
                raise
            raise UnreadableFilm("damaged", "its DICOM elements cannot be parsed") from error


def raw(item: Dataset, tag: int) -> Element | None:
    """Return an element of a sequence's item as pydicom read it, None where it is absent."""
    return cast("Element | None", item.get_item(tag)) if tag in item else None


def text_of(element: Element | None, encodings: tuple[str, ...] = ("latin_1",)) -> str:
    """Return an element's text without padding, empty where it is absent or no text.

    Characters that its character set does not have are replaced.
    """
    value = element.value if element is not None else None
    if not isinstance(value, bytes):
        return ""
    value = value.strip(b"\0 ")
    if value.isascii() and b"\x1b" not in value:  # no change of character set
        return value.decode("ascii").strip()
    try:
        if len(encodings) == 1:
            return value.decode(encodings[0], "replace").strip()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return decode_bytes(value, list(encodings), set(b"\\\n\f\r")).strip()
    except _DAMAGE:
        return value.decode("latin_1").strip()


class _Bounded(io.BufferedReader):
    """A file of which a limited number of pieces and bytes is read."""

    def __init__(self, raw: io.RawIOBase | BinaryIO, most: int = HEADER_BYTES) -> None:
        super().__init__(raw)  # type: ignore[arg-type]
        self._pieces, self._bytes = MOST_PIECES, most

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self._pieces -= 1
        self._bytes -= len(data)
        if self._pieces < 0 or self._bytes < 0:
            raise UnreadableFilm(
                "damaged", "what comes before its pixels is longer than in any film"
            )
        return data


def _read(stream: Stream, tags: frozenset[int], inflated: int) -> Elements:
    head = stream.read(HEAD_BYTES)
    if not head:
        raise UnreadableFilm("empty")
    if not is_dicom(head):
        raise UnreadableFilm("not a PNG, JPEG or DICOM image")
    at = PREAMBLE + len(MAGIC) if head[PREAMBLE : PREAMBLE + len(MAGIC)] == MAGIC else 0
    stream.seek(at)
    syntax = ""
    if head[at : at + 2] == b"\2\0":
        implicit = head[at + 4 : at + 6] not in REPRESENTATIONS
        meta = _elements(stream, implicit, True, lambda tag, *_: tag >> 16 != 2, {TRANSFER_SYNTAX})
        for element in meta:
            syntax = text_of(element) if element.tag == TRANSFER_SYNTAX else syntax
    if syntax != DEFLATED:
        return _data_set(stream, tags, syntax)
    packed = stream.read(inflated + 2**16)
    data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, inflated)
    return replace(_data_set(_Bounded(io.BytesIO(data)), tags, syntax), data=data)


def _data_set(stream: Stream, tags: frozenset[int], syntax: str) -> Elements:
    at = stream.tell()
    explicit, little = encoding(stream.read(8)) or (syntax != IMPLICIT, syntax != BIG_ENDIAN)
    stream.seek(at)
    last: list[tuple[int, str | None, int]] = []

    def at_pixels(tag: int, vr: str | None, length: int) -> bool:
        # Not tag >= FLOAT_PIXELS: pydicom's tags compare in Python.
        if tag >> 16 < FLOAT_PIXELS >> 16 or int(tag) < FLOAT_PIXELS:
            return False
        last.append((int(tag), vr, length))
        return True

    elements = _elements(stream, not explicit, little, at_pixels, tags)
    values = {int(element.tag): element for element in elements}
    pixels = None
    if last and last[0][0] <= PIXELS:
        tag, vr, length = last[0]
        start = stream.tell() + (12 if vr in EXPLICIT_VR_LENGTH_32 else 8)
        pixels = PixelElement(tag, vr or "", length, start)
    return Elements(syntax, explicit, little, values, _encodings(values.get(CHARACTER_SET)), pixels)


def _elements(
    stream: Stream, implicit: bool, little: bool, stop: Any, tags: Collection[int]
) -> Iterator[Element]:
    return data_element_generator(
        cast(BinaryIO, stream), implicit, little, stop, specific_tags=list(tags)
    )


def _encodings(element: Element | None) -> tuple[str, ...]:
    names = [name.strip() for name in text_of(element).split("\\")]
    if len(names) == 1:
        known = python_encoding.get(names[0])
        if known is not None:
            return (known,)
    return tuple(convert_encodings(names))
