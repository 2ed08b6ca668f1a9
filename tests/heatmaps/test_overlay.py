import numpy as np
import pytest

from hilum.heatmaps.overlay import heatmap_image, overlay


def film(side=64):
    return np.tile(np.linspace(0, 255, side).round().astype(np.uint8), (side, 1))


@pytest.mark.parametrize(
    ("side", "shown"), [(28, 280), (64, 256), (224, 448), (256, 256), (320, 320)]
)
def test_small_films_are_shown_enlarged(side, shown):
    picture = overlay(film(side), np.zeros((side, side)))
    assert picture.shape == (shown, shown, 3)
    assert picture.dtype == np.uint8
    assert heatmap_image(np.zeros((side, side))).shape == (shown, shown, 3)


def test_without_heat_the_film_is_as_it_is():
    picture = overlay(film(320), np.zeros((320, 320)))
    assert (picture == film(320)[..., None]).all()


def test_heat_is_coloured_and_lets_the_film_through():
    heat = np.zeros((320, 320), dtype=np.float32)
    heat[100:200, 100:200] = 1
    picture = overlay(film(320), heat).astype(int)
    assert (picture[:90] == film(320)[:90, :, None]).all()
    hot = picture[110:190, 110:190]
    assert (hot[..., 0] - hot[..., 2]).min() > 20  # warm: red above blue
    assert (np.diff(hot.sum(axis=2), axis=1) >= 0).all()  # the film's ramp is still there
    assert hot[:, -1].sum() > hot[:, 0].sum()


def test_hotter_is_lighter():
    ramp = np.tile(np.linspace(0, 1, 256), (256, 1))
    light = heatmap_image(ramp)[0].astype(float) @ (0.299, 0.587, 0.114)
    assert light[0] < 5
    assert light[-1] > 220
    assert (np.diff(light[::8]) > 0).all()


def test_heat_of_another_size_is_fitted():
    assert overlay(film(64), np.ones((8, 8))).shape == (256, 256, 3)
    wide = overlay(np.zeros((100, 200), np.uint8), np.zeros((100, 200)))
    assert wide.shape == (300, 600, 3)


@pytest.mark.parametrize(
    "heat",
    [
        np.full((8, 8), 1.1),
        np.full((8, 8), -0.1),
        np.full((8, 8), np.nan),
        np.zeros(8),
        np.zeros((0, 0)),
    ],
)
def test_heat_outside_0_to_1_is_refused(heat):
    with pytest.raises(ValueError, match="heat must be"):
        overlay(film(), heat)


@pytest.mark.parametrize("wrong", [np.zeros((64, 64)), np.zeros((64, 64, 3), np.uint8)])
def test_films_are_grey_uint8(wrong):
    with pytest.raises(ValueError, match="film must be uint8"):
        overlay(wrong, np.zeros((64, 64)))
