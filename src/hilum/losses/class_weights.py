"""How much the classes of a finding weigh in its loss, from how often they occur."""

from __future__ import annotations

import torch
from torch import Tensor

MOST = 100.0
"""Largest weight of present cells: one film must not outweigh the batches of an epoch."""


def positive_weights(counts: Tensor, weight: float | None = None, most: float = MOST) -> Tensor:
    """Return class weights that make present cells count more.

    Args:
        counts: [F, C] cells of each finding by class: absent, present, and further ones.
        weight: What a present cell weighs, others 1; None takes absent over present cells, from 1 /
            ``most`` to ``most``, so that both weigh alike in the sum. A finding without either
            keeps 1.
        most: See there.

    Returns:
        [F, C] float32.
    """
    weights = torch.ones_like(counts, dtype=torch.float32)
    absent, present = counts[:, 0], counts[:, 1]
    balanced = (absent / present.clamp(min=1)).clamp(1 / most, most)
    balanced = torch.where((absent > 0) & (present > 0), balanced, torch.ones_like(balanced))
    weights[:, 1] = balanced if weight is None else weight
    return weights


def effective_number_weights(counts: Tensor, beta: float) -> Tensor:
    """Return class weights in inverse proportion to the effective number of cells, (1 - beta^n) / (1 - beta).

    They sum, in each finding, to the number of classes that occur in it; a class that does not
    occur weighs 1.

    Args:
        counts: [F, C] cells of each finding by class.
        beta: From 0, all classes alike, to below 1, where a class weighs as one over its cells.

    Returns:
        [F, C] float32.

    Source: Cui 2019 (arXiv 1901.05555), equations 2 and 5, one finding at a time.
    """
    counts = counts.double()
    occurs = counts > 0
    inverse = torch.where(
        occurs, (1 - beta) / (1 - beta ** counts.clamp(min=1)), torch.zeros_like(counts)
    )
    scale = occurs.sum(1, keepdim=True) / inverse.sum(1, keepdim=True).clamp(min=1e-300)
    return torch.where(occurs, inverse * scale, torch.ones_like(counts)).float()
