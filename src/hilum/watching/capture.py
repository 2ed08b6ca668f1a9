"""The secondary capture: film, heatmap and probabilities as one picture that any viewer of an archive shows."""

from __future__ import annotations

import cv2
import numpy as np
from highdicom.sc import SCImage
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

from hilum.heatmaps.overlay import overlay
from hilum.version import __version__
from hilum.watching.reading import Reading
from hilum.watching.uids import ResultUids

SIDE, PANEL, MARGIN = 640, 460, 24
"""Pixels of a picture's side, of the table's width, and between them."""
MARK = "RESEARCH, UNREVIEWED"
NOTICE = "Not a medical device. No reader has seen this."
DESCRIPTION = "Hilum: research, unreviewed"
MANUFACTURER = "The Hilum developers"
SERIES_NUMBER = 9901
_WHITE, _GREY, _RED, _BLUE = (235, 235, 235), (150, 150, 150), (255, 96, 80), (90, 160, 250)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def secondary_capture(header: Dataset, reading: Reading, uids: ResultUids) -> Dataset:
    """Return the picture as a Secondary Capture: uncompressed 8-bit RGB, derived, in a series of its own.

    Args:
        header: Of the film, by `hilum.watching.source_header`.
        reading: What the model says.
        uids: The result's identifiers.
    """
    capture = SCImage(
        pixel_array=picture(reading),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        study_instance_uid=header.StudyInstanceUID,
        series_instance_uid=uids.capture_series,
        series_number=SERIES_NUMBER,
        sop_instance_uid=uids.capture,
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name="Hilum",
        software_versions=__version__,
        series_description=DESCRIPTION,
        patient_id=header.PatientID,
        patient_name=header.PatientName,
        patient_birth_date=header.PatientBirthDate,
        patient_sex=header.PatientSex,
        study_id=header.StudyID,
        accession_number=header.AccessionNumber,
        study_date=header.StudyDate,
        study_time=header.StudyTime,
        referring_physician_name=header.ReferringPhysicianName,
        patient_orientation=("L", "F"),
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    capture.ImageType = ["DERIVED", "SECONDARY"]
    for name in ("PatientOrientation", "Laterality"):  # it holds several pictures
        setattr(capture, name, "")
    capture.BurnedInAnnotation = "NO"  # nothing of a patient is in it
    capture.DerivationDescription = f"{MARK}: probabilities by a model ({reading.model[:16]})"
    source = Dataset()
    source.ReferencedSOPClassUID = header.SOPClassUID
    source.ReferencedSOPInstanceUID = header.SOPInstanceUID
    capture.SourceImageSequence = Sequence([source])
    return capture


def picture(reading: Reading) -> NDArray[np.uint8]:
    """Return film, heatmap and table side by side, RGB [H, W, 3], with the mark burnt in."""
    film = cv2.resize(reading.film, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    pictures = [np.dstack([film] * 3)]
    if reading.heat is not None:
        heat = cv2.resize(reading.heat.astype(np.float32), (SIDE, SIDE)).clip(0, 1)
        pictures.append(overlay(np.asarray(film, np.uint8), heat))
    width = MARGIN + len(pictures) * (SIDE + MARGIN) + PANEL
    canvas = np.zeros((SIDE + 4 * MARGIN, width, 3), np.uint8)
    for place, image in enumerate(pictures):
        left = MARGIN + place * (SIDE + MARGIN)
        canvas[2 * MARGIN : 2 * MARGIN + SIDE, left : left + SIDE] = image
        _text(canvas, MARK, (left + 10, 2 * MARGIN + 30), 0.8, _RED)
        caption = "as the model took it" if place == 0 else f"where it looked: {reading.shown}"
        _text(canvas, caption, (left, 2 * MARGIN - 12), 0.5, _GREY)
    _table(canvas, reading, width - PANEL)
    _text(canvas, f"{MARK}. {NOTICE}", (MARGIN, SIDE + 3 * MARGIN + 8), 0.6, _RED)
    return canvas


def _table(canvas: NDArray[np.uint8], reading: Reading, left: int) -> None:
    """Draw a bar for each finding, the highest first, with a tick at the threshold."""
    bar, step = 150, min(36, SIDE // max(1, len(reading.probabilities)))
    ordered = sorted(reading.probabilities.items(), key=lambda entry: -entry[1])
    for place, (finding, value) in enumerate(ordered):
        top = 2 * MARGIN + place * step
        called = finding in reading.called
        colour = _RED if called else _BLUE
        _text(canvas, finding[:26], (left, top + 16), 0.45, _WHITE if called else _GREY)
        start = left + 215
        cv2.rectangle(canvas, (start, top + 4), (start + bar, top + 18), (60, 60, 60), -1)
        end = start + round(bar * value)
        cv2.rectangle(canvas, (start, top + 4), (end, top + 18), colour, -1)
        if (threshold := reading.thresholds.get(finding)) is not None:
            tick = start + round(bar * threshold)
            cv2.line(canvas, (tick, top), (tick, top + 22), _WHITE, 1)
        _text(canvas, f"{value:.2f}", (start + bar + 10, top + 16), 0.45, _WHITE)


def _text(
    canvas: NDArray[np.uint8],
    text: str,
    at: tuple[int, int],
    size: float,
    colour: tuple[int, int, int],
) -> None:
    plain = text.encode("ascii", "replace").decode()
    cv2.putText(canvas, plain, at, _FONT, size, colour, 1, cv2.LINE_AA)
