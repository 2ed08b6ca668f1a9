"""The phantoms that the page offers to click: drawn when first asked for."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

SIDE = 256
PHANTOMS = {
    "phantom-1.png": (1, (), 0),
    "phantom-2.png": (7, ("Pleural Effusion", "Lung Opacity"), 0),
    "phantom-3.png": (4, ("Pneumothorax",), 0),
    "phantom-4.png": (5, ("Edema", "Lung Opacity", "Support Devices"), 0),
    "phantom-5.png": (2, ("Cardiomegaly",), 1),
}
"""Path -> number of the drawn patient, findings, quarters by which the film is turned (which is refused)."""


@cache
def phantom(path: str) -> bytes:
    """Return one of PHANTOMS as PNG."""
    from hilum.findings import CHEXPERT
    from hilum.phantoms.cohort import Film
    from hilum.phantoms.film import draw

    patient, present, quarters = PHANTOMS[path]
    truth = tuple(float(name in present) for name in CHEXPERT)
    grey, _ = draw(Film(patient, 1, 1, "PA", "Male", 60, truth, truth), SIDE, 0)
    return cv2.imencode(".png", np.ascontiguousarray(np.rot90(grey, quarters)))[1].tobytes()
