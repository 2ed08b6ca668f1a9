from __future__ import annotations

import numpy as np

from hilum.images.appearance import TURNS, contrast, outlines, tones


def wedge(side: int = 32) -> np.ndarray:
    """A film that no turn and no inversion leaves as it is."""
    down, across = np.mgrid[:side, :side]
    film = np.where(across > 2 * down, 200, 3 * down + across)
    return film[None].astype(np.uint8)


def test_tones_are_small_standardised_and_free_of_brightness() -> None:
    seen = tones(wedge())
    assert seen.shape == (1, 16, 16)
    assert abs(float(seen.mean())) < 1e-5
    np.testing.assert_allclose(tones(wedge() // 2 + 20), seen, atol=0.25)


def test_each_turn_undoes_what_it_names() -> None:
    film = wedge()
    done = {
        "turned to the left": np.rot90(film, 1, (1, 2)),
        "turned to the right": np.rot90(film, -1, (1, 2)),
        "upside down": film[:, ::-1, ::-1],
        "inverted": 255 - film,
    }
    assert done.keys() == TURNS.keys()
    for name, changed in done.items():
        assert np.abs(TURNS[name](tones(changed)) - tones(film)).mean() < 0.25, name
        assert np.abs(tones(changed) - tones(film)).mean() > 0.5, name


def test_outlines_tell_directions_apart_and_sum_to_one() -> None:
    upright = np.zeros((1, 32, 32), np.uint8)
    upright[:, :, 16:] = 200
    lying = upright.transpose(0, 2, 1)
    first, second = outlines(np.concatenate([upright, lying]))
    assert first.shape == (4 * 8 * 8,)
    np.testing.assert_allclose([np.square(first).sum(), np.square(second).sum()], 1, atol=1e-3)
    assert float(first @ second) < 0.2


def test_a_film_of_one_grey_has_no_contrast_and_no_outlines() -> None:
    grey = np.full((1, 32, 32), 90, np.uint8)
    assert contrast(grey).tolist() == [0.0]
    assert not outlines(grey).any()
    assert np.isfinite(tones(grey)).all()
