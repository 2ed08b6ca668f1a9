"""The ROC curve against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import auc, roc_curve

from hilum.metrics.ranking import auroc
from hilum.metrics.roc import roc_points


def test_the_curve_is_that_of_scikit_learn_with_ties():
    rng = np.random.default_rng(0)
    truth, scores = rng.integers(0, 2, 80), rng.integers(0, 12, 80) / 12
    false, hits, _ = roc_curve(truth, scores, drop_intermediate=False)
    np.testing.assert_allclose(roc_points(truth, scores), np.stack([false, hits], axis=1))


def test_a_thinned_curve_keeps_its_ends_and_its_area():
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 2, 5000)
    scores = truth + rng.normal(size=5000)
    points = roc_points(truth, scores, most=100)
    assert len(points) == 101
    assert (points[0], points[-1]) == ((0.0, 0.0), (1.0, 1.0))
    assert auc(*zip(*points, strict=True)) == pytest.approx(auroc(truth, scores), abs=2e-3)


@pytest.mark.parametrize("truth", [[0, 0], [1, 1]])
def test_a_missing_class_gives_no_curve(truth):
    assert roc_points(truth, [0.1, 0.2]) == []
