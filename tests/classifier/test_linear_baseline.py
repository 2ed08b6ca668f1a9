from __future__ import annotations

import numpy as np

from hilum.classifier.linear_baseline import PENALTIES, linear_baseline_scores
from hilum.metrics.ranking import auroc


def drawn(films: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Twenty numbers a film, of which one tells the first finding; the second is noise."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 2, (films, 2)).astype(np.float32)
    features = rng.normal(size=(films, 20)).astype(np.float32)
    features[:, 3] += 3 * targets[:, 0]
    return features, targets


def test_it_learns_what_is_there_and_nothing_else() -> None:
    features, targets = drawn(300, 0)
    asked, truth = drawn(400, 1)
    scores = linear_baseline_scores(
        features, targets, np.ones_like(targets), np.arange(300) // 2, asked, 0
    )
    assert scores.shape == (400, 2)
    assert auroc(truth[:, 0], scores[:, 0]) > 0.95
    assert abs(auroc(truth[:, 1], scores[:, 1]) - 0.5) < 0.1


def test_cells_without_weight_teach_nothing() -> None:
    features, targets = drawn(300, 0)
    asked, _ = drawn(50, 1)
    weights = np.ones_like(targets)
    weights[:150, 0] = 0
    turned = targets.copy()
    turned[:150, 0] = 1 - turned[:150, 0]
    people = np.arange(300)
    np.testing.assert_array_equal(
        linear_baseline_scores(features, targets, weights, people, asked, 0),
        linear_baseline_scores(features, turned, weights, people, asked, 0),
    )


def test_nothing_to_see_scores_all_films_alike() -> None:
    features, targets = np.empty((30, 0), np.float32), np.ones((30, 2), np.float32)
    scores = linear_baseline_scores(
        features, targets, targets, np.arange(30), np.empty((5, 0), np.float32), 0
    )
    assert scores.tolist() == [[0.0, 0.0]] * 5


def test_a_finding_that_the_held_out_patients_lack_is_learnt_all_the_same() -> None:
    features, targets = drawn(40, 0)
    targets[:, 1] = 0
    targets[0, 1] = 1
    scores = linear_baseline_scores(
        features, targets, np.ones_like(targets), np.arange(40), features, 0
    )
    assert np.isfinite(scores).all()
    assert len(PENALTIES) % 2 == 1  # so that there is a middle one
