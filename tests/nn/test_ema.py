"""The moving average against its closed form, and the course of its decay."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from hilum.nn.ema import cosine_rise, ema_update, frozen_copy


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
