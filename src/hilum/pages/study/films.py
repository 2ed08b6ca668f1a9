"""Films on a study's page: samples with their labels, and films before and after their preparation."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hilum.annotations.known import MASKS, Film, likely_roots, original_film
from hilum.annotations.mask_files import read_masks
from hilum.catalog import PRESENT, UNCERTAIN
from hilum.errors import DataError
from hilum.images.enhance import ENHANCEMENTS
from hilum.pages.charts.pictures import as_jpeg, outline
from hilum.pages.study.read import Study

SAMPLES, BEFORE_AND_AFTER = 8, 2
"""Films shown of each."""
SIDE = 320
"""Most pixels of a shown film's shorter side."""
COLOURS = 6
"""Of outlines, in the page's style."""
ENHANCED = {"paper": "denoised and equalised", "clahe": "equalised locally", "none": "not enhanced"}
VIEWS = {"PA": "PA", "AP": "AP", "FRONTAL": "frontal", "LATERAL": "lateral"}


@dataclass(frozen=True)
class Outline:
    """A finding's outline in a frame of 100 x 100, and its place among the page's outline colours."""

    finding: str
    path: str
    colour: int


@dataclass(frozen=True)
class Sample:
    """A film with what its labels say and, of a phantom, where its findings were drawn; no path and no patient."""

    picture: str
    view: str
    present: list[str]
    uncertain: list[str]
    outlines: list[Outline]


@dataclass(frozen=True)
class Original:
    """A film [H, W] as it came, and the folder of its data set."""

    root: Path
    film: Film


@dataclass(frozen=True)
class Prepared:
    """A film step by step: each picture with its caption."""

    steps: list[tuple[str, str]]
    came: bool
    """Whether the first is the film as it came."""


def film_sections(study: Study) -> dict[str, Any]:
    """Return the films that the page shows, drawn by a fixed seed from the training split."""
    rows = study.split.rows(study.store.catalog, "train")
    chosen = np.random.default_rng(0).permutation(rows)
    samples = [_sample(study, int(row)) for row in chosen[:SAMPLES]]
    prepared = [_prepared(study, int(row)) for row in chosen[:BEFORE_AND_AFTER]]
    return {
        "samples": samples,
        "outlined": any(sample.outlines for sample in samples),
        "prepared": prepared,
        "before_shown": any(one.came for one in prepared),
    }


def _sample(study: Study, row: int) -> Sample:
    """Return a film with its labels and, of a phantom, the outlines of what was drawn."""
    findings = study.store.findings
    labels = dict(zip(findings, study.store.labels[row].tolist(), strict=True))
    drawing = original(study, row)
    masks = {}
    if drawing is not None:
        file = drawing.root / MASKS / str(study.store.catalog["path"].iloc[row])
        # Missing or damaged masks: the film is shown without outlines.
        with suppress(DataError):
            masks = read_masks(file.with_suffix(".png"))
    drawn = [name for name in findings if name in masks and masks[name].any()]
    return Sample(
        picture=picture(drawing.film if drawing else _stored(study, row)),
        view=VIEWS.get(str(study.store.catalog["view_position"].iloc[row]), "view not stated"),
        present=[name for name, label in labels.items() if label == PRESENT],
        uncertain=[name for name, label in labels.items() if label == UNCERTAIN],
        outlines=[
            Outline(name, outline(masks[name]), index % COLOURS) for index, name in enumerate(drawn)
        ],
    )


def _prepared(study: Study, row: int) -> Prepared:
    """Return a phantom as it was drawn, a film as it is stored, and as the published recipe has it."""
    enhance, size = study.store.preparation.enhance, study.store.preparation.size
    came, stored = original(study, row), _stored(study, row)
    steps = []
    if came:
        height, width = came.film.shape
        steps.append((picture(came.film), f"The film as it came, {width} x {height} px"))
    steps.append(
        (
            picture(stored),
            f"As the networks see it: {size} x {size} px, {ENHANCED.get(enhance, enhance)}",
        )
    )
    if enhance == "none":
        enhanced = np.asarray(ENHANCEMENTS["paper"](stored), np.uint8)
        steps.append(
            (
                picture(enhanced),
                "For comparison only: denoised and equalised, as the published recipe does",
            )
        )
    return Prepared(steps, came is not None)


def _stored(study: Study, row: int) -> Film:
    return np.asarray(study.store.read(np.array([row]))[0], np.uint8)


def original(study: Study, row: int) -> Original | None:
    """Return a phantom as it was drawn, None where it is not at hand and of every other film.

    What is written into a real film may name its patient, so a page shows that one only as it was
    prepared.
    """
    if not study.is_drawn:
        return None
    roots = likely_roots(study.folder, study.store.folder, study.record.plan)
    found = (
        Original(root, film)
        for root in roots
        if (film := original_film(root, study.store, row)) is not None
    )
    return next(found, None)


def picture(film: Film) -> str:
    """Return a film [H, W] as an address: one larger than is shown made smaller, one that is smaller larger."""
    factor = SIDE / min(film.shape)
    if factor < 1:
        film = np.asarray(
            cv2.resize(film, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), np.uint8
        )
    _, coded = cv2.imencode(".png", film)
    return as_jpeg(coded.tobytes(), "a stored film", SIDE // 2)
