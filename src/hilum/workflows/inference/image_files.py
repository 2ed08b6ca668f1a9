"""Image files and films of a store, prepared one by one; unreadable files are left out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hilum.arrays import Rows
from hilum.bundle.predictor import Predictor
from hilum.counts import counted
from hilum.errors import DataError, OptionError
from hilum.images.film_check import is_inverted
from hilum.images.films import Films
from hilum.images.read import UnreadableFilm
from hilum.images.store import MANIFEST
from hilum.listener import SILENT, Listener
from hilum.options import as_paths
from hilum.sources.archive.tree import dicom_files
from hilum.sources.paths import find_films_and_others, pictures_among
from hilum.workflows.inference.film_names import FilmNames

LIST = "@"
"""A path that begins so names a text file with one path a line."""


class Prepared(NamedTuple):
    """One image as the network's preparation left it."""

    number: int
    """Which of those given, from 1."""
    path: Path
    image: NDArray[np.uint8]
    """[size, size]"""
    flag: str = ""
    """What the film looks like, as `hilum.Predictor.looks_like` says it."""


def image_files(images: object, listener: Listener = SILENT) -> list[Path]:
    """Return files: those of a folder, those that ``@list.txt`` lists, and all others as given.

    A note counts the files of a folder that are no films by their name; DICOM is told by content.

    Args:
        images: A path, or a list of paths: files, folders, stores and ``@`` lists. Paths in a list
            are relative to the working directory. A store, a folder without images and whatever is
            not there stay as they are, for ``prepared_files`` to name.
        listener: Gets the notes.

    Raises:
        TypeError: It is something else.
        DataError: A list cannot be read.
    """
    files: list[Path] = []
    for path in as_paths("films", images):
        listed = [path]
        if str(path).startswith(LIST) and not os.path.exists(path):  # noqa: PTH110 - as below
            file = Path(str(path)[len(LIST) :])
            try:
                text = file.read_text(encoding="utf-8-sig")
            except (OSError, UnicodeDecodeError) as error:
                reason = getattr(error, "strerror", None) or "it is no text file"
                raise DataError(
                    f"{LIST}{file} cannot be read ({reason}): give {LIST} and a text file with one path a line."
                ) from error
            listed = [Path(line.strip()) for line in text.splitlines() if line.strip()]
        for entry in listed:
            names: list[str] = []
            if _is_folder(entry) and not is_store(entry):
                names, others = find_films_and_others(entry)
                dicom = dicom_files(entry)
                if names and others and not dicom:
                    _, pictures = pictures_among(others)
                    listener.note(
                        f"{entry}: {counted(others.total(), 'file is', 'files are')} no PNG or JPEG by their names: "
                        f"passed over{', ' * bool(pictures)}{pictures}"
                    )
                names = list(dict.fromkeys([*names, *dicom]))
            files.extend([entry / name for name in names] or [entry])
    return files


def is_store(path: Path) -> bool:
    """Whether a path is a store."""
    return os.path.isfile(path / MANIFEST)  # noqa: PTH113 - as below


def _is_folder(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112 - False, not an error, for a name of any length


def refuse_keeping(keep_damaged: bool, files: Sequence[Path]) -> None:
    """Refuse to keep damaged films of a store, whose films are decoded already.

    Raises:
        OptionError: It is asked for.
    """
    if keep_damaged and len(files) == 1 and is_store(files[0]):
        raise OptionError(
            f"--keep-damaged is given with the store {files[0]}, whose films are decoded already: leave it out."
        )


def prepared_files(
    predictor: Predictor, named: FilmNames, failed: dict[str, str], listener: Listener
) -> Iterator[Prepared]:
    """Yield the files that can be read, under their names; the others go to ``failed`` with the reason.

    At the end a note counts those that look odd.

    Raises:
        DataError: At the end, if not one could be read.
    """
    files = named.files
    folders = [
        "it is a store: give it alone"
        if is_store(file)
        else "it is a folder without PNG, JPEG or DICOM files"
        if _is_folder(file)
        else ""
        for file in files
    ]
    films = [file for file, reason in zip(files, folders, strict=True) if not reason]
    looks: Counter[str] = Counter()
    with predictor.reading.decoder as decoder:
        decoded = decoder.films(films)
        for number, (file, folder) in enumerate(zip(files, folders, strict=True), start=1):
            film = UnreadableFilm(folder) if folder else next(decoded)
            if isinstance(film, UnreadableFilm):
                failed[named.of(file)] = str(film)
                listener.note(f"{named.as_given(file)} is left out: {film}")
            else:
                looks.update([film.flag] if film.flag else [])
                yield Prepared(number, Path(named.of(file)), film.image, film.flag)
    if looks:
        listener.note(odd_note(looks, len(films), predictor.preparation.fix_polarity))
    if len(failed) < len({named.of(file) for file in files}):
        return
    if not files:
        raise DataError("no film was given: name at least one image file")
    reason = failed[named.of(files[0])]
    if len(files) == 1:
        raise DataError(f"{named.as_given(files[0])} could not be read: {reason}")
    raise DataError(f"none of the {len(files)} films could be read; the first: {reason}")


def odd_note(looks: Mapping[str, int], films: int, fix_polarity: bool) -> str:
    """Return the line about films that look odd.

    Args:
        looks: Films by what they look like.
        films: All of them.
        fix_polarity: Whether those that look inverted were inverted back.

    >>> odd_note({"inverted": 1, "unlike a chest film": 2}, 20, fix_polarity=False)
    '3 of 20 films look odd (1 inverted, 2 unlike a chest film): look at them before you trust their numbers'
    """
    reasons = ", ".join(
        f"{count:,} {look}{' and inverted back' if fix_polarity and is_inverted(look) else ''}"
        for look, count in looks.items()
    )
    odd = sum(looks.values())
    return (
        f"{odd:,} of {counted(films, 'film')} {'looks' if odd == 1 else 'look'} odd ({reasons}): look at "
        f"{'it before you trust its' if odd == 1 else 'them before you trust their'} numbers"
    )


def refuse_failed(failed: Mapping[str, str], films: int, out: Path | None) -> None:
    """Raise where files were left out, once the others are written: a list with holes is no success.

    Raises:
        DataError: It counts them; a note named each before.
    """
    if failed:
        raise DataError(
            f"{len(failed):,} of {films + len(failed):,} films are left out (each has a line above); "
            f"{out or 'the table'} has the others."
        )


def prepared_films(films: Films, rows: Rows) -> Iterator[Prepared]:
    """Yield films of a store, which are prepared already."""
    for number, row in enumerate(rows, start=1):
        yield Prepared(
            number, Path(films.catalog["path"].iloc[row]), films.read(rows[number - 1 : number])[0]
        )
