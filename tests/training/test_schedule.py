"""Courses of the learning rate against PyTorch's OneCycleLR and the closed form of a cosine."""

from __future__ import annotations

import math

import pytest
import torch

from hilum.training.schedule import ProgressiveSizes, learning_rate


def torch_one_cycle(total: int, warmup: float) -> list[float]:
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, 1.0, total_steps=total, pct_start=warmup
    )
    rates = []
    for _ in range(total):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    return rates


def test_one_cycle_equals_torch() -> None:
    total, warmup = 2000, 0.3
    expected = torch_one_cycle(total, warmup)
    found = [learning_rate(step / total, "onecycle", warmup) for step in range(1, total + 1)]
    rise = int(total * warmup)
    assert found[rise:] == pytest.approx(expected[rise:], abs=1e-9)  # falling, step by step
    assert found[:rise] == pytest.approx(
        expected[:rise], abs=3e-3
    )  # rising, where torch counts one step less
    assert max(found) == 1.0
    assert found[-1] == pytest.approx(4e-6, rel=1e-6)


@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.5])
def test_cosine_has_its_closed_form(warmup: float) -> None:
    for step in range(1, 101):
        progress = step / 100
        falling = 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))
        expected = progress / warmup if progress < warmup else falling
        assert learning_rate(progress, "cosine", warmup) == pytest.approx(expected, abs=1e-12)
    assert learning_rate(1.0, "cosine", warmup) == pytest.approx(0, abs=1e-12)


def test_an_unknown_schedule_is_refused() -> None:
    with pytest.raises(ValueError, match="'cosine' or 'onecycle'"):
        learning_rate(0.5, "linear", 0.1)


@pytest.mark.parametrize(("sizes", "shares"), [((16, 24, 32), None), ((16, 32), (0.7, 0.3))])
@pytest.mark.parametrize("total", [2, 3, 10, 137])
def test_sizes_increase_and_end_at_the_last(
    sizes: tuple[int, ...], shares: tuple[float, ...] | None, total: int
) -> None:
    sizes_of_run = ProgressiveSizes(sizes, shares)
    course = [sizes_of_run.at(step, total) for step in range(1, total + 1)]
    assert course == sorted(course)
    assert course[-1] == sizes[-1]
    if total >= 10:
        for size, share in zip(sizes, shares or [1 / len(sizes)] * len(sizes), strict=True):
            assert course.count(size) == pytest.approx(total * share, abs=1)
