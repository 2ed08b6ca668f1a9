"""Film files as a model takes them: prepared one by one, and those that cannot be read left out with a line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hilum.bundle.predictor import Predictor
from hilum.errors import DataError
from hilum.images.store import MANIFEST
from hilum.listener import Listener

Numbered = tuple[int, Path, NDArray[np.uint8]]
"""A film's place among those given, from 1, its file, and its prepared pixels [size, size]."""


def readable(
    predictor: Predictor,
    films: Sequence[Path],
    failed: dict[str, str],
    listener: Listener,
    store_remedy: str,
) -> Iterator[Numbered]:
    """Yield the films that can be read; the others go to ``failed`` with the reason.

    ``store_remedy`` says what to do about a store among them.

    Raises:
        DataError: At the end, if not one could be read.
    """
    for number, film in enumerate(films, start=1):
        try:
            _refuse_folder(film, store_remedy)
            prepared = predictor.prepare(film)
        except DataError as error:
            failed[str(film)] = str(error)
            listener.note(f"{film} is left out: {error}")
            continue
        yield number, film, prepared
    if len(failed) == len({str(film) for film in films}):
        raise _none_readable(films, failed)


def _refuse_folder(film: Path, store_remedy: str) -> None:
    if (film / MANIFEST).is_file():
        raise DataError(f"it is a store: {store_remedy}")
    if film.is_dir():
        raise DataError("it is a folder: give image files")


def _none_readable(films: Sequence[Path], failed: dict[str, str]) -> DataError:
    if not films:
        return DataError("no film was given: name at least one image file")
    reason = failed[str(films[0])]
    if len(films) == 1:
        return DataError(f"{films[0]} could not be read: {reason}")
    return DataError(f"none of the {len(films)} films could be read; the first: {reason}")
