"""Films on a study's page: samples with their labels, and films before and after their preparation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.catalog import PRESENT, UNCERTAIN
from hilum.errors import DataError
from hilum.images.enhance import ENHANCEMENTS
from hilum.images.read import read_grey
from hilum.phantoms import read_masks
from hilum.report.pictures import as_jpeg, outline
from hilum.report.study_read import Study

SAMPLES, BEFORE_AND_AFTER = 8, 2
"""Films shown of each."""
SIDE = 320
"""Most pixels of a shown film's shorter side."""
COLOURS = 6
"""Of outlines, in the page's style."""
ENHANCED = {"paper": "denoised and equalised", "clahe": "equalised locally", "none": "not enhanced"}
VIEWS = {"PA": "PA", "AP": "AP", "LATERAL": "lateral"}
PHANTOMS, MASKS = "phantoms", "masks"
Film = NDArray[np.uint8]


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
class Prepared:
    """A film step by step: each picture with its caption."""

    steps: list[tuple[str, str]]


def film_sections(study: Study) -> dict[str, Any]:
    """Return the films that the page shows, drawn by a fixed seed from the training part."""
    rows = study.split.rows(study.store.catalog, "train")
    chosen = np.random.default_rng(0).permutation(rows)
    samples = [_sample(study, int(row)) for row in chosen[:SAMPLES]]
    return {
        "samples": samples,
        "outlined": any(sample.outlines for sample in samples),
        "prepared": [_prepared(study, int(row)) for row in chosen[:BEFORE_AND_AFTER]],
    }


def _sample(study: Study, row: int) -> Sample:
    labels = dict(zip(study.store.findings, study.store.labels[row].tolist(), strict=True))
    file = original(study, row)
    film = _read(file)
    return Sample(
        picture=picture(_stored(study, row) if film is None else film),
        view=VIEWS.get(str(study.store.catalog["view_position"].iloc[row]), "view not stated"),
        present=[name for name, label in labels.items() if label == PRESENT],
        uncertain=[name for name, label in labels.items() if label == UNCERTAIN],
        outlines=_outlines(study, row, file),
    )


def _outlines(study: Study, row: int, file: Path | None) -> list[Outline]:
    """Return the outlines of what was drawn on a phantom whose masks lie beside it."""
    path = Path(str(study.store.catalog["path"].iloc[row])).with_suffix(".png")
    root = file.parents[len(path.parts) - 1] if file else None
    if root is None or not study.is_drawn or not (root / MASKS / path).is_file():
        return []
    masks = read_masks(root / MASKS / path)
    drawn = [name for name in study.store.findings if name in masks and masks[name].any()]
    return [Outline(name, outline(masks[name]), place % COLOURS) for place, name in enumerate(drawn)]


def _prepared(study: Study, row: int) -> Prepared:
    """Return a film as it came, where its file is at hand, as it is stored, and as the published recipe has it."""
    enhance, size = study.store.preparation.enhance, study.store.preparation.size
    film, stored = _read(original(study, row)), _stored(study, row)
    steps = []
    if film is not None:
        steps.append((picture(film), f"The film as it came, {film.shape[1]} x {film.shape[0]} px"))
    steps.append((picture(stored), f"As the networks see it: {size} x {size} px, {ENHANCED.get(enhance, enhance)}"))
    if enhance == "none":
        enhanced = np.asarray(ENHANCEMENTS["paper"](stored), np.uint8)
        steps.append((picture(enhanced), "For comparison only: denoised and equalised, as the published recipe does"))
    return Prepared(steps)


def _stored(study: Study, row: int) -> Film:
    return np.asarray(study.store.read(np.array([row]))[0], np.uint8)


def original(study: Study, row: int) -> Path | None:
    """Return a film's own file, None where it is not at hand: a store does not say where its films came from."""
    path = Path(str(study.store.catalog["path"].iloc[row]))
    if path.is_absolute() or ".." in path.parts:
        return None
    return next((root / path for root in _roots(study) if (root / path).is_file()), None)


def _roots(study: Study) -> Iterator[Path]:
    """Yield where films may lie: the folders that the plan names as truth, and a demo's phantoms."""
    for named in study.record.plan.get("truth") or ():
        yield Path(str(named))
    if study.is_drawn:
        yield study.folder / PHANTOMS
        yield study.store.folder.parent / PHANTOMS


def _read(file: Path | None) -> Film | None:
    """Return a film's pixels, None where there is no file or it cannot be read."""
    try:
        return None if file is None else np.asarray(read_grey(file), np.uint8)
    except DataError:
        return None


def picture(film: Film) -> str:
    """Return a film [H, W] as an address: one larger than is shown made smaller, one that is smaller larger."""
    factor = SIDE / min(film.shape)
    if factor < 1:
        film = np.asarray(cv2.resize(film, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), np.uint8)
    _, coded = cv2.imencode(".png", film)
    return as_jpeg(coded.tobytes(), "a stored film", SIDE // 2)
