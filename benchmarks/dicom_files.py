"""DICOM files of a drawn film, in the ways that PS3.3 and PS3.5 allow and in a few that they do not."""

from __future__ import annotations

import io
import zlib
from dataclasses import dataclass, field
from typing import Any

import imagecodecs
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import get_encoder
from pydicom.sequence import Sequence
from pydicom.uid import UID, RLELossless

ROOT = "1.2.840.10008.1.2"
SYNTAXES = {
    "implicit": ROOT,
    "explicit": f"{ROOT}.1",
    "big-endian": f"{ROOT}.2",
    "deflated": f"{ROOT}.1.99",
    "rle": f"{ROOT}.5",
    "jpeg-8": f"{ROOT}.4.50",
    "jpeg-12": f"{ROOT}.4.51",
    "lossless": f"{ROOT}.4.57",
    "lossless-1": f"{ROOT}.4.70",
    "jpeg-ls": f"{ROOT}.4.80",
    "jpeg-ls-near": f"{ROOT}.4.81",
    "jpeg-2000": f"{ROOT}.4.90",
    "jpeg-2000-lossy": f"{ROOT}.4.91",
    "jpeg-xl": f"{ROOT}.4.110",
    "jpeg-xl-lossy": f"{ROOT}.4.112",
    "htj2k": f"{ROOT}.4.201",
    "htj2k-rpcl": f"{ROOT}.4.202",
    "htj2k-lossy": f"{ROOT}.4.203",
    "deflated-frame": f"{ROOT}.8.1",
}
LOSSY = ("jpeg-8", "jpeg-12", "jpeg-ls-near", "jpeg-2000-lossy", "jpeg-xl-lossy", "htj2k-lossy")
NATIVE = ("implicit", "explicit", "big-endian", "deflated")


@dataclass(frozen=True)
class Lut:
    """A LUT sequence's item: what it is, and what its descriptor says."""

    first: int
    entries: tuple[int, ...]
    said_bits: int = 16
    said_count: int | None = None
    form: str = "words"
    """words (a list of US), OW (bytes of words), bytes (one an entry)."""


@dataclass(frozen=True)
class Variant:
    """One file: its samples as stored values, and its tags."""

    name: str
    samples: Any
    """int [H, W]"""
    bits: int = 12
    signed: bool = False
    allocated: int = 16
    syntax: str = "explicit"
    photometric: str = "MONOCHROME2"
    shape: str | None = None
    slope: float | None = None
    intercept: float | None = None
    modality_lut: Lut | None = None
    windows: tuple[tuple[Any, ...], tuple[Any, ...]] | None = None
    function: str | None = None
    voi_lut: Lut | None = None
    padding: int | None = None
    padding_limit: int | None = None
    overlay: bool = False
    """Whether bits above Bits Stored are set."""
    left_out: tuple[str, ...] = ()
    preamble: bool = True
    tags: dict[str, Any] = field(default_factory=dict)

    def words(self) -> np.ndarray:
        """Return the samples as they stand in the file, uint8 or uint16."""
        words = np.asarray(self.samples, np.int64) & (2**self.bits - 1)
        if self.overlay:
            words = words | (np.indices(words.shape).sum(0) % 2 << self.allocated - 1)
        elif self.signed:  # the sign fills the word
            words = np.asarray(self.samples, np.int64) & (2**self.allocated - 1)
        return words.astype(np.uint8 if self.allocated == 8 else np.uint16)


def frame(variant: Variant) -> bytes:
    """Return the encoded frame."""
    words, name = variant.words(), variant.syntax
    signed = words.view(words.dtype.str.replace("u", "i")) if variant.signed else words
    plain = words & np.array(2**variant.bits - 1, words.dtype)
    bits = variant.bits
    if name == "big-endian" and variant.allocated == 8:
        return words.reshape(-1, 2)[:, ::-1].tobytes()
    if name in NATIVE:
        return words.astype(
            words.dtype.newbyteorder(">" if name == "big-endian" else "<")
        ).tobytes()
    if name == "deflated-frame":
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        return packer.compress(words.tobytes()) + packer.flush()
    if name == "rle":
        return get_encoder(RLELossless).encode(
            words, rows=words.shape[0], columns=words.shape[1], samples_per_pixel=1,
            bits_allocated=variant.allocated, bits_stored=variant.allocated, pixel_representation=0,
            photometric_interpretation="MONOCHROME2", number_of_frames=1,
        )  # fmt: skip
    if name == "jpeg-8":
        return bytes(imagecodecs.jpeg8_encode(plain.astype(np.uint8), level=100))
    if name == "jpeg-12":
        return bytes(imagecodecs.jpeg8_encode(plain, level=100, bitspersample=12))
    if name.startswith("lossless"):
        which = 1 if name == "lossless-1" else 4
        return bytes(
            imagecodecs.jpeg8_encode(plain, lossless=True, bitspersample=bits, predictor=which)
        )
    if name == "jpeg-ls":
        return bytes(imagecodecs.jpegls_encode(words if variant.overlay else plain))
    if name == "jpeg-ls-near":
        return bytes(imagecodecs.jpegls_encode(plain, level=1))
    if name.startswith("jpeg-2000"):
        lossy = (
            {"level": 60, "reversible": False} if name.endswith("lossy") else {"reversible": True}
        )
        precise = variant.allocated if variant.overlay else bits
        kind = signed if variant.signed else words if variant.overlay else plain
        return bytes(
            imagecodecs.jpeg2k_encode(kind, codecformat="j2k", bitspersample=precise, **lossy)
        )
    if name.startswith("htj2k"):
        lossy = name.endswith("lossy")
        kind = signed if variant.signed else words if variant.overlay else plain
        return bytes(
            imagecodecs.htj2k_encode(kind, level=0.001 if lossy else None, reversible=not lossy)
        )
    lossy = name.endswith("lossy")
    return bytes(
        imagecodecs.jpegxl_encode(
            plain,
            lossless=not lossy,
            distance=0.1 if lossy else None,
            bitspersample=bits,
            usecontainer=False,
        )
    )


