"""VICReg's loss: two crops alike, every dimension in use, no two dimensions saying the same."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

EPSILON = 1e-4
"""Added to a variance before its root is taken, whose slope at 0 is infinite."""


def vicreg_loss(
    first: Tensor,
    second: Tensor,
    *,
    invariance: float = 25.0,
    variance: float = 25.0,
    covariance: float = 1.0,
) -> Tensor:
    """Return the weighted sum of VICReg's three terms.

    Invariance is the mean squared difference of the pairs. Variance is how far the standard
    deviation of each dimension over the batch lies below 1, averaged over dimensions and the two
    crops. Covariance is the sum of the squares of what lies off the diagonal of the covariance
    matrix, divided by E, added over the two crops.

    Args:
        first: [B, E], any length: one crop of each film, of all processes.
        second: [B, E]: row i is the other crop of the film of row i.
        invariance: Weight of the invariance, no unit.
        variance: Weight of the variance.
        covariance: Weight of the covariance.

    Returns:
        Scalar, at least 0, always computed in float32.

    Raises:
        ValueError: The shapes differ, or there are fewer than 2 films: no variance.

    Source: eq. 1 to 6 of arXiv 2105.04906; the two crops' variances are averaged, as in the authors'
        code, where the paper adds them.
    """
    if first.shape != second.shape or first.ndim != 2:
        raise ValueError(
            f"got {tuple(first.shape)} and {tuple(second.shape)}, expected [B, E] twice"
        )
    if len(first) < 2:
        raise ValueError("there is 1 film, expected 2 or more: a variance is needed")
    with torch.autocast(first.device.type, enabled=False):
        first, second = first.float(), second.float()
        alike = F.mse_loss(first, second)
        spreads, overlaps = zip(
            *(_spread_and_overlap(crops) for crops in (first, second)), strict=True
        )
        loss: Tensor = (
            invariance * alike
            + variance * (spreads[0] + spreads[1]) / 2
            + covariance * (overlaps[0] + overlaps[1])
        )
        return loss


def _spread_and_overlap(embeddings: Tensor) -> tuple[Tensor, Tensor]:
    """Return how far the dimensions' deviations lie below 1, and how much dimensions vary together, scalars."""
    centred = embeddings - embeddings.mean(dim=0)
    matrix = centred.T @ centred / (len(centred) - 1)  # [E, E]
    variances = matrix.diagonal()
    spread = F.relu(1 - (variances + EPSILON).sqrt()).mean()
    overlap = (matrix.square().sum() - variances.square().sum()) / len(matrix)
    return spread, overlap
