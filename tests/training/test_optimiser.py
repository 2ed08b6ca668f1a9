"""AdamW's groups: weight decay stays off norms and biases."""

from __future__ import annotations

import timm
import torch
from torch import nn

from hilum.training.optimiser import adamw, set_lr


def test_norms_and_biases_take_no_weight_decay() -> None:
    network = timm.create_model("test_resnet", in_chans=1, num_classes=3)
    decayed, spared = adamw(network, 1e-3, 0.1).param_groups
    weights = [m.weight for m in network.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    assert {id(p) for p in decayed["params"]} == {id(p) for p in weights}
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.1, 0.0)
    assert {id(p) for group in (decayed, spared) for p in group["params"]} == {id(p) for p in network.parameters()}


def test_without_gradient_decay_moves_weights_alone() -> None:
    network = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    before = {name: value.clone() for name, value in network.named_parameters()}
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    adamw(network, 0.1, 0.5).step()
    for name, value in network.named_parameters():
        factor = 1 - 0.1 * 0.5 if name == "0.weight" else 1.0
        torch.testing.assert_close(value.detach(), before[name] * factor)


def test_frozen_parameters_stay_out_and_an_empty_group_too() -> None:
    network = nn.Linear(3, 3)
    network.weight.requires_grad_(False)
    optimiser = adamw(network, 0.1, 0.5)
    assert [group["params"] for group in optimiser.param_groups] == [[network.bias]]
    set_lr(optimiser, 0.25)
    assert optimiser.param_groups[0]["lr"] == 0.25


def test_the_update_in_one_pass_equals_the_plain_one_channels_last() -> None:
    ends = []
    for fused in (True, False):
        torch.manual_seed(0)
        network = timm.create_model("test_resnet", in_chans=1, num_classes=3).to(memory_format=torch.channels_last)
        optimiser = adamw(network, 1e-3, 0.1, fused=fused)
        network(torch.randn(4, 1, 32, 32)).square().mean().backward()
        for _ in range(3):
            optimiser.step()
        ends.append([parameter.detach() for parameter in network.parameters()])
    torch.testing.assert_close(*ends, rtol=1e-5, atol=1e-7)
