"""A drawn film as a DICOM file: stored values under a vendor's habit, a header with a drawn identity."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, replace
from typing import Any

import cv2
import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    RLELossless,
)

from hilum.arrays import FloatArray
from hilum.phantoms.cohort import Film
from hilum.phantoms.habits import Habit
from hilum.phantoms.options import DICOM, stream

SYNTAXES = {
    "native": ExplicitVRLittleEndian,
    "rle": RLELossless,
    "jpeg-lossless": JPEGLosslessSV1,
    "jpeg2000": JPEG2000Lossless,
}
CLASSES = {
    ("DX", True): "1.2.840.10008.5.1.4.1.1.1.1",
    ("DX", False): "1.2.840.10008.5.1.4.1.1.1.1.1",
    ("CR", True): "1.2.840.10008.5.1.4.1.1.1",
    ("RG", True): "1.2.840.10008.5.1.4.1.1.1",
}
"""SOP class by modality and whether the film is for presentation."""
FAMILY = [
    "Ash",
    "Birch",
    "Cedar",
    "Elm",
    "Hazel",
    "Juniper",
    "Larch",
    "Maple",
    "Oak",
    "Rowan",
    "Spruce",
    "Willow",
]
GIVEN = [
    "Ada",
    "Bela",
    "Cleo",
    "Dara",
    "Enid",
    "Finn",
    "Gwen",
    "Hugo",
    "Iris",
    "Jude",
    "Kiri",
    "Lev",
]
VIEWS = {"PA": "PA", "AP": "AP", "LATERAL": "LL"}
VIEW_CODES = {
    "PA": ("399348003", "postero-anterior"),
    "AP": ("399010003", "antero-posterior"),
    "LATERAL": ("399198007", "right lateral"),
}
SERIES = {"film": "", "for-processing": " raw", "second-rendering": " edge enhanced"}
"""What the series description says of a file, after the view."""
FRAME = 0.04
"""Width of the padding on each side, as a share of the film."""
CURVE = 6.0
"""Steepness of the VOI table's curve."""


@dataclass(frozen=True)
class Stored:
    """What the pixel module holds, and how a viewer gets the film back."""

    values: NDArray[np.uint16] | NDArray[np.int16]
    centre: float
    width: float
    table: NDArray[np.uint16] | None = None
    """VOI LUT Data for every value from 0."""
    padding: int | None = None


def accession(film: Film, seed: int) -> str:
    """Return the accession number of a film's study.

    >>> accession(Film(7, 2, 1, "PA", "Female", 40, (), ()), 0)
    'PHA0000007002'
    """
    return f"PHA{seed % 1000:03d}{film.patient:04d}{film.study:03d}"


def write_film(film: Film, grey: NDArray[np.uint8], habit: Habit, seed: int) -> bytes:
    """Return a film, uint8 [S, S] as a viewer shall show it, as a DICOM file."""
    rng = stream(seed, film.patient, film.study, film.view, DICOM)
    stored = store(grey, habit, rng)
    dataset = header(film, habit, seed, "film")
    _pixels(dataset, stored, habit)
    return _file(dataset, SYNTAXES[habit.syntax])


def write_companion(film: Film, grey: NDArray[np.uint8], habit: Habit, seed: int) -> bytes:
    """Return the second file of an exposure that the habit asks for."""
    rng = stream(seed, film.patient, film.study, film.view, DICOM)
    dataset = header(film, habit, seed, habit.companion)
    if habit.companion == "for-processing":  # the detector's own values: much dose, large value
        habit = replace(habit, inverse=True, voi="none", bits=14)
    else:
        blurred = cv2.GaussianBlur(grey, (0, 0), max(1.0, len(grey) / 64))
        grey = np.asarray(cv2.addWeighted(grey, 1.8, blurred, -0.8, 0), np.uint8)
    _pixels(dataset, store(grey, habit, rng), habit)
    return _file(dataset, SYNTAXES[habit.syntax])


