"""Contrastive losses: tell the matching embedding from the others."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def info_nce(
    query: Tensor,
    key: Tensor,
    negatives: Tensor,
    temperature: float,
    allowed: Tensor | None = None,
    *,
    decoupled: bool = False,
) -> Tensor:
    """Return how badly each query tells its own key from the negatives.

    A query whose negatives are all left out costs nothing: to refuse it would mean waiting for the
    device.

    Args:
        query: [B, E], any length, with gradient.
        key: [B, E], row i belongs to query i.
        negatives: [K, E], shared by all queries.
        temperature: Above 0, no unit.
        allowed: [B, K] bool, False leaves that negative out for that query; None allows all.
        decoupled: Leave the positive out of the denominator.

    Returns:
        Scalar in nats, at least 0 (decoupled it may be below), always computed in float32.

    Raises:
        ValueError: The temperature is not above 0, or there is no negative.

    Source: eq. 1 of arXiv 1911.05722; decoupled, eq. 6 of arXiv 2110.06848.
    """
    if temperature <= 0:
        raise ValueError(f"the temperature is {temperature}, expected above 0")
    if len(negatives) == 0:
        raise ValueError("there is no negative to tell the key from")
    with torch.autocast(query.device.type, enabled=False):
        query, key, negatives = (
            F.normalize(vectors.float(), dim=1) for vectors in (query, key, negatives)
        )
        own = (query * key).sum(dim=1, keepdim=True)  # [B, 1]
        others = query @ negatives.T  # [B, K]
        if allowed is not None:
            others = others.masked_fill(~allowed, -torch.inf)
        if decoupled:
            return _decoupled(own[:, 0] / temperature, others / temperature)
        logits = torch.cat([own, others], dim=1) / temperature  # [B, 1 + K]
        return (logits.logsumexp(dim=1) - logits[:, 0]).mean()


def nt_xent(
    first: Tensor,
    second: Tensor,
    temperature: float,
    *,
    gathered: tuple[Tensor, Tensor] | None = None,
    start: int = 0,
    allowed: Tensor | None = None,
    decoupled: bool = False,
) -> Tensor:
    """Return the cross-entropy of finding each crop's positive among all other crops of the batch.

    Averaged over the 2B crops given. The positive is always a candidate, the crop itself
    never. A crop whose negatives are all left out
    costs nothing.

    Args:
        first: [B, E], any length: one crop of each of this process's films.
        second: [B, E]: row i is the positive of row i of ``first``.
        temperature: Above 0, no unit.
        gathered: [N, E] and [N, E], the first and second crops of the films of all processes; the
            films given alone where it is None.
        start: The row of ``gathered`` at which the films given begin.
        allowed: [B, N] bool, False leaves both crops of that film out as negatives for both crops
            of this one; None allows all.
        decoupled: Leave the positive out of the denominator.

    Returns:
        Scalar in nats, at least 0 (decoupled it may be below), always computed in float32.

    Raises:
        ValueError: The temperature is not above 0, there is no negative, or the rows do not fit
            each other.

    Source: eq. 1 of arXiv 2002.05709; decoupled, eq. 6 of arXiv 2110.06848.
    """
    others = (first, second) if gathered is None else gathered
    _check_films(first, others, temperature, start)
    films, candidates = len(first), len(others[0])
    with torch.autocast(first.device.type, enabled=False):
        anchors, pool = (
            F.normalize(torch.cat(pair).float(), dim=1) for pair in ((first, second), others)
        )
        logits = anchors @ pool.T / temperature  # [2B, 2N]
        place = start + torch.arange(films, device=first.device)
        itself = torch.cat([place, place + candidates])[:, None]  # [2B, 1]
        positive = torch.cat([place + candidates, place])  # [2B]
        left_out = (
            torch.zeros_like(logits, dtype=torch.bool) if allowed is None else ~allowed.repeat(2, 2)
        )
        left_out = left_out.scatter(1, itself, True).scatter(1, positive[:, None], decoupled)
        if decoupled:
            own = logits.gather(1, positive[:, None])[:, 0]
            return _decoupled(own, logits.masked_fill(left_out, -torch.inf))
        return F.cross_entropy(logits.masked_fill(left_out, -torch.inf), positive)


def _decoupled(own: Tensor, others: Tensor) -> Tensor:
    """Return the mean of log-sum-exp of the negatives' logits [B, K] minus the positive's [B]; 0 for a row of -inf."""
    some = others.amax(dim=1) > -torch.inf
    # The row's log-sum-exp would be -inf, and its gradient nan even where it is then left out.
    others = others.masked_fill(~some[:, None], 0.0)
    return torch.where(some, others.logsumexp(dim=1) - own, 0.0).mean()


def _check_films(
    films: Tensor, others: tuple[Tensor, Tensor], temperature: float, start: int
) -> None:
    if not temperature > 0:
        raise ValueError(f"the temperature is {temperature}, expected above 0")
    if len(others[0]) < 2:
        raise ValueError("there is no negative to compare the positive with")
    if not 0 <= start <= len(others[0]) - len(films):
        raise ValueError(
            f"{len(films)} films from row {start} do not lie within the {len(others[0])} gathered"
        )
