"""One film: a body is posed, its findings planted, the whole X-rayed and exposed to grey."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hilum.annotations.mask_files import pack
from hilum.findings import CHEXPERT
from hilum.phantoms import opacities, structures
from hilum.phantoms.body import Body, Scene, draw_body
from hilum.phantoms.canvas import Canvas, Pose
from hilum.phantoms.cohort import Film
from hilum.phantoms.exposure import develop
from hilum.phantoms.frontal import frontal_scene
from hilum.phantoms.lateral import lateral_scene
from hilum.phantoms.options import BODY, EXPOSURE, FINDING, POSE, stream
from hilum.phantoms.tissue import attenuation

Planter = Callable[[Scene, np.random.Generator], None]

PLANTERS: dict[str, Planter] = {
    "Enlarged Cardiomediastinum": structures.enlarged_cardiomediastinum,
    "Cardiomegaly": structures.cardiomegaly,
    "Lung Opacity": opacities.lung_opacity,
    "Lung Lesion": opacities.lung_lesion,
    "Edema": opacities.edema,
    "Consolidation": opacities.consolidation,
    "Pneumonia": opacities.pneumonia,
    "Atelectasis": opacities.atelectasis,
    "Pneumothorax": structures.pneumothorax,
    "Pleural Effusion": opacities.pleural_effusion,
    "Pleural Other": opacities.pleural_other,
    "Fracture": structures.fracture,
    "Support Devices": structures.support_devices,
}
"""How each finding is drawn. No Finding is drawn by drawing nothing."""

_SMALL = 128
"""Films up to this edge are drawn at twice their size, so that thin lines survive."""


def draw(film: Film, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a film and its masks.

    Returns: The film, uint8 [size, size], and its masks, uint16 [size, size]: bit f is set where
        finding f of ``findings.CHEXPERT`` shows.
    """
    factor = 2 if size <= _SMALL else 1
    scene, body = _scene(film, size * factor, seed)
    for name in film.present:
        purpose = FINDING + CHEXPERT.index(name)
        PLANTERS[name](scene, stream(seed, film.patient, film.study, 0, purpose))
    rng = stream(seed, film.patient, film.study, film.view, EXPOSURE)
    grey = develop(attenuation(scene, body, film.position, rng), size, rng)
    return grey, pack(scene.masks, size * factor, factor)


def _scene(film: Film, side: int, seed: int) -> tuple[Scene, Body]:
    body = draw_body(stream(seed, film.patient, 0, 0, BODY), film.sex, film.age)
    rng = stream(seed, film.patient, film.study, film.view, POSE)
    canvas, breath = Canvas(side, _pose(rng)), float(rng.normal(0, 0.045))
    if film.position == "LATERAL":
        return lateral_scene(body, canvas, breath), body
    return frontal_scene(body, canvas, film.position == "AP", breath), body


def _pose(rng: np.random.Generator) -> Pose:
    """Return how the body lies: so varied that sizes can only be judged against the rest of the chest."""
    shift = (float(rng.normal(0, 0.075)), float(rng.normal(0, 0.075)))
    return Pose(
        float(rng.normal(0, 0.08)),
        float(rng.uniform(0.8, 1.15)),
        float(rng.uniform(0.9, 1.11)),
        shift,
    )