def store(grey: NDArray[np.uint8], habit: Habit, rng: np.random.Generator) -> Stored:
    """Return a film's stored values under a habit, and the window that shows it again.

    A window leaves room on both sides, as detectors do: what is black or white on the film lies
    anywhere below or above it, so that the stored range says little about the film's contrast.
    """
    low, high = (
        (-(2 ** (habit.bits - 1)), 2 ** (habit.bits - 1) - 1)
        if habit.signed
        else (0, 2**habit.bits - 1)
    )
    span = high - low
    shown = (grey + rng.random(grey.shape) - 0.5).clip(0, 255) / 255  # what lies between two greys
    shown = 1 - shown if habit.inverse else shown
    black, white = (255, 0) if habit.inverse else (0, 255)
    below, above = (rng.random() * 0.8 + 0.2 * rng.random(grey.shape) for _ in range(2))
    table = None
    if habit.voi == "none":
        width, centre, values = span + 1.0, low + span / 2 + 0.5, low + shown * span
    else:
        width = float(round(span * rng.uniform(0.35, 0.7)))
        centre = float(round(low + rng.uniform(width / 2 + 2, span - width / 2 - 2)))
        start, stop = centre - width / 2, centre + width / 2
        if habit.voi == "sigmoid":
            width /= 2  # its tails go on
            inside = shown.clip(0.01, 0.99)
            values = centre + width / 4 * np.log(inside / (1 - inside))
            values = values.clip(low, high)
        elif habit.voi == "table":
            table = _curve(start, stop, high)
            values = np.interp(shown, table / 65535.0, np.arange(len(table), dtype=float))
        else:
            # The standard's window is half a value off: its lowest grey ends at c - 0.5 - (w - 1) / 2.
            values = centre - 0.5 + (shown - 0.5) * (width - 1)
        if habit.voi != "sigmoid":
            values = np.where(grey == black, low + below * (start - low), values)
            values = np.where(grey == white, stop + above * (high - stop), values)
    whole = np.rint(values).clip(low, high).astype(np.int64)
    if habit.slope < 0:
        whole = high + low - whole
    padding = None
    if habit.padding:
        padding = low
        frame = max(1, round(FRAME * len(grey)))
        whole = whole.clip(low + 1)
        whole[:frame], whole[-frame:], whole[:, :frame], whole[:, -frame:] = (padding,) * 4
    kind = np.int16 if habit.signed else np.uint16
    return Stored(whole.astype(kind), centre, width, table, padding)


def header(film: Film, habit: Habit, seed: int, kind: str) -> Dataset:
    """Return a film's header without its pixels: a drawn patient, study and device.

    Args:
        film: Which film.
        habit: Who wrote it.
        seed: Of the phantoms.
        kind: film, for-processing or second-rendering.
    """
    rng = stream(seed, film.patient, 0, 0, DICOM)
    family, given = FAMILY[int(rng.integers(len(FAMILY)))], GIVEN[int(rng.integers(len(GIVEN)))]
    first = np.datetime64(f"{2021 + int(rng.integers(0, 3))}-01-01") + int(rng.integers(0, 300))
    birth = first - round(365.25 * film.age) - int(rng.integers(0, 365))
    day = first + 37 * (film.study - 1)
    presented, study = kind != "for-processing", f"{seed}/{film.patient}/{film.study}"
    words = {"PA": "W Chest PA", "AP": "Portable chest AP", "LATERAL": "W Chest LAT"}[film.position]
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.ImageType = ["ORIGINAL" if kind == "film" else "DERIVED", "PRIMARY", ""]
    if kind == "for-processing":
        dataset.ImageType = ["ORIGINAL", "PRIMARY", ""]
    dataset.SOPClassUID = CLASSES.get((habit.modality, presented), CLASSES["CR", True])
    dataset.SOPInstanceUID = _uid(study, f"view{film.view}", kind)
    dataset.StudyDate = dataset.SeriesDate = str(day).replace("-", "")
    dataset.StudyTime = f"{8 + film.study % 10:02d}{7 * film.view % 60:02d}00"
    dataset.AccessionNumber = accession(film, seed)
    dataset.Modality = habit.modality
    if habit.modality == "DX":
        dataset.PresentationIntentType = "FOR PRESENTATION" if presented else "FOR PROCESSING"
    dataset.Manufacturer, dataset.ManufacturerModelName = habit.maker, habit.model
    dataset.InstitutionName = "Hospital of drawn phantoms"
    dataset.ReferringPhysicianName = "Drawn^Doctor"
    dataset.StudyDescription = "Chest"
    dataset.SeriesDescription = words + SERIES[kind]
    dataset.PatientName, dataset.PatientID = (
        f"{family}^{given}^Phantom",
        f"PHANTOM{film.patient:05d}",
    )
    dataset.PatientBirthDate, dataset.PatientSex = str(birth).replace("-", ""), film.sex[0]
    dataset.PatientAge = f"{int((day - birth).astype(int) / 365.25):03d}Y"
    dataset.BodyPartExamined = "CHEST"
    dataset.DeviceSerialNumber = f"DRAWN-{habit.model.upper().replace(' ', '-')}"
    if habit.view_tag:
        dataset.ViewPosition = VIEWS[film.position]
    else:
        code, meaning = VIEW_CODES[film.position]
        entry = Dataset()
        entry.CodeValue, entry.CodingSchemeDesignator, entry.CodeMeaning = code, "SCT", meaning
        dataset.ViewCodeSequence = Sequence([entry])
    dataset.BurnedInAnnotation = "NO"
    dataset.StudyInstanceUID = _uid(study)
    dataset.SeriesInstanceUID = _uid(study, f"series{film.view}", kind)
    dataset.StudyID, dataset.SeriesNumber, dataset.InstanceNumber = str(film.study), film.view, 1
    dataset.PatientOrientation = {"PA": ["R", "F"], "AP": ["L", "F"], "LATERAL": ["A", "F"]}[
        film.position
    ]
    return dataset


