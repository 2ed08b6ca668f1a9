"""VICReg's loss against lightly's, a naive loop and its closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from lightly.loss import VICRegLoss

from hilum.losses.vicreg import EPSILON, vicreg_loss


def vectors(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("weights", [(25.0, 25.0, 1.0), (1.0, 0.5, 3.0)])
def test_equals_lightlys_forward_and_gradient(weights: tuple[float, float, float]) -> None:
    # Deviations on both sides of 1: the variance term is in force for some dimensions only.
    scale = torch.linspace(0.2, 2, 16)
    ours = [(vectors(12, 16, seed=seed) * scale + 3).requires_grad_() for seed in (1, 2)]
    theirs = [(vectors(12, 16, seed=seed) * scale + 3).requires_grad_() for seed in (1, 2)]
    invariance, variance, covariance = weights
    own_loss = vicreg_loss(*ours, invariance=invariance, variance=variance, covariance=covariance)
    their_loss = VICRegLoss(*weights)(*theirs)
    own_loss.backward()
    their_loss.backward()
    torch.testing.assert_close(own_loss, their_loss, atol=1e-5, rtol=1e-5)
    for own, their in zip(ours, theirs, strict=True):
        torch.testing.assert_close(own.grad, their.grad, atol=1e-5, rtol=1e-5)
        assert own.grad.abs().max() > 1e-3


def test_is_what_loops_over_films_and_dimensions_give() -> None:
    first, second = vectors(6, 3, seed=3).double(), vectors(6, 3, seed=4).double()
    expected = 0.0
    for film in range(6):
        expected += 25 * sum(float(d) ** 2 for d in first[film] - second[film]) / (6 * 3)
    for crops in (first, second):
        means = [float(crops[:, i].mean()) for i in range(3)]
        matrix = [
            [
                sum(float(row[i] - means[i]) * float(row[j] - means[j]) for row in crops) / 5
                for j in range(3)
            ]
            for i in range(3)
        ]
        for i in range(3):
            expected += 25 / 2 / 3 * max(0.0, 1 - math.sqrt(matrix[i][i] + EPSILON))
            expected += sum(matrix[i][j] ** 2 for j in range(3) if j != i) / 3
    assert float(vicreg_loss(first, second)) == pytest.approx(expected, rel=1e-5)


def test_one_vector_for_all_films_costs_the_variance_alone() -> None:
    same = torch.full((8, 4), 2.5)
    assert float(vicreg_loss(same, same)) == pytest.approx(25 * (1 - EPSILON**0.5), rel=1e-6)


def test_independent_dimensions_of_unit_deviation_cost_nothing() -> None:
    corners = torch.tensor([[a, b] for a in (-1.0, 1.0) for b in (-1.0, 1.0)])
    assert float(vicreg_loss(corners, corners)) == pytest.approx(0, abs=1e-6)
    doubled = corners[:, :1].repeat(
        1, 2
    )  # two dimensions that say the same: 2 * (4/3)^2 a crop, / 2
    assert float(vicreg_loss(doubled, doubled)) == pytest.approx(2 * (4 / 3) ** 2, rel=1e-5)


def test_where_all_vectors_are_the_same_the_gradient_is_finite() -> None:
    first = torch.zeros(4, 3, requires_grad=True)
    vicreg_loss(first, torch.zeros(4, 3)).backward()
    assert first.grad is not None
    assert first.grad.isfinite().all()


def test_is_computed_in_float32_inside_autocast() -> None:
    first, second = vectors(8, 16), vectors(8, 16, seed=1)
    with torch.autocast("cpu", torch.bfloat16):
        inside = vicreg_loss(first, second)
    assert torch.equal(inside, vicreg_loss(first, second))
    assert vicreg_loss(first.bfloat16(), second.bfloat16()).dtype == torch.float32


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((4, 3), (4, 2)), r"\(4, 3\) and \(4, 2\), expected"),
        (((4, 3), (5, 3)), "expected"),
        (((4,), (4,)), "expected"),
        (((1, 3), (1, 3)), "there is 1 film"),
    ],
)
def test_what_has_no_variance_is_refused(shapes: tuple[tuple[int, ...], ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        vicreg_loss(*(torch.zeros(shape) for shape in shapes))
