"""A film's view position by its header: tags first, then codes, descriptions and the patient's orientation."""

from __future__ import annotations

from hilum.images.dicom.header import DicomHeader
from hilum.sources.view_words import FRONTAL, sides_named, view_position

_ACROSS = {"L": FRONTAL, "R": FRONTAL, "A": "LATERAL", "P": "LATERAL"}


def film_view(film: DicomHeader) -> str | None:
    """Return PA, AP, LATERAL or FRONTAL, or None where the header does not tell.

    A description that names a frontal and a lateral view is of the study and tells nothing. Rows
    that lead to the patient's left or right are of a frontal film, those that lead to the front or
    back of a lateral; they count where no tag speaks.
    """
    if view := view_position(film.view_position):
        return view
    if view := view_position(" ".join(film.view_codes)):
        return view
    for text in (
        film.series_description,
        film.protocol_name,
        film.processing,
        film.performed_procedure,
    ):
        if len(sides_named(text)) == 1 and (view := view_position(text)):
            return view
    if film.view_position or film.view_codes:
        return None
    return _ACROSS.get(film.patient_orientation[0][:1]) if film.patient_orientation else None
