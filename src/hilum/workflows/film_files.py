"""Film files as a model takes them: prepared one by one, and those that cannot be read left out with a line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hilum.bundle.predictor import Predictor
from hilum.errors import DataError
from hilum.listener import Listener

Numbered = tuple[int, Path, NDArray[np.uint8]]
"""A film's place among those given, from 1, its file, and its prepared pixels [size, size]."""


def readable(
    predictor: Predictor, films: Sequence[Path], failed: dict[str, str], listener: Listener
) -> Iterator[Numbered]:
    """Yield the films that can be read; the others go to ``failed`` with the reason.

    Raises:
        DataError: At the end, if not one could be read.
    """
    for number, film in enumerate(films, start=1):
        try:
            prepared = predictor.prepare(film)
        except DataError as error:
            failed[str(film)] = str(error)
            listener.note(f"{film} is left out: {error}")
            continue
        yield number, film, prepared
    if len(failed) == len({str(film) for film in films}):
        reason = next(iter(failed.values()), "none was given")
        raise DataError(f"none of the {len(films)} films could be read: {reason}")
