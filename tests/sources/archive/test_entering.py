"""Which films enter: by tags, words in many languages and the other images of an exposure."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hilum.images.dicom.header import DicomHeader
from hilum.sources.archive.entering import REASONS, body_part, is_enhanced, left_out
from hilum.sources.archive.film_view import film_view
from hilum.sources.archive.region_words import RegionWords

FILM = DicomHeader(
    sop_class="1.2.840.10008.5.1.4.1.1.1.1",
    modality="DX",
    has_pixels=True,
    rows=8,
    columns=8,
    body_part="CHEST",
)
WORDS = RegionWords()


def film(**tags: object) -> DicomHeader:
    return replace(FILM, **tags)


@pytest.mark.parametrize("modality", ["CR", "DX", "RG", ""])
def test_radiographs_enter(modality):
    assert left_out(film(modality=modality)) == ""


@pytest.mark.parametrize(
    ("reason", "tags"),
    [
        ("modality", {"modality": "CT"}),
        ("modality", {"modality": "RF"}),
        ("modality", {"modality": "MG"}),
        ("modality", {"modality": "OT"}),
        ("modality", {"modality": "", "sop_class": "1.2.840.10008.5.1.4.1.1.2"}),
        ("body-part", {"body_part": "LEG"}),
        ("body-part", {"body_part": "EXTREMETY"}),
        ("body-part", {"body_part": "ABDOMEN"}),
        ("body-part", {"body_part": "TSPINE"}),
        ("body-part", {"body_part": "", "series_description": "Knie links ap"}),
        ("body-part", {"body_part": "", "study_description": "Unterschenkel in 2 Ebenen"}),
        ("body-part", {"body_part": "", "anatomy_codes": ("LOWER LEG",)}),
        ("body-part", {"body_part": "CHEST", "protocol_name": "Abdomen stehend"}),
        ("localiser", {"image_type": ("ORIGINAL", "PRIMARY", "LOCALIZER")}),
        ("localiser", {"series_description": "Scout chest"}),
        ("frames", {"frames": 12}),
        ("frames", {"frames": 2, "bits_allocated": 8, "pixel_bytes": 2 * 8 * 8}),
        ("frames", {"frames": 2, "bits_allocated": 16, "pixel_bytes": None}),
        ("test-image", {"quality_control": True}),
        ("burned-in", {"burned_in": True}),
        ("burned-in", {"image_type": ("DERIVED", "SECONDARY", "SCREEN SAVE")}),
        ("burned-in", {"maker": "VIDAR Systems"}),
        ("burned-in", {"series_description": "Screen Save"}),
        ("burned-in", {"series_description": "CHEST PA SAVED IMAGES"}),
        ("burned-in", {"series_description": "Thorax_ScreenShot"}),
        ("secondary-capture", {"sop_class": "1.2.840.10008.5.1.4.1.1.7"}),
        ("secondary-capture", {"sop_class": "1.2.840.10008.5.1.4.1.1.7.3"}),
        ("secondary-capture", {"conversion_type": "WSD"}),
        ("secondary-capture", {"capture_maker": True}),
        ("for-processing", {"presentation_intent": "FOR PROCESSING"}),
        ("for-processing", {"sop_class": "1.2.840.10008.5.1.4.1.1.1.1.1"}),
        ("second-rendering", {"series_description": "Chest PA bone suppressed"}),
        ("second-rendering", {"series_description": "Thorax Knochensuppression"}),
        ("second-rendering", {"derivation": "Rib suppression"}),
        ("second-rendering", {"series_description": "Dual Energy soft tissue"}),
    ],
)
def test_others_are_left_out_by_reason_unless_kept(reason, tags):
    other = film(**tags)
    assert left_out(other) == REASONS[reason]
    assert left_out(other, keep=[reason]) == ""


def test_words_like_save_are_no_screens():
    for text in ("TB screening chest PA", "Savelsbergh protocol", "CHEST SCREEN-FILM"):
        assert left_out(film(series_description=text)) == ""


def test_a_number_of_frames_that_the_pixels_contradict_is_not_believed():
    for allocated, length in ((8, 64), (16, 128), (16, 255), (8, 127)):
        single = film(frames=4, bits_allocated=allocated, pixel_bytes=length)
        assert left_out(single) == ""
    assert left_out(film(frames=0)) == ""


def test_an_image_type_secondary_alone_is_no_capture():
    assert left_out(film(image_type=("DERIVED", "SECONDARY", "", "CSA RESAMPLED"))) == ""


def test_scanned_films_of_modality_rg_are_no_captures():
    assert left_out(film(modality="RG", conversion_type="DF")) == ""


@pytest.mark.parametrize(
    "tags", [{"has_pixels": False}, {"rows": None}, {"sop_class": "1.2.840.10008.5.1.4.1.1.88.11"}]
)
def test_what_has_no_picture_is_no_image_and_never_kept(tags):
    assert left_out(film(**tags), keep=REASONS) == "no image"


@pytest.mark.parametrize(
    "text",
    [
        "W Chest PA", "THORAX ap im Liegen", "Röntgen Lunge", "RX TORAX", "Tórax AP y lateral",
        "radiographie pulmonaire",
        "Klatka piersiowa PA", "Рентгенография органов грудной клетки", "胸部正面", "흉부 PA", "PCHEST", "RXTORAX",
        "CXR",
        "chest and upper abdomen", "Göğüs", "Thorax-Aufnahme", "ChestPA", "صدر", "ngực thẳng", "Ribs and chest",
    ],
)  # fmt: skip
def test_words_for_the_chest(text):
    assert body_part(film(body_part="", series_description=text), WORDS) == "chest"


@pytest.mark.parametrize(
    "text",
    [
        "T-SPINE lat", "Thoracic spine AP", "BWS seitlich", "Brustwirbelsäule", "rachis dorsal", "columna dorsal",
        "胸椎",
        "Abdomen im Stehen", "KUB", "Beckenübersicht", "Main hip AP", "Rodilla", "colonna vertebrale",
        "грудной отдел позвоночника",
        "C-spine", "Ribs", "腹部", "무릎", "thoracolumbar junction",
    ],
)  # fmt: skip
def test_words_for_other_parts(text):
    assert body_part(film(body_part="", protocol_name=text), WORDS) == "other"


@pytest.mark.parametrize(
    "text", ["", "Portable", "PA", "in 2 Ebenen", "Hippocampus", "W042", "UNKNOWN"]
)
def test_texts_that_name_no_part(text):
    assert body_part(film(body_part="", series_description=text), WORDS) == ""


def test_a_tag_for_another_part_is_not_outvoted_by_words():
    assert body_part(film(body_part="HAND", series_description="chest"), WORDS) == "other"


def test_a_hospitals_own_words_count():
    mine = RegionWords(chest=("brystkasse-",), other=("gips",))
    assert body_part(film(body_part="", series_description="Brystkassen i 2 plan"), mine) == "chest"
    assert body_part(film(body_part="", series_description="Gips v. fot"), mine) == "other"
    assert left_out(film(body_part="", series_description="Brystkassen"), words=WORDS) == ""


def test_films_that_name_no_part_are_kept_unless_dropped():
    assert left_out(film(body_part="")) == ""
    assert left_out(film(body_part=""), unknown_part="drop") == "body part not stated"
    assert left_out(film(), unknown_part="drop") == ""


def test_usual_processing_is_no_enhanced_rendering():
    assert not is_enhanced(film(processing="THORAX EDGE ENHANCEMENT 3"))
    assert is_enhanced(film(series_description="Chest PA edge enhanced"))
    assert is_enhanced(film(series_description="PICC line enhancement"))


@pytest.mark.parametrize(
    ("tags", "view"),
    [
        ({"view_position": "PA"}, "PA"),
        ({"view_position": "LL"}, "LATERAL"),
        ({"view_position": "LARGE LATERAL"}, "LATERAL"),
        ({"view_codes": ("POSTERO-ANTERIOR",)}, "PA"),
        ({"view_codes": ("LEFT LATERAL",)}, "LATERAL"),
        ({"series_description": "Thorax p.a."}, "PA"),
        ({"protocol_name": "CHEST LAT"}, "LATERAL"),
        ({"series_description": "Chest PA and lateral"}, None),
        ({"study_description": "Chest PA"}, None),
        ({"patient_orientation": ("L", "F")}, "FRONTAL"),
        ({"patient_orientation": ("A", "F")}, "LATERAL"),
        ({"patient_orientation": ("PR", "F")}, "LATERAL"),
        ({"view_position": "LLD", "patient_orientation": ("L", "F")}, None),
        ({"view_position": "AP", "series_description": "lateral"}, "AP"),
        ({}, None),
    ],
)
def test_view(tags, view):
    assert film_view(film(**tags)) == view
