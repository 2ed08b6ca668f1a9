"""A folder without a table: every PNG and JPEG is a film, and folders may name classes and splits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from hilum.counts import counted
from hilum.errors import DataError
from hilum.sources import paths, tables
from hilum.sources.folder_labels import Findings, class_labels
from hilum.sources.folder_options import FolderOptions, Notes
from hilum.sources.masks import MASK, without_masks

IMAGE_FOLDERS = {
    "images", "image", "imgs", "img", "films", "film", "radiographs", "xrays", "xray", "x-rays", "x-ray",
    "cxr", "cxrs", "png", "pngs", "jpg", "jpeg", "originals", "original",
}  # fmt: skip
"""Folders that hold the films of a class and are none."""
OTHER_PICTURE = "picture that is not PNG or JPEG"
MANY = 20
"""Classes above which so few films in each are rather patients'."""


def from_folder(
    root: Path, options: FolderOptions
) -> tuple[pd.DataFrame, Findings, dict[str, int], Notes]:
    """Return the films, labels by finding, the files that are no films, by reason, and notes.

    Raises:
        DataError: There is no film, or one outside class folders.
    """
    films, excluded, notes = _films_below(root, options)
    pictures = notes[-1] if OTHER_PICTURE in excluded else ""
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
            f"{root} holds {counted(sum(not names for names in classes), 'film')} outside class folders, first "
            f"{tables.show(films[classes.index([])])}: put each below the folder of its class, and films without a "
            "class into another root, or give their labels by --csv."
        )
    known = [
        [words[name.casefold()] for name in names if name.casefold() in words] for names in above
    ]
    parts = [names[0] or None if names else None for names in known]
    rows["part"] = np.array(parts, object)
    if any(parts):
        notes = (*notes, "folders called train, val or test give the split")
    chosen = _chosen_level(root, films, classes, options.class_level)
    nothing = [*map(tables.fold, options.unstated_values)]
    stated = [[name for name in names if tables.fold(name) not in nothing] for names in chosen]
    try:
        labels, more = class_labels(stated, options, "the class folders")
    except DataError as error:
        unread = f" {pictures}." if pictures else ""
        raise DataError(f"{error}{unread}") from error
    return rows, labels, excluded, (*notes, *more)


def _films_below(root: Path, options: FolderOptions) -> tuple[list[str], dict[str, int], Notes]:
    """Return the films below the root, files left out by reason, and notes; the last is of pictures not read.

    Raises:
        DataError: There is no film.
    """
    files, others = paths.find_films_and_others(root)
    if not files:
        raise DataError(
            f"{root} holds no film: looked for {', '.join(paths.EXTENSIONS)} there and below.{paths.other_files(root)}"
        )
    films = files if options.keep_masks else without_masks(files)
    if not films:
        raise DataError(
            f"{root} holds no film: "
            f"{counted(len(files), 'file seems to be a mask', 'files seem to be masks')}, first "
            f"{tables.show(files[0])}. Give --keep-masks if they are films."
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
    unread, line = paths.pictures_among(others)
    if unread:
        excluded = excluded | {OTHER_PICTURE: unread}
        notes = (*notes, line)
    return films, excluded, notes


def _chosen_level(
    root: Path, films: Sequence[str], folders: Sequence[Sequence[str]], level: int
) -> list[list[str]]:
    """Return each film's class, one of the folders above it: the nearest, unless another is asked for.

    Raises:
        DataError: A film has fewer folders above it, or the nearest may be patients' and not classes'.
    """
    if level:
        short = next((f for f, names in zip(films, folders, strict=True) if len(names) < level), "")
        if short:
            raise DataError(
                f"{root}: {tables.show(short)} has no folder of --class-level {level} above it: give a lower one."
            )
        return [[names[-level]] for names in folders]
    above: dict[str, set[str]] = {}
    for names in folders:
        above.setdefault(names[-1], set()).add(names[-2] if len(names) > 1 else "")
    uppers = set().union(*above.values())
    if len(above) == 1 and len(uppers) > 1:
        raise DataError(
            f"{root}: every film is in a folder called {next(iter(above))!r}, which tells no classes apart: give "
            "--class-level 2 for the folder above it, 1 if all films are of that class, or leave out --class-folders."
        )
    apart = all(len(upper) == 1 for upper in above.values())
    one_above_all = len(uppers) == 1
    if (apart and not one_above_all) or (len(above) > MANY and len(films) < 5 * len(above)):
        film, names = max(zip(films, folders, strict=True), key=lambda pair: len(pair[1]))
        which = " or ".join(repr(name) for name in names[-2:])
        raise DataError(
            f"{root} has {counted(len(above), 'folder')} of films, not all below one folder or with few films each: "
            f"is the class of {tables.show(film)} {which}? Give --class-level 1 for the nearest folder, 2 for the next."
        )
    return [[names[-1]] for names in folders]
