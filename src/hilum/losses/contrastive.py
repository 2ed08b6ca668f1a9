"""Contrastive losses: tell the matching embedding from the others."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def info_nce(
    query: Tensor, key: Tensor, negatives: Tensor, temperature: float, allowed: Tensor | None = None
) -> Tensor:
    """Return how badly each query tells its own key from the negatives.

    A query whose negatives are all left out costs nothing: to refuse it would mean waiting for the device.

    Args:
        query: [B, E], any length, with gradient.
        key: [B, E], row i belongs to query i.
        negatives: [K, E], shared by all queries.
        temperature: Above 0, no unit.
        allowed: [B, K] bool, False leaves that negative out for that query; None allows all.

    Returns:
        Scalar in nats, at least 0, always computed in float32.

    Raises:
        ValueError: The temperature is not above 0, or there is no negative.

    Source: eq. 1 of arXiv 1911.05722.
    """
    if temperature <= 0:
        raise ValueError(f"the temperature is {temperature}, expected above 0")
    if len(negatives) == 0:
        raise ValueError("there is no negative to tell the key from")
    with torch.autocast(query.device.type, enabled=False):
        query, key, negatives = (F.normalize(vectors.float(), dim=1) for vectors in (query, key, negatives))
        own = (query * key).sum(dim=1, keepdim=True)  # [B, 1]
        others = query @ negatives.T  # [B, K]
        if allowed is not None:
            others = others.masked_fill(~allowed, -torch.inf)
        logits = torch.cat([own, others], dim=1) / temperature  # [B, 1 + K]
        return (logits.logsumexp(dim=1) - logits[:, 0]).mean()
