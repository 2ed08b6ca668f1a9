"""The moving average against its closed form, and the course of its decay."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from hilum.nn.ema import WeightAverage, average_into, cosine_rise, ema_update, frozen_copy


def test_closed_form_of_many_updates() -> None:
    fast = nn.Linear(3, 2)
    slow = frozen_copy(fast)
    start = slow.weight.clone()
    with torch.no_grad():
        fast.weight.add_(1.0)
    for _ in range(10):
        ema_update(slow, fast, 0.9)
    expected = fast.weight + 0.9**10 * (start - fast.weight)
    torch.testing.assert_close(slow.weight, expected.detach())


@pytest.mark.parametrize("decay", [0.0, 1.0])
def test_the_ends(decay: float) -> None:
    fast, slow = nn.Linear(2, 2), frozen_copy(nn.Linear(2, 2))
    before = slow.weight.clone()
    ema_update(slow, fast, decay)
    torch.testing.assert_close(slow.weight, before if decay else fast.weight.detach())


def test_a_frozen_copy_shares_nothing_and_takes_no_gradient() -> None:
    fast = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    slow = frozen_copy(fast)
    assert not any(parameter.requires_grad for parameter in slow.parameters())
    assert all(parameter.requires_grad for parameter in fast.parameters())
    with torch.no_grad():
        fast[0].weight.zero_()
    assert slow[0].weight.any()


def test_statistics_are_left_alone() -> None:
    fast = nn.BatchNorm1d(2)
    slow = frozen_copy(fast)
    fast(torch.randn(8, 2) + 5)
    ema_update(slow, fast, 0.5)
    assert not slow.running_mean.any()


@pytest.mark.parametrize("decay", [-0.1, 1.1, math.nan])
def test_refuses_decays_outside_0_to_1(decay: float) -> None:
    with pytest.raises(ValueError, match="expected 0 to 1"):
        ema_update(nn.Linear(1, 1), nn.Linear(1, 1), decay)


def test_the_decay_rises_along_a_cosine() -> None:
    values = [cosine_rise(0.9, progress / 20) for progress in range(21)]
    assert values == sorted(values)
    assert (values[0], values[-1]) == (pytest.approx(0.9), 1.0)
    assert values[10] == pytest.approx(0.95)


def test_everything_moves_statistics_included_and_counters_are_copied() -> None:
    fast, slow = nn.BatchNorm1d(3), frozen_copy(nn.BatchNorm1d(3))
    fast(torch.randn(8, 3, generator=torch.Generator().manual_seed(0)) + 5)
    before = {name: value.clone() for name, value in slow.state_dict().items()}
    average_into(slow, fast, 0.25)
    for name, value in slow.state_dict().items():
        theirs = fast.state_dict()[name]
        moved = torch.lerp(before[name], theirs, 0.25) if value.is_floating_point() else theirs
        torch.testing.assert_close(value, moved)
    assert slow.running_mean.min() > 0.1


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_outside_its_range_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="the share is"):
        average_into(nn.Linear(1, 1), nn.Linear(1, 1), share)


def test_the_average_of_a_short_training_forgets_its_start_and_its_steps_are_saved() -> None:
    fast = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        fast.weight.zero_()
    slow = WeightAverage(fast, 0.99)
    with torch.no_grad():
        fast.weight.fill_(1.0)
    for _ in range(60):
        slow.update(fast)
    assert float(slow.network.weight) > 0.999  # a constant decay would leave 0.55 of the start
    other = WeightAverage(fast, 0.99)
    other.load_state_dict(slow.state_dict())
    assert other.steps == 60
    for _ in range(2000):
        slow.update(fast)
    with torch.no_grad():
        fast.weight.fill_(2.0)
    slow.update(fast)
    assert float(slow.network.weight) == pytest.approx(1.01, abs=1e-5)
