"""Decoding of files for predict and explain: in order, and a film that kills its decoder fails alone."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest

from hilum.images.enhance import Preparation
from hilum.images.read import MAX_PIXELS, UnreadableFilm, read_grey
from hilum.workflows.inference.decoding import decoded_films

PREPARATION = Preparation(16)


def deadly_reader(path: Path, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read a film; one named so kills the process, as a decoder's fault would."""
    if path.stem == "deadly":
        os.kill(os.getpid(), signal.SIGSEGV)
    return read_grey(path, max_pixels)


@pytest.fixture
def films(tmp_path: Path) -> list[Path]:
    files = [tmp_path / f"{number}.png" for number in range(6)]
    for number, file in enumerate(files):
        cv2.imwrite(str(file), np.full((20, 30), 40 * number, np.uint8))
    return files


def test_films_come_in_the_order_given_as_they_are_read_here(films: list[Path]) -> None:
    given = [*reversed(films), films[0].with_name("none.png"), films[3]]
    images = list(decoded_films(PREPARATION, given))
    assert isinstance(images[6], UnreadableFilm)
    assert images[6].reason == "missing"
    for file, image in zip(given, images, strict=True):
        if not isinstance(image, UnreadableFilm):
            assert np.array_equal(image, PREPARATION.apply(read_grey(file)))
    assert list(decoded_films(PREPARATION, [])) == []


def test_a_film_that_kills_its_decoder_fails_alone(films: list[Path]) -> None:
    deadly = films[2].rename(films[2].with_name("deadly.png"))
    images = list(
        decoded_films(PREPARATION, [films[0], deadly, films[4]], f"{__name__}:deadly_reader")
    )
    assert isinstance(images[1], UnreadableFilm)
    assert str(images[1]) == "decoder died: SIGSEGV"
    assert [int(image[0, 0]) for image in (images[0], images[2])] == [0, 160]  # type: ignore[index]
