"""AUROC within folds: pairs of films of one fold, against a double loop."""

from __future__ import annotations

import numpy as np
import pytest

from hilum.metrics.ranking import auroc
from hilum.metrics.within_folds import auroc_within_folds, mean_auroc_within_folds


def by_pairs(truth: np.ndarray, scores: np.ndarray, folds: np.ndarray) -> float:
    wins, pairs = 0.0, 0
    for i in np.flatnonzero(truth == 1):
        for j in np.flatnonzero(truth == 0):
            if folds[i] == folds[j]:
                pairs += 1
                wins += 1.0 if scores[i] > scores[j] else 0.5 * (scores[i] == scores[j])
    return wins / pairs if pairs else float("nan")


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_share_of_the_pairs_of_one_fold(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = (rng.random(60) < 0.3).astype(np.float32)
    scores, folds = rng.integers(0, 12, 60).astype(np.float32), rng.integers(0, 4, 60)
    assert auroc_within_folds(truth, scores, folds) == pytest.approx(by_pairs(truth, scores, folds))
    whole = np.zeros(60, np.int64)
    assert auroc_within_folds(truth, scores, whole) == pytest.approx(auroc(truth, scores))


def test_a_shift_of_one_folds_scores_changes_nothing_unlike_the_pooled_auroc() -> None:
    rng = np.random.default_rng(0)
    truth, folds = np.tile([0.0, 1.0], 20).astype(np.float32), np.repeat([0, 1], 20)
    scores = (truth + 0.5 * rng.random(40)).astype(np.float32)
    shifted = scores + 10 * folds.astype(np.float32)
    assert (
        auroc_within_folds(truth, shifted, folds) == auroc_within_folds(truth, scores, folds) == 1
    )
    assert auroc(truth, shifted) < 0.8


def test_a_finding_whose_folds_lack_a_kind_is_left_out_of_the_mean() -> None:
    truth = np.array([[1, 1], [0, 1], [1, 0], [0, 0]], np.float32)
    folds, scores = np.array([0, 0, 1, 1]), truth + 0.5
    everything = np.ones((4, 2), np.bool_)
    assert mean_auroc_within_folds(truth, everything, scores, folds) == 1.0  # of the first alone
    nothing = np.zeros((4, 2), np.bool_)
    assert mean_auroc_within_folds(truth, nothing, scores, folds) is None
