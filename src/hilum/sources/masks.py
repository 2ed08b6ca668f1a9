"""Masks beside films: files that are no films, told by their folder or by the name of the film that they belong to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

MASK_FOLDERS = {
    "segmentation", "segmentations", "segs", "seg", "labels", "annotations", "annotation", "groundtruth",
    "ground_truth", "ground truth", "ground-truth", "gt", "contours",
}  # fmt: skip
"""Folders that hold masks, beside those that have the word mask in their name."""
MASK = "mask"
_MASK_FILE = re.compile(
    r"(?:mask|seg)[_\- ](?P<after>.+)|(?P<film>.+?)[_\- .]?(?:lung|lungs|infection)?[_\- ]"
    r"(?:mask|masks|seg|segmentation)(?:[_\- ]?\d+)?",
    re.IGNORECASE,
)


def without_masks(files: Sequence[str]) -> list[str]:
    """Return the files that are neither in a folder of masks nor called the mask of another."""
    stems = {_stem(file).casefold() for file in files}
    films = []
    for file in files:
        if in_masks(file):
            continue
        match = _MASK_FILE.fullmatch(_stem(file))
        if match and (match["film"] or match["after"]).casefold() in stems:
            continue
        films.append(file)
    return films


def in_masks(path: str) -> bool:
    """Whether a path leads through a folder of masks."""
    return any(map(_holds_masks, path.split("/")[:-1]))


def _stem(file: str) -> str:
    return Path(file).stem


def _holds_masks(folder: str) -> bool:
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+", folder)  # lungMasks, lung_masks, LUNG MASKS
    return folder.casefold() in MASK_FOLDERS or any(
        word.casefold() in ("mask", "masks") for word in words
    )
