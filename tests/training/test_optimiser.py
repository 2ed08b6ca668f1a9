"""Optimisers: weight decay stays off norms and biases, and a checkpoint brings each back bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import get_type_hints

import pytest
import timm
import torch
from torch import nn

from hilum.errors import OptionError
from hilum.training.checkpoint import capture, load_newest, restore, save
from hilum.training.lars import Lars
from hilum.training.optimiser import OPTIMISERS, adamw, build_optimiser, set_lr
from hilum.training.options import TrainOptions

every_optimiser = pytest.mark.parametrize("name", OPTIMISERS)


def test_norms_and_biases_take_no_weight_decay() -> None:
    network = timm.create_model("test_resnet", in_chans=1, num_classes=3)
    decayed, spared = adamw(network, 1e-3, 0.1).param_groups
    weights = [m.weight for m in network.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    assert {id(p) for p in decayed["params"]} == {id(p) for p in weights}
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.1, 0.0)
    assert {id(p) for group in (decayed, spared) for p in group["params"]} == {
        id(p) for p in network.parameters()
    }


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
        network = timm.create_model("test_resnet", in_chans=1, num_classes=3).to(
            memory_format=torch.channels_last
        )
        optimiser = adamw(network, 1e-3, 0.1, fused=fused)
        network(torch.randn(4, 1, 32, 32)).square().mean().backward()
        for _ in range(3):
            optimiser.step()
        ends.append([parameter.detach() for parameter in network.parameters()])
    torch.testing.assert_close(*ends, rtol=1e-5, atol=1e-7)


def small(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3)
    )
    return network.to(memory_format=torch.channels_last)


def train(
    network: nn.Sequential, optimiser: torch.optim.Optimizer, steps: range, late: int = 0
) -> None:
    """Take steps; the last layer's weights have a gradient from step ``late`` on."""
    for step in steps:
        films = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(step))
        network(films).square().mean().backward()
        if step < late:
            network[4].weight.grad = None
        set_lr(optimiser, 0.01 / (step + 1))
        optimiser.step()
        optimiser.zero_grad()


def options(name: str, momentum: float = 0.9) -> TrainOptions:
    return TrainOptions(optimiser=name, lr=0.01, weight_decay=0.1, momentum=momentum)  # type: ignore[arg-type]


def test_the_option_names_what_the_table_has() -> None:
    assert get_type_hints(TrainOptions)["optimiser"].__args__ == tuple(OPTIMISERS)
    assert TrainOptions().optimiser == "adamw"


@pytest.mark.parametrize(
    ("name", "kind"), [("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD), ("lars", Lars)]
)
def test_the_name_builds_that_optimiser_with_the_options_values(name: str, kind: type) -> None:
    optimiser = build_optimiser(small(0), options(name, 0.7))
    assert type(optimiser) is kind
    decayed, spared = optimiser.param_groups
    assert {p.ndim for p in decayed["params"]} == {2, 4}
    assert {p.ndim for p in spared["params"]} == {1}
    assert (decayed["weight_decay"], spared["weight_decay"], decayed["lr"]) == (0.1, 0.0, 0.01)
    if name != "adamw":
        assert decayed["momentum"] == 0.7
    if name == "lars":
        assert (decayed["adapt"], spared["adapt"], decayed["trust"]) == (True, False, 0.001)


@every_optimiser
@pytest.mark.parametrize("momentum", [0.9, 0.0])
@pytest.mark.parametrize(
    "stop", [0, 1, 4]
)  # before any step, while one layer has had no gradient, and after
def test_a_resumed_run_equals_the_unbroken_one_bit_for_bit(
    name: str, momentum: float, stop: int, tmp_path: Path
) -> None:
    unbroken = small(0)
    train(unbroken, build_optimiser(unbroken, options(name, momentum)), range(6), late=2)
    first, second = small(0), small(1)
    optimiser = build_optimiser(first, options(name, momentum))
    train(first, optimiser, range(stop), late=2)
    save(tmp_path, capture(first, optimiser, stop, {}))
    found, _ = load_newest(tmp_path)
    assert found is not None
    other = build_optimiser(second, options(name, momentum))
    train(second, other, range(2))  # what it did before is forgotten
    restore(found, second, other)
    train(second, other, range(stop, 6), late=2)
    for (where, one), two in zip(
        unbroken.state_dict().items(), second.state_dict().values(), strict=True
    ):
        assert torch.equal(one, two), where


def test_momentum_that_is_still_none_is_left_out_of_the_checkpoint() -> None:
    network = small(0)
    optimiser = build_optimiser(network, options("sgd"))
    optimiser.state[network[4].weight]["momentum_buffer"] = None
    assert not [
        key for key in capture(network, optimiser, 0, {}).tensors if key.startswith("optimiser/")
    ]


@every_optimiser
def test_the_loss_falls(name: str) -> None:
    network, films = small(0), torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    optimiser = build_optimiser(network, options(name))
    set_lr(optimiser, {"adamw": 0.01, "sgd": 0.05, "lars": 2.0}[name])
    losses = []
    for _ in range(30):
        loss = (network(films) - films.mean(dim=(1, 2, 3))[:, None]).square().mean()
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("value", [-0.1, 1.0, float("nan")])
def test_momentum_outside_its_range_is_refused(value: float) -> None:
    with pytest.raises(OptionError, match=r"--train.momentum is .*: allowed is 0 to below 1"):
        TrainOptions(momentum=value)
