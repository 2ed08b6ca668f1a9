"""What highdicom and dcmtk make of a DICOM file, from 0 to 255; None where they are absent or refuse it."""

from __future__ import annotations

import importlib
import importlib.metadata
import shutil
import subprocess
import warnings
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from dicom_files import Variant


@cache
def highdicom_version() -> str | None:
    """Return highdicom's version, None where it is not installed."""
    try:
        return importlib.metadata.version("highdicom")
    except importlib.metadata.PackageNotFoundError:
        return None


@cache
def dcmtk_version() -> str | None:
    """Return dcmtk's version, None where ``dcmj2pnm`` is not on the path."""
    if shutil.which("dcmj2pnm") is None:
        return None
    shown = subprocess.run(["dcmj2pnm", "--version"], capture_output=True, text=True, check=False)
    return " ".join(shown.stdout.split()[2:4])


def by_highdicom(path: Path, variant: Variant) -> np.ndarray | None:
    """Return highdicom's frame with all its steps, scaled to the nominal range where nothing else scales it."""
    if highdicom_version() is None:
        return None
    highdicom = importlib.import_module("highdicom")
    shown = variant.windows is not None or variant.voi_lut is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = highdicom.imread(path)
            frame = np.asarray(image.get_frame(1, apply_voi_transform=None), np.float64)
        except Exception:  # noqa: BLE001 - it refuses in many ways
            return None
    if frame.ndim != 2:
        return None
    if not shown:
        if variant.modality_lut is not None:
            ends = 0.0, 2.0**variant.modality_lut.said_bits - 1
        else:
            low = -(2 ** (variant.bits - 1)) if variant.signed else 0
            slope, intercept = variant.slope or 1, variant.intercept or 0
            stored = low, low + 2**variant.bits - 1
            ends = tuple(sorted(value * slope + intercept for value in stored))
        frame = (frame - ends[0]) / (ends[1] - ends[0])
    return frame * 255


def by_dcmtk(path: Path, variant: Variant) -> np.ndarray | None:
    """Return dcmj2pnm's picture with the file's first table or window."""
    if dcmtk_version() is None:
        return None
    chosen = (
        ["+Wl", "1"] if variant.voi_lut is not None else ["+Wi", "1"] if variant.windows else []
    )
    target = path.with_suffix(".pgm")
    command = ["dcmj2pnm", "+op", *chosen, str(path), str(target)]
    shown = subprocess.run(command, capture_output=True, text=True, check=False)
    if shown.returncode or not target.is_file():
        return None
    return np.asarray(cv2.imread(str(target), cv2.IMREAD_UNCHANGED), np.float64)
