"""The losses of cells against their definitions, cell by cell, and against torch's and torchvision's."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import sigmoid_focal_loss

from hilum.losses.classification import (
    binary_cells,
    binary_focal_cells,
    masked_bce,
    softmax_cells,
    softmax_focal_cells,
)


def naive(logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> float:
    total = 0.0
    for logit, target, weight in zip(
        logits.flatten().tolist(),
        targets.flatten().tolist(),
        weights.flatten().tolist(),
        strict=True,
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
    assert float(masked_bce(logits, targets, weights)) == pytest.approx(
        naive(logits, targets, weights), abs=1e-5
    )


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


def random_cells(films: int = 7, findings: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(1)
    return torch.randn(films, findings, generator=rng) * 3, torch.rand(
        films, findings, generator=rng
    ).round()


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("soft", [False, True])
def test_focal_loss_equals_torchvisions(gamma: float, soft: bool) -> None:
    logits, targets = random_cells()
    targets = targets * 0.6 + 0.2 if soft else targets
    theirs = sigmoid_focal_loss(logits, targets, alpha=0.25, gamma=gamma, reduction="none")
    torch.testing.assert_close(
        binary_focal_cells(logits, targets, gamma, 0.25), theirs, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_loss_of_a_saturated_output_has_a_slope(gamma: float) -> None:
    logits = torch.tensor([[200.0, -200.0, 200.0]], requires_grad=True)
    triples = torch.tensor([[[-200.0, 200.0, -200.0]]], requires_grad=True)
    binary_focal_cells(logits, torch.tensor([[1.0, 0.0, 0.0]]), gamma, 0.25).sum().backward()
    softmax_focal_cells(triples, torch.tensor([[1]]), gamma, 0.25).sum().backward()
    assert torch.isfinite(logits.grad).all()
    assert torch.isfinite(triples.grad).all()


def test_class_weights_multiply_each_side_as_torchs_pos_weight() -> None:
    logits, targets = random_cells()
    positive = torch.tensor([1.0, 2.0, 0.5, 7.0, 3.0])
    weighed = torch.stack([torch.ones(5), positive, torch.full((5,), 9.0)], dim=1)
    theirs = F.binary_cross_entropy_with_logits(
        logits, targets, pos_weight=positive, reduction="none"
    )
    torch.testing.assert_close(binary_cells(logits, targets, weighed), theirs)
    absent = torch.stack([positive, torch.ones(5)], dim=1)
    mirrored = F.binary_cross_entropy_with_logits(
        -logits, 1 - targets, pos_weight=positive, reduction="none"
    )
    torch.testing.assert_close(binary_cells(logits, targets, absent), mirrored)


@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_three_classes_equal_a_naive_loop(gamma: float) -> None:
    rng = torch.Generator().manual_seed(2)
    logits, classes = (
        torch.randn(4, 3, 3, generator=rng) * 2,
        torch.randint(0, 3, (4, 3), generator=rng),
    )
    weighed = torch.rand(3, 3, generator=rng) + 0.5
    plain, focal = (
        softmax_cells(logits, classes, weighed),
        softmax_focal_cells(logits, classes, gamma, 0.3, weighed),
    )
    for film in range(4):
        for finding in range(3):
            powers = [math.exp(value) for value in logits[film, finding].tolist()]
            kind = int(classes[film, finding])
            chance = powers[kind] / sum(powers)
            cost = -math.log(chance) * float(weighed[finding, kind])
            assert float(plain[film, finding]) == pytest.approx(cost, rel=1e-5)
            side = 0.3 if kind == 1 else 0.7
            assert float(focal[film, finding]) == pytest.approx(
                side * (1 - chance) ** gamma * cost, rel=1e-4
            )


def test_every_kind_of_cell_stays_in_float32_inside_autocast() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        logits, triples = torch.randn(4, 3).bfloat16(), torch.randn(4, 3, 3).bfloat16()
        weighed = torch.ones(3, 3)
        zero = torch.zeros(4, 3)
        found = [
            binary_cells(logits, zero, weighed),
            binary_focal_cells(logits, zero, 2.0, 0.25, weighed),
            softmax_cells(triples, zero, weighed),
            softmax_focal_cells(triples, zero, 2.0, 0.25, weighed),
        ]
    assert {cells.dtype for cells in found} == {torch.float32}
