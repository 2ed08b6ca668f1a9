"""A reader so simple that what it knows must lie open: one linear layer on a few hundred numbers a film."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from hilum.arrays import BoolArray, FloatArray
from hilum.classifier.probes import LinearProbe
from hilum.metrics.ranking import auroc

PENALTIES = (1e-3, 1e-2, 1e-1)
"""Strengths of the ridge that are tried, a finding each its own."""
HELD_OUT = 4
"""One patient in so many chooses it."""


def linear_baseline_scores(
    features: FloatArray, targets: FloatArray, weights: FloatArray, patients: NDArray[np.int64], asked: FloatArray,
    seed: int,
) -> FloatArray:  # fmt: skip
    """Return what a linear layer says of films that it did not learn from, logits [n, F].

    Args:
        features: [m, D] of the films to learn from.
        targets: [m, F], 0 to 1.
        weights: [m, F], 0 leaves the cell out.
        patients: [m] whom they show.
        asked: [n, D] of the films to score.
        seed: Chooses the patients that choose the penalty.
    """
    if features.shape[1] == 0:
        return np.zeros((len(asked), targets.shape[1]), np.float32)
    inside = _inside(patients, seed)
    tried = [
        _fitted(features, targets, weights, inside, penalty)(_tensor(features[~inside]))
        for penalty in PENALTIES
    ]
    best = _best(
        [logits.numpy() for logits in tried], targets[~inside], weights[~inside] > 0
    )  # [F]
    scores = np.zeros((len(asked), targets.shape[1]), np.float32)
    for place in np.unique(best).tolist():
        chosen = np.flatnonzero(best == place)
        everyone = np.ones(len(features), np.bool_)
        layer = _fitted(
            features, targets[:, chosen], weights[:, chosen], everyone, PENALTIES[place]
        )
        scores[:, chosen] = layer(_tensor(asked)).numpy()
    return scores


def _inside(patients: NDArray[np.int64], seed: int) -> BoolArray:
    """Return which films [m] belong to the patients that the layer is fitted on while penalties are tried."""
    names = np.unique(patients)
    held = np.random.default_rng(seed).permutation(names)[: len(names) // HELD_OUT]
    return ~np.isin(patients, held)


def _fitted(
    features: FloatArray, targets: FloatArray, weights: FloatArray, rows: BoolArray, penalty: float
) -> LinearProbe:
    share = penalty / targets.shape[1]  # the loss is a mean over findings, the ridge a sum
    return LinearProbe(
        _tensor(features[rows]), _tensor(targets[rows]), _tensor(weights[rows]), share
    )


def _best(tried: list[FloatArray], targets: FloatArray, counts: BoolArray) -> NDArray[np.int64]:
    """Return for each finding [F] the place of the penalty with the best AUROC; the middle one where there is none."""
    found = np.zeros(targets.shape[1], np.int64)
    for finding, cells in enumerate(counts.T):
        truth = targets[cells, finding] >= 0.5
        areas = np.array([auroc(truth, logits[cells, finding]) for logits in tried])
        found[finding] = len(tried) // 2 if np.isnan(areas).any() else int(np.argmax(areas))
    return found


def _tensor(values: FloatArray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))
