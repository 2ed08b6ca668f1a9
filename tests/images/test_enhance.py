"""Preparation: squares of the right size, the same on any number of threads, round trips as JSON."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from hilum.errors import DataError, OptionError
from hilum.images.enhance import ENHANCEMENTS, FITS, Preparation, padded_size, pixel_hash
from hilum.images.resize import resize

FILM = np.random.default_rng(0).integers(0, 256, (300, 200)).astype(np.uint8)


@pytest.fixture
def threads() -> Iterator[None]:
    before = cv2.getNumThreads()
    yield
    cv2.setNumThreads(before)


@pytest.mark.parametrize("enhance", ENHANCEMENTS)
@pytest.mark.parametrize("fit", FITS)
def test_any_film_becomes_the_square(enhance: str, fit: str) -> None:
    for height, width in itertools.product((1, 3, 64, 500), repeat=2):
        film = Preparation(64, enhance, fit).apply(np.full((height, width), 9, np.uint8))
        assert film.shape == (64, 64)
        assert film.dtype == np.uint8
        assert film.flags.c_contiguous


@pytest.mark.parametrize("enhance", ENHANCEMENTS)
@pytest.mark.usefixtures("threads")
def test_threads_do_not_change_the_film(enhance: str) -> None:
    films = []
    for count in (0, 1, 4):
        cv2.setNumThreads(count)
        films.append(pixel_hash(Preparation(96, enhance).apply(FILM)))
    assert len(set(films)) == 1


def test_shrinking_takes_area_means() -> None:
    means = FILM[:300, :200].reshape(100, 3, 100, 2).mean(axis=(1, 3))
    assert np.abs(resize(FILM, 100, 100) - means).max() <= 0.51


def test_a_side_that_shrinks_is_averaged_though_the_other_grows() -> None:
    stripes = np.zeros((10, 1000), np.uint8)
    stripes[:, ::2] = 200
    assert np.all(resize(stripes, 100, 100) == 100)


def test_the_right_size_is_left_alone() -> None:
    assert np.array_equal(Preparation(200).apply(FILM[:200]), FILM[:200])


def test_padding_keeps_the_aspect_ratio_and_centres_the_film() -> None:
    film = Preparation(60, fit="pad").apply(np.full((300, 100), 77, np.uint8))
    assert padded_size(300, 100, 60) == (60, 20)
    assert np.all(film[:, 20:40] == 77)
    assert np.all(film[:, :20] == 0)
    assert np.all(film[:, 40:] == 0)


def test_margins_take_no_part_in_the_enhancement() -> None:
    squashed = Preparation(60, "paper").apply(FILM[:200])
    padded = Preparation(60, "paper", "pad").apply(np.ascontiguousarray(FILM[:200]))
    assert np.array_equal(squashed, padded)
    tall = Preparation(60, "paper", "pad").apply(FILM)
    levels = np.unique(tall[:, 10:50])
    assert levels.min() == 0
    assert levels.max() == 255


def test_the_papers_recipe_is_denoise_then_equalise() -> None:
    small = cv2.resize(FILM, (64, 64), interpolation=cv2.INTER_AREA)
    expected = cv2.equalizeHist(cv2.fastNlMeansDenoising(small))
    assert np.array_equal(Preparation(64, "paper").apply(FILM), expected)


def test_json_round_trip() -> None:
    preparation = Preparation(224, "clahe", "pad")
    assert Preparation.from_json(preparation.to_json()) == preparation


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"size": "x", "enhance": "none", "fit": "pad"},
        {"size": 64, "enhance": "a", "fit": "pad"},
    ],
)
def test_json_that_is_no_preparation(values: dict[str, object]) -> None:
    with pytest.raises(DataError, match="prepared"):
        Preparation.from_json(values)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ((0,), "--size is 0: allowed are 8 to 4096 pixels."),
        ((4097,), "--size is 4097: allowed are 8 to 4096 pixels."),
        (
            (64, "papre"),
            "unknown enhancement 'papre': allowed are none, paper, clahe. Did you mean 'paper'?",
        ),
        ((64, "none", "pda"), "unknown fit 'pda': allowed are squash, pad. Did you mean 'pad'?"),
    ],
)
def test_options_that_are_not_allowed(options: tuple[object, ...], line: str) -> None:
    with pytest.raises(OptionError) as caught:
        Preparation(*options)  # type: ignore[arg-type]
    assert str(caught.value) == line


@pytest.mark.parametrize(
    "film", [np.zeros((4, 4), np.uint16), np.zeros((4, 4, 3), np.uint8), np.zeros((0, 4), np.uint8)]
)
def test_only_grey_films_are_prepared(film: np.ndarray) -> None:
    with pytest.raises(ValueError, match="grey film"):
        Preparation(64).apply(film)
