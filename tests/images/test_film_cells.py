from __future__ import annotations

import numpy as np
import pytest

from hilum.images.film_cells import (
    SIDE,
    at_reading_size,
    border,
    cell_features,
    everything,
    frame,
    over_stored,
    standardised,
    thumbnail_features,
)


def noise(films: int = 4, side: int = 64, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(60, 120, (films, side, side), dtype=np.uint8)


def test_a_frame_shows_its_share_of_each_side_and_a_border_the_upper_corners_too() -> None:
    shown = frame(20, 0.1)
    assert shown[:2].all()
    assert shown[:, -2:].all()
    assert not shown[2:18, 2:18].any()
    more = border(20, 0.1, 0.2)
    assert more[:4, :4].all()
    assert more[:4, -4:].all()
    assert not more[2:18, 4:16].any()
    assert not more[4:18, 2:18].any()


@pytest.mark.parametrize("side", [8, 33, 64])
@pytest.mark.parametrize("fill", [0, 255])
def test_nothing_of_what_is_hidden_reaches_the_numbers(side: int, fill: int) -> None:
    films, visible = noise(side=side), border(side, 0.1, 0.2)
    changed = films.copy()
    changed[:, ~visible] = fill
    np.testing.assert_array_equal(cell_features(films, visible), cell_features(changed, visible))
    assert not np.array_equal(
        cell_features(films, everything(side)), cell_features(changed, everything(side))
    )


def test_brightness_and_contrast_of_a_whole_film_do_not_matter() -> None:
    films = noise()
    seen = cell_features(films, everything(64))
    np.testing.assert_allclose(cell_features(films * 2, everything(64)), seen, atol=1e-4)
    np.testing.assert_allclose(cell_features(films + 50, everything(64)), seen, atol=1e-4)
    assert seen.shape == (4, 16 * 16 + 4 * 8 * 8)


def test_the_mean_of_a_cell_is_that_of_its_pixels() -> None:
    films = noise()
    means = cell_features(films, everything(64))[:, :256]
    expected = (
        standardised(films, everything(64)).reshape(4, 16, 4, 16, 4).mean((2, 4)).reshape(4, -1)
    )
    np.testing.assert_allclose(means, expected, atol=1e-5)


def test_a_small_bright_token_stands_out_and_an_edge_does_not() -> None:
    film = np.full((1, 64, 64), 80, np.uint8)
    film[:, :, 32:] = 120  # an edge from top to bottom
    token = film.copy()
    token[0, 4:7, 4:7] = 200
    without, with_it = (
        cell_features(films, everything(64))[0, 256:].reshape(4, 8, 8) for films in (film, token)
    )
    assert with_it[2, 0, 0] > 3  # brightest small thing of the first cell
    assert without[2].max() < 1e-3
    assert without[3].max() < 1e-3
    assert without[0].max() > 0.5  # against its surroundings an edge does differ


def test_large_films_are_read_at_64_pixels_and_small_ones_as_they_are() -> None:
    assert at_reading_size(noise(2, 96)).shape == (2, SIDE, SIDE)
    small = noise(2, 24)
    assert at_reading_size(small) is small
    parts = [
        *over_stored(
            lambda rows: noise(len(rows), 96), np.arange(600), lambda films: films[:, :1, 0]
        )
    ]
    assert [part.shape for part in parts] == [(512, 1), (88, 1)]


def test_a_thumbnail_is_standardised() -> None:
    seen = thumbnail_features(noise(), 8)
    assert seen.shape == (4, 64)
    np.testing.assert_allclose(seen.mean(axis=1), 0, atol=1e-5)


def test_a_film_of_one_grey_gives_numbers() -> None:
    assert np.isfinite(cell_features(np.zeros((1, 64, 64), np.uint8), frame(64, 0.1))).all()
