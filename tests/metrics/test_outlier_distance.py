from __future__ import annotations

import numpy as np
import pytest

from hilum.metrics.outlier_distance import Bulk


def points(count: int = 500, seed: int = 0) -> np.ndarray:
    """A bulk that spreads in two of ten directions."""
    rng = np.random.default_rng(seed)
    found = rng.normal(scale=0.1, size=(count, 10))
    found[:, :2] += rng.normal(scale=3, size=(count, 2))
    return found.astype(np.float32)


def test_points_off_and_along_the_bulk_are_far_and_its_own_are_near() -> None:
    bulk = Bulk.of(points(), 2)
    off, along = np.zeros((2, 1, 10), np.float32)
    off[0, 5], along[0, 0] = 2, 30
    own = bulk(points(seed=1))
    assert abs(float(np.median(own))) < 0.3
    assert bulk(off)[0] > own.max()
    assert bulk(along)[0] > own.max()


def test_a_few_strangers_do_not_move_the_bulk() -> None:
    mixed = points()
    mixed[:8, 5] = 40  # enough to be a direction of their own, were they not left out
    bulk = Bulk.of(mixed, 2)
    assert bulk(mixed[:8]).min() > bulk(mixed[8:]).max()
    np.testing.assert_allclose(np.abs(bulk.directions[:, :2]).max(axis=1), 1, atol=0.3)


def test_the_ratio_says_which_of_two_points_is_nearer() -> None:
    bulk = Bulk.of(points(), 2)
    near, far = np.zeros((2, 1, 10), np.float32)
    near[0, 5], far[0, 5] = 0.5, 2
    assert bulk.ratio(far, near)[0] == pytest.approx(np.log(16), abs=0.3)
    assert bulk.ratio(near, far)[0] == pytest.approx(-bulk.ratio(far, near)[0])


def test_points_that_are_all_alike_give_numbers() -> None:
    assert np.isfinite(Bulk.of(np.ones((20, 4), np.float32), 2)(np.zeros((1, 4), np.float32))).all()


def test_too_few_points_are_refused() -> None:
    with pytest.raises(ValueError, match="2 points: more than 2"):
        Bulk.of(points(2), 2)