def _pixels(dataset: Dataset, stored: Stored, habit: Habit) -> None:
    """Add the pixel module, the look-up tables and the pixels."""
    allocated = 8 if habit.bits <= 8 else 16
    values = stored.values.astype(np.uint8) if allocated == 8 else stored.values
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME1" if habit.inverse else "MONOCHROME2"
    dataset.Rows, dataset.Columns = values.shape
    dataset.BitsAllocated, dataset.BitsStored = allocated, habit.bits
    dataset.HighBit, dataset.PixelRepresentation = habit.bits - 1, int(habit.signed)
    dataset.PixelSpacing = dataset.ImagerPixelSpacing = [f"{400 / len(values):.6g}"] * 2
    kind = "SS" if habit.signed else "US"
    if stored.padding is not None:
        dataset.add_new(0x00280120, kind, stored.padding)
    if habit.slope < 0:
        dataset.RescaleIntercept, dataset.RescaleSlope = str(2**habit.bits - 1), "-1"
        dataset.RescaleType = "US"
    elif habit.shape:
        dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = "0", "1", "US"
    if habit.shape:
        dataset.PresentationLUTShape = "INVERSE" if habit.inverse else "IDENTITY"
    if habit.voi != "none":
        dataset.WindowCenter, dataset.WindowWidth = f"{stored.centre:g}", f"{stored.width:g}"
    if habit.voi == "sigmoid":
        dataset.VOILUTFunction = "SIGMOID"
    if stored.table is not None:
        entry = Dataset()
        entry.add_new(0x00283002, "US", [len(stored.table) % 2**16, 0, 16])
        entry.LUTExplanation = "NORMAL"
        entry.add_new(0x00283006, "OW", stored.table.astype("<u2").tobytes())
        dataset.VOILUTSequence = Sequence([entry])
        # The table comes first: a reader that takes the window shows another film.
        dataset.WindowCenter, dataset.WindowWidth = f"{stored.centre:g}", f"{stored.width * 3:g}"
    if habit.syntax in ("jpeg2000", "jpeg-lossless"):
        dataset.PixelData = encapsulate([_encoded(values, habit)])
        dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
        return
    dataset.PixelData = values.astype(values.dtype.newbyteorder("<")).tobytes()
    dataset["PixelData"].VR = "OB" if allocated == 8 else "OW"
    if habit.syntax == "rle":
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.compress(RLELossless, generate_instance_uid=False, encoding_plugin="pydicom")


def _encoded(values: NDArray[Any], habit: Habit) -> bytes:
    """Return one compressed frame."""
    if habit.syntax == "jpeg2000":
        coded = imagecodecs.jpeg2k_encode(
            values,
            level=0,
            codecformat="j2k",
            reversible=True,
            bitspersample=habit.bits,
            numthreads=1,
        )
    else:
        coded = imagecodecs.jpeg8_encode(
            values, lossless=True, predictor=1, bitspersample=habit.bits
        )
    return bytes(coded)


def _file(dataset: Dataset, syntax: UID) -> bytes:
    """Return the file of a dataset."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.ImplementationClassUID = _uid("hilum phantom")
    dataset.file_meta.ImplementationVersionName = "HILUM_PHANTOM"
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _curve(start: float, stop: float, high: int) -> NDArray[np.uint16]:
    """Return a VOI table, uint16 [high + 1]: flat, then an S from ``start`` to ``stop``, then flat."""
    place = ((np.arange(high + 1) - start) / (stop - start)).clip(0, 1) - 0.5
    ends = 1 / (1 + np.exp(CURVE / 2))
    curve: FloatArray = (1 / (1 + np.exp(-CURVE * place)) - ends) / (1 - 2 * ends)
    return np.asarray(np.rint(curve * 65535), np.uint16)


def _uid(*names: str) -> UID:
    """Return a UID that depends on the names alone."""
    digest = hashlib.sha256("/".join(("hilum phantom", *names)).encode()).digest()[:16]
    return UID(f"2.25.{int.from_bytes(digest, 'big')}")
