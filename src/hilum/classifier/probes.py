"""Probes of frozen features on multi-label data: nearest neighbours and a linear layer."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hilum.losses.classification import masked_bce

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)
"""Strengths of the linear probe's ridge penalty that are tried."""
ITERATIONS = 200


def knn_scores(
    features: Tensor, memory: Tensor, targets: Tensor, weights: Tensor, neighbours: int
) -> Tensor:
    """Return for each film the share of its nearest neighbours that show each finding, near ones counting more.

    Neighbours weigh ``exp(cosine / 0.1)``; cells of no weight are left out, and a film none of
    whose neighbours says anything of a finding gets that finding's mean.

    Args:
        features: [n, D] of the films to score.
        memory: [m, D] of the films with labels.
        targets: [m, F], 0 to 1.
        weights: [m, F], 0 leaves the cell out.
        neighbours: How many; all where there are fewer films.

    Returns:
        [n, F], 0 to 1.

    Source: the weighted kNN of Wu 2018 (arXiv 1805.01978), one finding at a time.
    """
    memory = F.normalize(memory, dim=1)
    prior = (targets * weights).sum(0) / weights.sum(0).clamp(min=1)  # [F]
    scores = []
    for block in torch.split(F.normalize(features, dim=1), 1024):
        cosine, nearest = (block @ memory.T).topk(min(neighbours, len(memory)), dim=1)  # [b, k]
        counts = torch.exp((cosine - 1) / 0.1)[:, :, None] * weights[nearest]  # [b, k, F]
        known = counts.sum(1)
        scores.append(
            torch.where(
                known > 0, (counts * targets[nearest]).sum(1) / known.clamp(min=1e-12), prior
            )
        )
    return torch.cat(scores)


def out_of_fold_logits(
    features: Tensor, targets: Tensor, weights: Tensor, folds: Tensor, penalty: float
) -> Tensor:
    """Return for each film the logits [m, F] of the linear probe of all other folds.

    Args:
        features: [m, D].
        targets: [m, F], 0 to 1.
        weights: [m, F], 0 leaves the cell out.
        folds: [m], number of the fold; there are at least two.
        penalty: As for ``LinearProbe``.
    """
    logits = torch.empty_like(targets)
    for fold in torch.unique(folds):
        out = folds == fold
        logits[out] = LinearProbe(features[~out], targets[~out], weights[~out], penalty)(
            features[out]
        )
    return logits


class LinearProbe:
    """A linear layer on standardised frozen features, one output a finding, fitted by L-BFGS on the whole set."""

    def __init__(self, features: Tensor, targets: Tensor, weights: Tensor, penalty: float) -> None:
        """Fit.

        Args:
            features: [m, D].
            targets: [m, F], 0 to 1.
            weights: [m, F], 0 leaves the cell out.
            penalty: Strength of the ridge on the layer's weights.
        """
        spread = features.std(
            0, correction=min(1, len(features) - 1)
        )  # of a single film: 0, not nan
        self.mean, self.deviation = features.mean(0), spread.clamp(min=1e-6)
        inputs = self._standardised(features)
        self.weight = torch.zeros(features.shape[1], targets.shape[1], requires_grad=True)
        self.bias = torch.zeros(targets.shape[1], requires_grad=True)
        optimiser = torch.optim.LBFGS(
            [self.weight, self.bias], max_iter=ITERATIONS, line_search_fn="strong_wolfe"
        )

        def loss() -> Tensor:
            optimiser.zero_grad()
            value = (
                masked_bce(inputs @ self.weight + self.bias, targets, weights)
                + penalty * self.weight.square().sum()
            )
            value.backward()  # type: ignore[no-untyped-call]
            return value

        optimiser.step(loss)  # type: ignore[no-untyped-call]

    def __call__(self, features: Tensor) -> Tensor:
        """Return the logits [n, F] of features [n, D]."""
        return (self._standardised(features) @ self.weight + self.bias).detach()

    def layer(self) -> tuple[Tensor, Tensor]:
        """Return the same layer for features as they are, weight [F, D] and bias [F]."""
        weight = (self.weight / self.deviation[:, None]).detach().T  # [F, D]
        return weight, self.bias.detach() - weight @ self.mean

    def _standardised(self, features: Tensor) -> Tensor:
        return (features - self.mean) / self.deviation
