"""Probes of frozen features on multi-label data: nearest neighbours and a linear layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from hilum.losses.classification import masked_bce

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)
"""Strengths of the linear probe's ridge penalty that are tried."""
ITERATIONS = 200
FLOOR = 0.3
"""Added to the variances within patients, as a fraction of their mean, so that none is near 0."""
POWER = -0.25
"""Of the covariance within patients: half of what whitens it; chosen with FLOOR by cross-validation
(docs/few-labels.md)."""


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


class FeatureScale:
    """How features are scaled before a linear layer with a ridge penalty is fitted to them.

    Each by its own spread over films. Where patients are given, also by how much directions vary
    among the films of one patient: what does (position, exposure) gets less of the penalty's
    freedom, what differs between patients more. Without two films of any patient it is the spread alone.

    Source: within-class covariance normalisation (Hatch 2006, Interspeech), with patients for classes,
        half of its power, and a floor.
    """

    def __init__(self, features: Tensor, patients: Tensor | None = None) -> None:
        """Take the scale of films.

        Args:
            features: [m, D].
            patients: [m], a number for each patient; None scales by the spread alone.
        """
        # Of a single film the spread is 0, not nan.
        spread = features.std(0, correction=min(1, len(features) - 1))
        self.mean, self.deviation = features.mean(0), spread.clamp(min=1e-6)
        self.turn: Tensor | None = None  # [D, D]
        if patients is not None:
            self.turn = _within_patients(self(features), patients)

    def __call__(self, features: Tensor) -> Tensor:
        """Return features [n, D] in this scale."""
        scaled = (features - self.mean) / self.deviation
        return scaled if self.turn is None else scaled @ self.turn

    def layer(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Return weight [F, D] and bias [F] for features as they are, from weight [D, F] and bias for scaled ones."""
        turned = weight if self.turn is None else self.turn @ weight
        own = (turned / self.deviation[:, None]).T
        return own, bias - own @ self.mean


def _within_patients(features: Tensor, patients: Tensor) -> Tensor | None:
    """Return the matrix [D, D] that scales standardised features by their covariance within patients."""
    _, codes, counts = torch.unique(patients, return_inverse=True, return_counts=True)
    exact = features.double()
    sums = torch.zeros(len(counts), exact.shape[1], dtype=torch.float64).index_add_(0, codes, exact)
    deviations = exact - (sums / counts[:, None])[codes]
    variances, directions = torch.linalg.eigh(deviations.T @ deviations / len(exact))
    floor = FLOOR * variances.clamp(min=0).mean()
    if len(counts) == len(features) or floor <= 0:
        return None
    matrix = directions * (variances.clamp(min=0) + floor).pow(POWER)
    before, after = (
        values.square().sum() for values in (exact, exact @ matrix)
    )  # a penalty means the same
    scaled: Tensor = (matrix * (before / after).sqrt()).to(features.dtype)
    return scaled


def out_of_fold_logits(
    features: Tensor,
    targets: Tensor,
    weights: Tensor,
    folds: Tensor,
    penalties: Sequence[float],
    patients: Tensor | None = None,
) -> list[Tensor]:
    """Return for each penalty the logits [m, F] of all films, each of the linear probe of all other folds.

    Args:
        features: [m, D].
        targets: [m, F], 0 to 1.
        weights: [m, F], 0 leaves the cell out.
        folds: [m], number of the fold; there are at least two.
        penalties: As for ``LinearProbe``.
        patients: [m], as for ``FeatureScale``.
    """
    logits = [torch.empty_like(targets) for _ in penalties]
    for fold in torch.unique(folds):
        out = folds == fold
        known = features[~out]
        scale = FeatureScale(known, None if patients is None else patients[~out])
        for penalty, filled in zip(penalties, logits, strict=True):
            probe = LinearProbe(known, targets[~out], weights[~out], penalty, scale)
            filled[out] = probe(features[out])
    return logits


class LinearProbe:
    """A linear layer on scaled frozen features, one output a finding, fitted by L-BFGS on the whole set."""

    def __init__(
        self,
        features: Tensor,
        targets: Tensor,
        weights: Tensor,
        penalty: float,
        scale: FeatureScale | None = None,
    ) -> None:
        """Fit.

        Args:
            features: [m, D].
            targets: [m, F], 0 to 1.
            weights: [m, F], 0 leaves the cell out.
            penalty: Strength of the ridge on the layer's weights.
            scale: Of the features; None takes their spread over these films.
        """
        self.scale = FeatureScale(features) if scale is None else scale
        inputs = self.scale(features)
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
        return (self.scale(features) @ self.weight + self.bias).detach()

    def layer(self) -> tuple[Tensor, Tensor]:
        """Return the same layer for features as they are, weight [F, D] and bias [F]."""
        return self.scale.layer(self.weight.detach(), self.bias.detach())
