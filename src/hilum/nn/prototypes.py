"""Prototypes: unit vectors that embeddings are compared with, learnt with the network."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Prototypes(nn.Module):
    """K learnt directions; scores are cosines where embeddings have unit length and ``normalise`` follows each step.

    Source: section 3.1 of arXiv 2006.09882.
    """

    def __init__(self, count: int, embedding_size: int) -> None:
        """Begin with random directions.

        Raises:
            ValueError: There is no prototype, or it has no length.
        """
        super().__init__()
        if count < 1 or embedding_size < 1:
            raise ValueError(
                f"there are {count} prototypes of {embedding_size} numbers, expected at least 1 of 1"
            )
        self.weight = nn.Parameter(F.normalize(torch.randn(count, embedding_size), dim=1))  # [K, E]

    def forward(self, embeddings: Tensor, *, frozen: bool = False) -> Tensor:
        """Return the scores [..., K] of embeddings [..., E], in float32 whatever the precision around.

        Args:
            embeddings: Unit length.
            frozen: Whether the prototypes are to stay: they then get no gradient at all, and not
                one of 0, which would make an adaptive optimiser's first moves after the thaw too
                large.
        """
        weight = self.weight.detach() if frozen else self.weight
        with torch.autocast(embeddings.device.type, enabled=False):
            return embeddings.float() @ weight.T

    @torch.no_grad()
    def normalise(self) -> None:
        """Bring every prototype back to unit length; this also undoes weight decay."""
        self.weight.copy_(F.normalize(self.weight, dim=1))


@torch.no_grad()
def effective_count(scores: Tensor) -> float:
    """Return how many prototypes are in use: the perplexity of how often each is an embedding's nearest.

    The nearest counts and not the mean distribution over prototypes, which looks widest where all
    embeddings are one.

    Args:
        scores: [n, K].

    Returns: 1 (one prototype is nearest to all embeddings) to the smaller of n and K (all are used
        alike).
    """
    shares = torch.bincount(scores.argmax(dim=1), minlength=scores.shape[1]) / len(scores)
    return float(torch.special.entr(shares).sum().exp())
