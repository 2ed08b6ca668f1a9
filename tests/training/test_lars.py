"""LARS against the formula written out, and against timm's."""

from __future__ import annotations

import pytest
import timm.optim
import torch
from torch import nn

from hilum.training.lars import Lars, layer_rates
from hilum.training.optimiser import lars


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 5))


def gradients(of: nn.Module, step: int) -> None:
    generator = torch.Generator().manual_seed(step)
    for parameter in of.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


@pytest.mark.parametrize(("momentum", "weight_decay"), [(0.9, 0.05), (0.0, 0.05), (0.9, 0.0)])
def test_lars_is_the_formula_of_the_paper_written_out(momentum: float, weight_decay: float) -> None:
    of = network()
    optimiser = lars(of, 2.0, weight_decay, momentum)
    weights = {name: value.detach().double() for name, value in of.named_parameters()}
    moments = {name: torch.zeros_like(value) for name, value in weights.items()}
    for step in range(5):
        gradients(of, step)
        for name, parameter in of.named_parameters():
            weight, gradient, rate = weights[name], parameter.grad.double(), 1.0  # type: ignore[union-attr]
            if weight.ndim > 1:
                rate = 0.001 * weight.norm() / (gradient.norm() + weight_decay * weight.norm())
                gradient = gradient + weight_decay * weight
            moments[name] = momentum * moments[name] + rate * gradient
            weights[name] = weight - 2.0 * moments[name]
        optimiser.step()
        for name, parameter in of.named_parameters():
            torch.testing.assert_close(
                parameter.detach().double(), weights[name], rtol=1e-5, atol=1e-6
            )


@pytest.mark.parametrize("weight_decay", [0.0, 0.02])
def test_lars_like_timms(weight_decay: float) -> None:
    ours, theirs = network(), network()
    matrices = [p for p in theirs.parameters() if p.ndim > 1]
    vectors = [p for p in theirs.parameters() if p.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": weight_decay, "always_adapt": True},
        {"params": vectors, "weight_decay": 0.0, "always_adapt": False},
    ]
    one, other = (
        lars(ours, 1.5, weight_decay, 0.9),
        timm.optim.Lars(groups, lr=1.5, momentum=0.9, eps=0.0),
    )
    for step in range(6):
        for of, optimiser in ((ours, one), (theirs, other)):
            gradients(of, step)
            optimiser.step()
    torch.testing.assert_close([*ours.parameters()], [*theirs.parameters()], rtol=1e-5, atol=1e-6)
    assert (ours[0].weight - network()[0].weight).abs().max() > 1e-3


def test_a_layer_of_zeros_moves_and_a_gradient_of_zero_moves_nothing() -> None:
    zeros, ones = torch.zeros(2, 2), torch.ones(2, 2)
    rates = layer_rates([zeros, ones, ones], [ones, zeros, 2 * ones], 0.5, 0.1)
    torch.testing.assert_close(rates, torch.tensor([1.0, 1.0, 0.1 * 2 / (4 + 0.5 * 2)]))


def test_the_step_does_not_depend_on_the_scale_of_the_gradient() -> None:
    ends = []
    for scale in (1.0, 1000.0):
        weight = nn.Parameter(torch.arange(6.0).reshape(2, 3))
        weight.grad = scale * torch.ones(2, 3)
        Lars([weight], lr=1.0).step()
        ends.append(weight.detach())
    torch.testing.assert_close(*ends)


def test_parameters_without_a_gradient_stay_and_come_in_later() -> None:
    of = network()
    optimiser = lars(of, 1.0, 0.1, 0.9)
    for step in range(3):
        gradients(of, step)
        if step < 2:
            of[3].weight.grad = None
        before = of[3].weight.detach().clone()
        optimiser.step()
        assert torch.equal(of[3].weight, before) == (step < 2)


def test_a_closure_is_refused() -> None:
    with pytest.raises(ValueError, match="no closure"):
        lars(network(), 1.0, 0.1, 0.9).step(lambda: 0.0)
