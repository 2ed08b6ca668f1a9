"""The masked cross-entropy against its definition, cell by cell."""

from __future__ import annotations

import math

import pytest
import torch

from hilum.losses.classification import masked_bce


def naive(logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> float:
    total = 0.0
    for logit, target, weight in zip(
        logits.flatten().tolist(), targets.flatten().tolist(), weights.flatten().tolist(), strict=True
    ):
        chance = 1 / (1 + math.exp(-logit))
        total -= weight * (target * math.log(chance) + (1 - target) * math.log(1 - chance))
    return total / float(weights.sum())


@pytest.mark.parametrize("soft", [False, True])
def test_equals_a_naive_loop(soft: bool) -> None:
    rng = torch.Generator().manual_seed(0)
    logits, targets = torch.randn(7, 5, generator=rng) * 3, torch.rand(7, 5, generator=rng)
    targets = targets if soft else targets.round()
    weights = (torch.rand(7, 5, generator=rng) > 0.4).float()
    assert float(masked_bce(logits, targets, weights)) == pytest.approx(naive(logits, targets, weights), abs=1e-5)


def test_a_cell_without_weight_has_no_say_and_no_gradient() -> None:
    logits = torch.zeros(2, 3, requires_grad=True)
    weights = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
    one, other = torch.zeros(2, 3), torch.zeros(2, 3)
    other[weights == 0] = 1
    assert torch.equal(masked_bce(logits, one, weights), masked_bce(logits, other, weights))
    masked_bce(logits, one, weights).backward()
    assert torch.equal(logits.grad == 0, weights == 0)


def test_nothing_that_counts_costs_nothing() -> None:
    logits = torch.full((2, 2), 50.0, requires_grad=True)
    loss = masked_bce(logits, torch.zeros(2, 2), torch.zeros(2, 2))
    loss.backward()
    assert float(loss.detach()) == 0
    assert not logits.grad.any()


def test_stays_in_float32_inside_autocast() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        loss = masked_bce(torch.randn(4, 3).bfloat16(), torch.zeros(4, 3), torch.ones(4, 3))
    assert loss.dtype == torch.float32
