"""Which films of an archive enter: chest radiographs for presentation, one film an exposure; the others by reason."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache

from hilum.errors import OptionError, did_you_mean
from hilum.images.dicom.header import DicomHeader
from hilum.sources.archive.region_words import MOST_TEXTS, TAG_OTHER, RegionWords, normal

NO_DICOM, NO_IMAGE, DICOMDIR = "no DICOM file", "no image", "DICOMDIR"
DAMAGED, LINK, COPY = "damaged DICOM file", "link", "the same file again"
UNKNOWN_PART = "body part not stated"

REASONS = {
    "modality": "another modality",
    "body-part": "another body part",
    "localiser": "localiser",
    "frames": "several frames",
    "test-image": "test image",
    "burned-in": "burned-in text",
    "secondary-capture": "secondary capture",
    "for-processing": "for processing",
    "second-rendering": "second rendering of one exposure",
}
"""Reasons that an option can switch off, and their words in counts."""

MODALITIES = ("CR", "DX", "RG", "DR", "XR")
"""Radiographs. DR and XR are no defined terms of DICOM and are written for DX all the same."""
_COMPUTED, _DIGITAL = "1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.1.1"
_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.1.1"
_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_RADIOGRAPHS = (_COMPUTED, _DIGITAL, _PROCESSING)
_NO_IMAGES = (
    "1.2.840.10008.5.1.4.1.1.88.", "1.2.840.10008.5.1.4.1.1.11.", "1.2.840.10008.5.1.4.1.1.104.",
    "1.2.840.10008.5.1.4.1.1.9.", "1.2.840.10008.1.",
)  # fmt: skip
"""Reports, presentation states, documents, waveforms, directories."""

_LOCALISER = re.compile(r"locali[sz]er|\bscout\b|topogram|surview|\bpilot\b")
_SCREEN = re.compile(r"screen|\bsave\b")
_SAVED = re.compile(r"\bsaved?\b|screen[\W_]*(?:sav|shot|cap|grab|dump)")
"""In descriptions, where "screening" is usual."""
_SCANNERS = re.compile(
    r"vidar|lumisys|howtek|array corporation|dicom ?box|pacsgear|icad\b|digirad film"
)
"""Makers of film scanners and frame grabbers: the labels of the film, or the screen, are in the pixels."""
_SUPPRESSED = re.compile(
    r"(?:bone|rib|knochen|rippen|osseu|hueso|osso|costal)\w*[\W_]*(?:suppr|subtr|supress|unterdr|elimin|remov)"
    r"|(?:suppr|subtr|unterdr)\w*[\W_]*(?:bone|rib|knochen|rippen|os\b|hueso)"
    r"|soft[\W_]*tissue[\W_]*(?:image|only|view)|soft[\W_]?view|clear[\W_]?read|dual[\W_]?energy|\bbsi\b|\bcad\b|heat[\W_]?map"
)
_ENHANCED = re.compile(
    r"(?:edge|kanten|contour|borde|bord)\w*[\W_]*(?:enh|anheb|verst|rehauss|realc|renf)|\benhanced\b|\bsharpen"
    r"|(?:line|tube|catheter|picc|katheter|sonde)\w*[\W_]*(?:enh|visuali[sz]|view\b)"
    r"|\binvert(?:ed|iert)?\b|\binverse\b|\bnegative\b"
)


def refuse_unknown(keep: Collection[str]) -> None:
    """Refuse a word of ``--keep`` that is no reason.

    Raises:
        OptionError: It names the word and what is allowed.
    """
    for reason in keep:
        if reason not in REASONS:
            raise OptionError(
                f"--keep {reason!r}: allowed are {', '.join(REASONS)}.{did_you_mean(reason, REASONS)}"
            )


def switch(reason: str, count: int = 1) -> str:
    """Return the option that takes films all the same that a reason leaves out, nothing where there is none.

    >>> switch("secondary capture"), switch("link")
    ('--keep secondary-capture takes it', '')
    """
    key = next((key for key, words in REASONS.items() if words == reason), "")
    return f"--keep {key} takes {'it' if count == 1 else 'them'}" if key else ""


def left_out(
    film: DicomHeader,
    keep: Collection[str] = (),
    words: RegionWords | None = None,
    unknown_part: str = "keep",
) -> str:
    """Return why a film does not enter, one of a handful of phrases; nothing where it does.

    Args:
        film: Its header.
        keep: Keys of REASONS that do not count.
        words: For the chest and for other parts, with a hospital's own.
        unknown_part: What happens to a film that says nothing of the body part: keep or drop.
    """
    if film.sop_class.startswith(_NO_IMAGES) or not film.has_pixels or not film.rows:
        return NO_IMAGE
    part = body_part(film, words or RegionWords())
    found = {
        "modality": not _is_radiograph(film),
        "body-part": part == "other",
        "localiser": _is_localiser(film),
        "frames": film.several_frames,
        "test-image": film.quality_control is True,
        "burned-in": has_burned_in(film),
        "secondary-capture": is_capture(film),
        "for-processing": film.presentation_intent == "FOR PROCESSING"
        or film.sop_class == _PROCESSING,
        "second-rendering": is_suppressed(film),
    }
    for key, applies in found.items():
        if applies and key not in keep:
            return REASONS[key]
    return UNKNOWN_PART if unknown_part == "drop" and not part else ""


def body_part(film: DicomHeader, words: RegionWords) -> str:
    """Return chest, other, or nothing where the header does not say.

    The tags come first: Body Part Examined and the Anatomic Region Sequence. Words of the series
    and its protocol come next, and contradict a tag that says chest where they name another part
    alone. Those of the study and its procedure count where neither says anything, since a study has
    films of several parts.
    """
    tagged = _tagged(film, words)
    if tagged == "other":
        return tagged
    of_series = words.named((film.series_description, film.protocol_name, film.processing))
    if of_series == "other" or tagged:
        return of_series or tagged
    of_study = (
        film.study_description,
        film.requested_procedure,
        film.performed_procedure,
        *film.procedure_codes,
    )
    return of_series or words.named(of_study)


def _tagged(film: DicomHeader, words: RegionWords) -> str:
    named = words.named((film.body_part, *film.anatomy_codes))
    return named or ("other" if normal(film.body_part) in TAG_OTHER else "")


def _is_radiograph(film: DicomHeader) -> bool:
    if film.modality:
        return film.modality in MODALITIES
    return film.sop_class in ("", *_RADIOGRAPHS)


def _is_localiser(film: DicomHeader) -> bool:
    texts = (*film.image_type, film.series_description, film.protocol_name)
    return film.localiser or any(_says(_LOCALISER, text) for text in texts)


def has_burned_in(film: DicomHeader) -> bool:
    """Whether a header says that text is burnt into the pixels, or its device saves screens or scans labelled film.

    "Save" in the image type or the series description is a sign of the Clinical Trial Processor too.
    """
    devices = (film.maker, film.model)
    return (
        film.burned_in is True
        or any(_says(_SCREEN, kind) for kind in film.image_type)
        or _says(_SAVED, film.series_description)
        or any(_says(_SCANNERS, device) for device in devices)
    )


def is_capture(film: DicomHeader) -> bool:
    """Whether a film is a copy of a screen or of paper, by its class or a sign of RSNA's Clinical Trial Processor.

    The signs are the tags of a capturing device and a Conversion Type. Scanned films, of modality
    RG, have them too and are none. An Image Type SECONDARY is no sign: a third of one hospital's
    usual films have it.
    """
    if film.modality == "RG":
        return False
    of_class = film.sop_class == _CAPTURE or film.sop_class.startswith(f"{_CAPTURE}.")
    return of_class or film.secondary_capture


def is_suppressed(film: DicomHeader) -> bool:
    """Whether bones were taken out of a film, or marks laid over it, by its words: no film as others are."""
    return _described(film, _SUPPRESSED, film.processing)


def is_enhanced(film: DicomHeader) -> bool:
    """Whether a film was enhanced or inverted for the eye, by its words: a second rendering where there is another."""
    return _described(film, _ENHANCED)


def _described(film: DicomHeader, form: re.Pattern[str], *more: str) -> bool:
    texts = (
        film.series_description,
        film.protocol_name,
        film.derivation,
        *film.image_type[2:],
        *more,
    )
    return any(_says(form, text) for text in texts)


@lru_cache(maxsize=MOST_TEXTS)  # an archive's films share their descriptions
def _says(form: re.Pattern[str], text: str) -> bool:
    return form.search(normal(text)) is not None
