"""SwAV's codes and loss against lightly's, naive loops, and what they promise."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from lightly.loss import SwaVLoss
from lightly.loss.swav_loss import sinkhorn as lightly_sinkhorn

from hilum.losses.swav import sinkhorn, swapped_prediction


def cosines(*shape: int, seed: int = 0) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    vectors = F.normalize(torch.randn(*shape[:-1], 8, generator=rng), dim=-1)
    return vectors @ F.normalize(torch.randn(shape[-1], 8, generator=rng), dim=-1).T


def naive_sinkhorn(scores: torch.Tensor, epsilon: float, iterations: int) -> list[list[float]]:
    """Balance exp(scores / epsilon) in float64, one cell at a time."""
    cells = [[math.exp(float(score) / epsilon) for score in row] for row in scores]
    films, prototypes = range(len(cells)), range(len(cells[0]))
    for _ in range(iterations):
        used = [sum(cells[b][k] for b in films) for k in prototypes]
        cells = [[cells[b][k] / used[k] for k in prototypes] for b in films]
        cells = [[cell / sum(row) for cell in row] for row in cells]
    return cells


def naive_loss(scores: torch.Tensor, codes: torch.Tensor, temperature: float) -> float:
    """Average the cross-entropy over films, coded crops and other crops, one at a time, in float64."""
    terms = []
    for coded in range(len(codes)):
        for crop in range(len(scores)):
            if crop != coded:
                for row, code in zip(
                    scores[crop].double() / temperature, codes[coded].double(), strict=True
                ):
                    whole = math.log(sum(math.exp(score) for score in row))
                    terms.append(
                        sum(
                            float(c) * (whole - float(score))
                            for c, score in zip(code, row, strict=True)
                        )
                    )
    return sum(terms) / len(terms)


@pytest.mark.parametrize("iterations", [1, 3, 10])
@pytest.mark.parametrize("epsilon", [0.03, 0.05, 0.5])
def test_codes_equal_lightlys_and_naive_loops(epsilon: float, iterations: int) -> None:
    scores = cosines(24, 6)
    codes = sinkhorn(scores, epsilon, iterations)
    torch.testing.assert_close(
        codes, lightly_sinkhorn(scores, iterations, epsilon), atol=1e-5, rtol=0
    )
    torch.testing.assert_close(
        codes, torch.tensor(naive_sinkhorn(scores, epsilon, iterations)), atol=1e-5, rtol=0
    )


def test_rows_sum_to_one_and_columns_become_alike() -> None:
    scores = cosines(30, 6, seed=3)
    few, many = sinkhorn(scores, 0.05, 1), sinkhorn(scores, 0.05, 500)
    for codes in (few, many):
        torch.testing.assert_close(codes.sum(dim=1), torch.ones(30))
    torch.testing.assert_close(many.sum(dim=0), torch.full((6,), 5.0), atol=1e-3, rtol=0)
    assert (few.sum(dim=0) - 5).abs().max() > 0.1


def test_embeddings_that_are_all_alike_get_codes_that_say_nothing() -> None:
    codes = sinkhorn(cosines(1, 6).expand(12, 6), 0.05, 3)
    torch.testing.assert_close(codes, torch.full((12, 6), 1 / 6))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("scale", [1.0, 1e3, 6e4])
def test_huge_scores_neither_overflow_nor_lose_a_row(dtype: torch.dtype, scale: float) -> None:
    scores = (cosines(16, 5, seed=1) * scale).to(dtype).requires_grad_()
    codes = sinkhorn(scores, 0.05, 3)
    assert codes.dtype == torch.float32
    assert not codes.requires_grad
    assert codes.isfinite().all()
    torch.testing.assert_close(codes.sum(dim=1), torch.ones(16))
    loss = swapped_prediction(scores.expand(3, 16, 5), codes.expand(2, 16, 5), 0.1)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    assert scores.grad is not None
    assert scores.grad.isfinite().all()


def test_autocast_changes_nothing() -> None:
    scores = torch.stack([cosines(16, 5, seed=seed) for seed in range(3)])
    codes = torch.stack([sinkhorn(crop, 0.05, 3) for crop in scores[:2]])
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(sinkhorn(scores[0], 0.05, 3), codes[0])
        within = swapped_prediction(scores, codes, 0.1)
    assert torch.equal(within, swapped_prediction(scores, codes, 0.1))


def test_absent_rows_count_for_nothing() -> None:
    scores = cosines(20, 5, seed=2)
    present = torch.arange(20) % 3 > 0
    codes = sinkhorn(scores, 0.05, 3, present)
    torch.testing.assert_close(codes[present], sinkhorn(scores[present], 0.05, 3))
    assert not codes[~present].any()
    assert torch.equal(
        sinkhorn(scores, 0.05, 3, torch.ones(20, dtype=torch.bool)), sinkhorn(scores, 0.05, 3)
    )


@pytest.mark.parametrize("local_crops", [0, 6])
@pytest.mark.parametrize("queued", [0, 32])
def test_the_loss_equals_lightlys_forward_and_gradient(local_crops: int, queued: int) -> None:
    start = torch.stack([cosines(16, 7, seed=seed) for seed in range(2 + local_crops)])
    queue = [cosines(queued, 7, seed=90 + crop) for crop in range(2)]
    ours, theirs = start.clone().requires_grad_(), start.clone().requires_grad_()
    with_queue = [torch.cat([ours[crop].detach(), queue[crop]]) for crop in range(2)]
    codes = torch.stack([sinkhorn(scores, 0.05, 3)[:16] for scores in with_queue])
    found = swapped_prediction(ours, codes, 0.1)
    expected = SwaVLoss()(list(theirs[:2]), list(theirs[2:]), queue if queued else None)
    found.backward()
    expected.backward()
    torch.testing.assert_close(found, expected.squeeze(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-5, rtol=1e-5)
    assert ours.grad is not None
    assert ours.grad.abs().max() > 1e-3


@pytest.mark.parametrize(("crops", "coded"), [(2, 2), (2, 1), (5, 2), (4, 3)])
def test_the_loss_equals_naive_loops(crops: int, coded: int) -> None:
    scores = torch.stack([cosines(6, 5, seed=seed) for seed in range(crops)])
    codes = torch.stack([sinkhorn(scores[crop], 0.05, 3) for crop in range(coded)])
    found = float(swapped_prediction(scores, codes, 0.2))
    assert found == pytest.approx(naive_loss(scores, codes, 0.2), abs=1e-5)


def test_a_crops_own_code_is_not_its_target() -> None:
    codes = F.one_hot(torch.tensor([[0, 1], [2, 3]]), 4).float()  # crop 0 and crop 1 of two films
    own, swapped = codes, codes.flip(0)
    assert float(swapped_prediction(swapped, codes, 0.01)) == pytest.approx(0, abs=1e-5)
    assert float(swapped_prediction(own, codes, 0.01)) == pytest.approx(100, abs=1e-3)


def test_faults_of_the_caller_are_named() -> None:
    scores, codes = cosines(3, 4, 5), torch.full((2, 4, 5), 0.2)
    for epsilon, iterations in ((0.0, 3), (math.nan, 3), (0.05, 0)):
        with pytest.raises(ValueError, match="epsilon is"):
            sinkhorn(scores[0], epsilon, iterations)
    with pytest.raises(ValueError, match="the temperature is 0"):
        swapped_prediction(scores, codes, 0)
    with pytest.raises(ValueError, match="there are 1 crops and codes of 1"):
        swapped_prediction(scores[:1], codes[:1], 0.1)
    with pytest.raises(ValueError, match="there are 3 crops and codes of 4"):
        swapped_prediction(scores, codes.repeat(2, 1, 1), 0.1)
