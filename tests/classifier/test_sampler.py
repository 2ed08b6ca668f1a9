"""The weighted sampler: weights by hand, chances kept, one list of draws for all processes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hilum.classifier.sampler import MOST, drawn, weighted_draws
from hilum.labels import UNCERTAIN_CLASS

ROWS = np.arange(100, 200)
TARGETS = np.zeros((100, 3), np.float32)
TARGETS[:50, 0] = 1  # half
TARGETS[45:55, 1] = 1  # a tenth
WEIGHTS = np.ones_like(TARGETS)


def test_a_film_weighs_as_its_rarest_finding_says() -> None:
    often = weighted_draws(TARGETS, WEIGHTS).chances
    weights = often / often[99]  # of a film that shows nothing: 1
    np.testing.assert_allclose(weights[:45], 2)
    np.testing.assert_allclose(weights[45:55], 10)
    np.testing.assert_allclose(weights[55:], 1)
    assert often.sum() == pytest.approx(1)


def test_prevalences_before_and_after_are_those_of_all_films_and_of_many_draws() -> None:
    found = weighted_draws(TARGETS, WEIGHTS)
    np.testing.assert_allclose(found.before, [0.5, 0.1, 0])
    order = drawn(ROWS, found.chances, 0)
    seen = np.concatenate([order(epoch) for epoch in range(400)]) - 100
    np.testing.assert_allclose(TARGETS[seen].mean(0), found.after, atol=0.01)
    distinct = np.mean([len(np.unique(order(epoch))) / 100 for epoch in range(400)])
    assert distinct == pytest.approx(found.distinct, abs=0.01)
    assert found.after[1] == pytest.approx(100 / 235)
    np.testing.assert_allclose(found.often, 100 * found.chances)


def test_cells_that_do_not_count_and_uncertain_ones_are_not_present() -> None:
    targets, weights = TARGETS.copy(), WEIGHTS.copy()
    weights[45:50, 1] = 0
    targets[60:80, 2] = UNCERTAIN_CLASS
    targets[80:90, 2] = 0.7
    targets[90:95, 2] = 0.3
    found = weighted_draws(targets, weights)
    np.testing.assert_allclose(found.before, [0.5, 5 / 95, 0.1])
    relative = found.chances / found.chances[99]
    np.testing.assert_allclose(relative[45:50], 2)
    np.testing.assert_allclose(relative[50:55], 19)
    np.testing.assert_allclose(relative[60:80], 1)
    np.testing.assert_allclose(relative[80:90], 10)
    np.testing.assert_allclose(relative[90:95], 1)


def test_one_film_does_not_fill_the_epochs() -> None:
    targets = np.zeros((1000, 1), np.float32)
    targets[0] = 1
    chances = weighted_draws(targets, np.ones_like(targets)).chances
    assert chances[0] / chances[1] == pytest.approx(MOST)


def test_a_finding_without_a_cell_that_counts_has_no_prevalence() -> None:
    found = weighted_draws(TARGETS, WEIGHTS * np.float32([1, 1, 0]))
    assert np.isnan([found.before[2], found.after[2]]).all()
    assert np.isfinite(found.chances).all()


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    chances = weighted_draws(TARGETS, WEIGHTS).chances
    one = drawn(ROWS, chances, 3)
    first = one(0)
    one(1)
    np.testing.assert_array_equal(one(0), first)
    assert first.dtype == ROWS.dtype
    assert len(first) == len(ROWS)
    assert set(first) <= set(ROWS)
    assert not np.array_equal(one(1), first)
    assert not np.array_equal(drawn(ROWS, chances, 4)(0), first)


def test_draws_follow_the_chances_of_torchs_sampler() -> None:
    chances = weighted_draws(TARGETS, WEIGHTS).chances
    ours = np.bincount(
        np.concatenate([drawn(ROWS, chances, 0)(epoch) for epoch in range(500)]) - 100,
        minlength=100,
    )
    sampler = torch.utils.data.WeightedRandomSampler(
        chances.tolist(), 50_000, generator=torch.Generator().manual_seed(0)
    )
    theirs = np.bincount(list(sampler), minlength=100)
    spread = np.sqrt(2 * 50_000 * chances)  # of the difference of two counts
    assert (np.abs(ours - theirs) < 5 * spread).all()
    assert (np.abs(ours - 50_000 * chances) < 5 * spread).all()


def test_a_film_without_a_chance_is_never_drawn() -> None:
    chances = np.float64([0, 0.5, 0, 0.5, 0])
    seen = np.concatenate([drawn(np.arange(5), chances, 0)(epoch) for epoch in range(200)])
    assert set(seen) == {1, 3}
