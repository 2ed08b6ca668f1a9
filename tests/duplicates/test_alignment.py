from __future__ import annotations

import cv2
import numpy as np
import pytest

from hilum.duplicates.alignment import aligned_correlation


def film(seed: int = 0, size: int = 96) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 1, (size, size)).astype(np.float32)
    broad = cv2.GaussianBlur(noise, (0, 0), 3) * 30
    return np.clip(128 + 40 * (broad / broad.std()), 0, 255).astype(np.uint8)


def moved(image: np.ndarray, factor: float, shift: float) -> np.ndarray:
    matrix = np.array([[factor, 0, shift], [0, factor, shift]], np.float32)
    return cv2.warpAffine(image, matrix, image.shape, borderMode=cv2.BORDER_REFLECT)


@pytest.mark.parametrize(("factor", "shift"), [(1, 0), (1, 1.5), (1.03, -1.5), (0.97, 1.5)])
def test_a_film_that_was_moved_a_little_fits(factor: float, shift: float) -> None:
    assert aligned_correlation(film(), moved(film(), factor, shift)) > 0.95


def test_brightness_and_contrast_change_nothing() -> None:
    assert aligned_correlation(film(), (film() * 0.5 + 60).astype(np.uint8)) > 0.99


def test_it_is_the_same_both_ways_and_at_any_size() -> None:
    one, other = film(), moved(film(), 1.02, -1)
    assert aligned_correlation(one, other) == aligned_correlation(other, one)
    assert aligned_correlation(one, cv2.resize(one, (192, 192))) > 0.95


def test_another_film_and_one_that_was_moved_far_do_not_fit() -> None:
    assert aligned_correlation(film(), film(1)) < 0.6
    assert aligned_correlation(film(), moved(film(), 1, 20)) < 0.6


def test_a_film_of_one_grey_fits_nothing() -> None:
    blank = np.full((96, 96), 90, np.uint8)
    assert aligned_correlation(blank, film()) == aligned_correlation(blank, blank) == 0