def dicom_bytes(variant: Variant) -> bytes:
    """Return the file."""
    dataset = Dataset()
    rows, columns = np.asarray(variant.samples).shape[:2]
    usual = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1", "SOPInstanceUID": "1.2.3.4",
        "StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.1", "PatientID": "Roe", "Modality": "DX",
        "PatientName": "Roe^A", "SamplesPerPixel": 1, "PhotometricInterpretation": variant.photometric,
        "Rows": rows, "Columns": columns, "BitsAllocated": variant.allocated,
        "BitsStored": variant.bits, "HighBit": variant.bits - 1,
        "PixelRepresentation": int(variant.signed),
    }  # fmt: skip
    optional = {
        "PresentationLUTShape": variant.shape, "RescaleSlope": variant.slope,
        "RescaleIntercept": variant.intercept, "VOILUTFunction": variant.function,
    }  # fmt: skip
    for name, value in {**usual, **optional, **variant.tags}.items():
        if value is not None and name not in variant.left_out:
            setattr(dataset, name, value)
    if variant.windows is not None:
        dataset.WindowCenter, dataset.WindowWidth = (list(part) for part in variant.windows)
    big = variant.syntax == "big-endian"
    for name, lut in (
        ("ModalityLUTSequence", variant.modality_lut),
        ("VOILUTSequence", variant.voi_lut),
    ):
        if lut is not None:
            setattr(dataset, name, Sequence([_lut(lut, big)]))
    for name, value in (
        ("PixelPaddingValue", variant.padding),
        ("PixelPaddingRangeLimit", variant.padding_limit),
    ):
        if value is not None:
            setattr(dataset, name, value)
            dataset[name].VR = "SS" if value < 0 else "US"
    if "PixelData" not in variant.left_out:
        _pixels(dataset, variant)
    return _file(dataset, variant)


def _lut(lut: Lut, big: bool) -> Dataset:
    item = Dataset()
    count = len(lut.entries) if lut.said_count is None else lut.said_count
    kind = "SS" if lut.first < 0 else "US"
    item.add_new(
        0x0028_3002,
        kind,
        [
            count % 2**16 - (2**16 if kind == "SS" and count % 2**16 >= 2**15 else 0),
            lut.first,
            lut.said_bits,
        ],
    )
    if lut.form == "words":
        item.add_new(0x0028_3006, "US", list(lut.entries))
    elif lut.form == "OW":
        item.add_new(0x0028_3006, "OW", np.array(lut.entries, ">u2" if big else "<u2").tobytes())
    else:
        item.add_new(0x0028_3006, "OW", bytes(lut.entries) + b"\0" * (len(lut.entries) % 2))
    return item


def _pixels(dataset: Dataset, variant: Variant) -> None:
    data = frame(variant)
    if variant.syntax in NATIVE:
        dataset.PixelData = data + b"\0" * (len(data) % 2)
        dataset["PixelData"].VR = "OW"
    else:
        dataset.PixelData = encapsulate([data])
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True


def _file(dataset: Dataset, variant: Variant) -> bytes:
    stream, syntax = io.BytesIO(), SYNTAXES[variant.syntax]
    implicit, little = variant.syntax == "implicit", variant.syntax != "big-endian"
    if not variant.preamble:
        dataset.save_as(stream, implicit_vr=implicit, little_endian=little)
        return stream.getvalue()
    dataset.preamble, dataset.file_meta = bytes(128), FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    dataset.save_as(
        stream,
        implicit_vr=implicit,
        little_endian=little,
        force_encoding=True,
    )
    return stream.getvalue()
