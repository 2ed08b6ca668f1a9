"""Mask files: one 16-bit PNG a film, bit f set where finding f shows."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from hilum.errors import DataError
from hilum.findings import CHEXPERT


def pack(masks: dict[str, np.ndarray], side: int, factor: int) -> np.ndarray:
    """Return masks (bool [side, side]) as uint16 [side / factor, side / factor], a bit a finding.

    A bit is set where any of the pixels merged had it, so thin lines survive.
    """
    packed = np.zeros((side, side), np.uint16)
    for name, mask in masks.items():
        packed |= mask.astype(np.uint16) << CHEXPERT.index(name)
    rows = [packed[start::factor] for start in range(factor)]
    merged = np.bitwise_or.reduce(
        [row[:, start::factor] for row in rows for start in range(factor)]
    )
    return np.asarray(merged, np.uint16)


def unpack(packed: np.ndarray) -> dict[str, np.ndarray]:
    """Return the masks of packed bits by finding, bool [H, W], empty where it does not show."""
    return {name: (packed >> bit) & 1 == 1 for bit, name in enumerate(CHEXPERT)}


def read_masks(path: Path) -> dict[str, np.ndarray]:
    """Return a film's masks by finding, bool [H, W]; empty for findings that it does not show.

    Raises:
        DataError: The file is missing or is no mask of a phantom.
    """
    packed = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if path.is_file() else None
    if packed is None or packed.dtype != np.uint16 or packed.ndim != 2:
        raise DataError(
            f"{path} is no mask of a phantom: give a 16-bit PNG below masks/ of a phantom folder."
        )
    return unpack(np.asarray(packed))
