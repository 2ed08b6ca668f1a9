"""What results take over from the film that they are of: patient, study, and the film's own identifiers."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

from pydicom import config, dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from hilum.images.unreadable import UnreadableFilm

_FORCED = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
_TEXTS = ("PatientID", "PatientName", "StudyID", "AccessionNumber", "ReferringPhysicianName")
_DATES = {
    "PatientBirthDate": r"\d{8}",
    "StudyDate": r"\d{8}",
    "StudyTime": r"\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?",
}
_UID = re.compile(r"[0-9]+(\.[0-9]+)+")
LONGEST_UID = 64


@contextmanager
def nothing_quoted() -> Iterator[None]:
    """Keep pydicom and highdicom from quoting malformed values, such as names, in warnings and logs."""
    loggers = [logging.getLogger(name) for name in ("pydicom", "highdicom")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        with warnings.catch_warnings(), config.disable_value_validation():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def source_header(data: bytes) -> Dataset:
    """Return patient, study and identifiers of a film as a data set of their own.

    Attributes that may be empty (type 2) and are absent or malformed are empty in it: a report can
    be made of a film that lacks them, and none is invented.

    Args:
        data: The DICOM file.

    Raises:
        UnreadableFilm: It has no identifiers of its own, so that no result could point to it.
    """
    tags: list[Any] = [*_FORCED, *_TEXTS, *_DATES, "PatientSex", "SpecificCharacterSet"]
    tags += ["Rows", "Columns", "Modality", "PatientOrientation"]
    with nothing_quoted():
        try:
            film = dcmread(BytesIO(data), stop_before_pixels=True, specific_tags=tags, force=True)
        except (InvalidDicomError, ValueError, OSError, EOFError, NotImplementedError) as error:
            raise UnreadableFilm("damaged", "its header cannot be parsed") from error
        return _header(film)


def _header(film: Dataset) -> Dataset:
    header = Dataset()
    for name in _FORCED:
        value = str(_value(film, name))
        if not _UID.fullmatch(value) or len(value) > LONGEST_UID:
            raise UnreadableFilm("damaged", f"no valid {name} in its header")
        setattr(header, name, value)
    for name in _TEXTS:
        setattr(header, name, _value(film, name))
    for name, form in _DATES.items():
        value = str(_value(film, name))
        setattr(header, name, value if re.fullmatch(form, value) else "")
    sex = str(_value(film, "PatientSex"))
    header.PatientSex = sex if sex in ("M", "F", "O") else ""
    for name in ("Rows", "Columns"):
        if isinstance(value := _value(film, name), int):
            setattr(header, name, value)
    header.Modality = str(_value(film, "Modality")) or "DX"
    return header


def _value(film: Dataset, name: str) -> Any:
    """Return an attribute's value, an empty text where it is absent, has several or cannot be read."""
    try:
        value = film.get(name, "")
    except (ValueError, TypeError, LookupError):
        return ""
    return "" if value is None or isinstance(value, list) else value
