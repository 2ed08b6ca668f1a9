"""SwAV's loss: codes that spread a batch over the prototypes, and each crop's prediction of another crop's code."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


@torch.no_grad()
def sinkhorn(
    scores: Tensor, epsilon: float, iterations: int, present: Tensor | None = None
) -> Tensor:
    """Return soft codes: each row a distribution over the prototypes, all prototypes used alike over the rows.

    The scalings are kept as logarithms, and every logarithm of a sum subtracts its maximum first,
    so that no score overflows and no row is lost, whatever the scores and epsilon.

    Args:
        scores: [N, K], how well each embedding fits each prototype; finite, any floating type.
        epsilon: Above 0, in units of the scores; lower gives sharper codes.
        iterations: How often the prototypes, then the rows are balanced, at least 1.
        present: [N] bool; a row where it is False counts for nothing and gets a code of zeros. None
            counts all.

    Returns: float32 [N, K] without gradient; rows sum to 1, columns to about N / K (exactly so
        after many iterations).

    Raises:
        ValueError: Epsilon is not above 0, or there is no iteration.

    Source: section 3.1 of arXiv 2006.09882; Cuturi 2013, arXiv 1306.0895.
    """
    if not epsilon > 0 or iterations < 1:
        raise ValueError(
            f"epsilon is {epsilon} and iterations {iterations}, expected above 0 and at least 1"
        )
    with torch.autocast(scores.device.type, enabled=False):
        fit = scores.float() / epsilon  # [N, K]
        mass = fit.new_zeros(len(fit), 1)  # logarithms
        if present is not None:
            mass = mass.masked_fill(~present[:, None], -torch.inf)
        by_row = mass
        for _ in range(iterations):
            by_prototype = -(fit + by_row).logsumexp(dim=0)  # [K]
            by_row = mass - (fit + by_prototype).logsumexp(dim=1, keepdim=True)  # [N, 1]
        codes = (fit + by_prototype).softmax(dim=1)  # the last balancing of rows, to rounding
        return codes if present is None else codes * present[:, None]


def swapped_prediction(scores: Tensor, codes: Tensor, temperature: float) -> Tensor:
    """Return how badly every crop predicts the codes of the other crops of its film.

    Args:
        scores: [V, B, K], how well each of V crops fits each prototype, with gradient; the first T
            are those coded.
        codes: [T, B, K], distributions over the prototypes; T at most V.
        temperature: Above 0, no unit.

    Returns: Scalar in nats, always computed in float32: the cross-entropy averaged over films and
        over the T (V - 1) pairs of a code and another crop.

    Raises:
        ValueError: The temperature is not above 0, or there is no pair.

    Source: eq. 1, 2 and 6 of arXiv 2006.09882.
    """
    if not temperature > 0:
        raise ValueError(f"the temperature is {temperature}, expected above 0")
    crops, coded = len(scores), len(codes)
    if crops < 2 or not 1 <= coded <= crops:
        raise ValueError(
            f"there are {crops} crops and codes of {coded}, expected 2 or more, and 1 to {crops}"
        )
    with torch.autocast(scores.device.type, enabled=False):
        predicted = F.log_softmax(scores.float() / temperature, dim=2)  # [V, B, K]
        target = codes.sum(dim=0).repeat(crops, 1, 1)  # [V, B, K], the codes of all crops ...
        for own in range(coded):
            target[own] = codes[:own].sum(dim=0) + codes[own + 1 :].sum(
                dim=0
            )  # ... but a crop's own
        return -(target * predicted).sum() / (scores.shape[1] * coded * (crops - 1))
