"""A folder without a table: every PNG and JPEG is a film, and folders may name classes and splits."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd

from hilum.counts import counted
from hilum.errors import DataError
from hilum.sources import paths, tables
from hilum.sources.folder_labels import Findings, class_labels
from hilum.sources.folder_options import FolderOptions, Notes

IMAGE_FOLDERS = {
    "images", "image", "imgs", "img", "films", "film", "radiographs", "xrays", "xray", "x-rays", "x-ray",
    "cxr", "cxrs", "png", "pngs", "jpg", "jpeg", "originals", "original",
}  # fmt: skip
"""Folders that hold the films of a class and are none."""
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


def from_folder(
    root: Path, options: FolderOptions
) -> tuple[pd.DataFrame, Findings, dict[str, int], Notes]:
    """Return the films, labels by finding, the files that are no films, by reason, and notes.

    Raises:
        DataError: There is no film, or one outside class folders.
    """
    files = paths.find_films(root)
    if not files:
        raise DataError(
            f"{root} holds no film: looked for {', '.join(paths.EXTENSIONS)} there and below."
        )
    films = files if options.keep_masks else _without_masks(files)
    if not films:
        raise DataError(
            f"{root} holds no film: all {len(files)} files seem to be masks, first {tables.show(files[0])}. "
            "Give --keep-masks if they are films."
        )
    masks = len(files) - len(films)
    excluded = {MASK: masks} if masks else {}
    notes: Notes = ()
    if masks:
        first = next(file for file, film in zip(files, [*films, ""], strict=False) if file != film)
        notes = (
            f"{counted(masks, 'file is a mask', 'files are masks')} and no "
            f"{'film' if masks == 1 else 'films'}, first {first!r}: "
            f"--keep-masks takes {'it' if masks == 1 else 'them'}",
        )
    rows = pd.DataFrame({"path": pd.Series(films, dtype="string")})
    if not options.class_folders:
        unlabelled = (
            "no labels: give --csv for a table, or --class-folders if folders name the classes"
        )
        return rows, {}, excluded, (*notes, unlabelled)
    words = options.parts()
    above = [film.split("/")[:-1] for film in films]
    classes = [
        [name for name in names if name.casefold() not in IMAGE_FOLDERS | words.keys()]
        for names in above
    ]
    if not all(classes):
        raise DataError(
            f"{root} holds films outside class folders, first {tables.show(films[classes.index([])])}."
        )
    known = [
        [words[name.casefold()] for name in names if name.casefold() in words] for names in above
    ]
    parts = [names[0] or None if names else None for names in known]
    rows["part"] = np.array(parts, object)
    if any(parts):
        notes = (*notes, "folders called train, val or test give the split")
    labels, more = class_labels([names[-1:] for names in classes], options, "the class folders")
    return rows, labels, excluded, (*notes, *more)


def _without_masks(files: list[str]) -> list[str]:
    """Return the files that are neither in a folder of masks nor called the mask of another."""
    stems = {_stem(file).casefold() for file in files}
    films = []
    for file in files:
        *folders, _ = file.split("/")
        if any(map(_holds_masks, folders)):
            continue
        match = _MASK_FILE.fullmatch(_stem(file))
        if match and (match["film"] or match["after"]).casefold() in stems:
            continue
        films.append(file)
    return films


def _stem(file: str) -> str:
    return Path(file).stem


def _holds_masks(folder: str) -> bool:
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+", folder)  # lungMasks, lung_masks, LUNG MASKS
    return folder.casefold() in MASK_FOLDERS or any(
        word.casefold() in ("mask", "masks") for word in words
    )
