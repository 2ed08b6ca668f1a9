"""BYOL's loss against lightly's negative cosine, a naive loop and its closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from lightly.loss import NegativeCosineSimilarity

from hilum.losses.byol import byol_loss


def vectors(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_equals_two_and_twice_lightlys_negative_cosine_forward_and_gradient() -> None:
    ours = [(vectors(12, 16, seed=seed) * 3).requires_grad_() for seed in (1, 2)]
    theirs = [(vectors(12, 16, seed=seed) * 3).requires_grad_() for seed in (1, 2)]
    own_loss = byol_loss(*ours)
    their_loss = 2 + 2 * NegativeCosineSimilarity()(*theirs)
    own_loss.backward()
    their_loss.backward()
    torch.testing.assert_close(own_loss, their_loss, atol=1e-5, rtol=1e-5)
    for own, their in zip(ours, theirs, strict=True):
        torch.testing.assert_close(own.grad, their.grad, atol=1e-5, rtol=1e-5)
        assert own.grad.abs().max() > 1e-3


def test_is_the_mean_squared_distance_of_the_unit_vectors() -> None:
    prediction, target = vectors(7, 5, seed=3), vectors(7, 5, seed=4)
    total = 0.0
    for one, other in zip(prediction.double(), target.double(), strict=True):
        total += float((one / one.norm() - other / other.norm()).square().sum())
    assert float(byol_loss(prediction, target)) == pytest.approx(total / 7, abs=1e-5)


@pytest.mark.parametrize(
    ("angle", "expected"), [(0.0, 0.0), (60.0, 1.0), (90.0, 2.0), (180.0, 4.0)]
)
def test_depends_on_the_angle_alone(angle: float, expected: float) -> None:
    turned = torch.tensor([[math.cos(math.radians(angle)), math.sin(math.radians(angle))]])
    assert float(byol_loss(7 * turned, torch.tensor([[0.5, 0.0]]))) == pytest.approx(
        expected, abs=1e-6
    )


def test_is_computed_in_float32_inside_autocast() -> None:
    prediction, target = vectors(8, 16), vectors(8, 16, seed=1)
    with torch.autocast("cpu", torch.bfloat16):
        inside = byol_loss(prediction, target)
    assert torch.equal(inside, byol_loss(prediction, target))
    assert byol_loss(prediction.bfloat16(), target.bfloat16()).dtype == torch.float32


def test_a_vector_without_length_breaks_nothing() -> None:
    prediction = torch.zeros(2, 4, requires_grad=True)
    loss = byol_loss(prediction, vectors(2, 4))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(2)
    assert prediction.grad.isfinite().all()
