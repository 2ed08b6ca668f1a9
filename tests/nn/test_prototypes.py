"""Prototypes: unit length whatever the optimiser does, no gradient while frozen, and how many are in use."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from hilum.nn.prototypes import Prototypes, effective_count
from hilum.training.optimiser import adamw


def prototypes(count: int = 7, embedding_size: int = 5) -> Prototypes:
    torch.manual_seed(0)
    return Prototypes(count, embedding_size)


def embeddings(*shape: int) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, 5, generator=torch.Generator().manual_seed(1)), dim=-1)


def lengths(of: Prototypes) -> torch.Tensor:
    return of.weight.detach().norm(dim=1)


def test_scores_are_cosines() -> None:
    of, given = prototypes(), embeddings(3, 4)
    expected = F.cosine_similarity(given[:, :, None], of.weight, dim=-1)
    torch.testing.assert_close(of(given), expected)
    torch.testing.assert_close(of(given, frozen=True), expected)


def test_scores_are_float32_under_autocast() -> None:
    of, given = prototypes(), embeddings(4).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        scores = of(given)
    assert torch.equal(scores, given.float() @ of.weight.T)


def test_every_step_ends_at_unit_length_and_weight_decay_turns_nothing() -> None:
    of = prototypes()
    optimiser = adamw(of, 0.1, 0.5)
    torch.testing.assert_close(lengths(of), torch.ones(7))
    of.weight.grad = torch.zeros_like(of.weight)
    before = of.weight.detach().clone()
    optimiser.step()
    torch.testing.assert_close(lengths(of), torch.full((7,), 0.95))  # decay alone
    of.normalise()
    torch.testing.assert_close(of.weight.detach(), before)
    of(embeddings(4)).square().sum().backward()
    optimiser.step()
    of.normalise()
    torch.testing.assert_close(lengths(of), torch.ones(7))
    assert (of.weight - before).abs().max() > 1e-3


def test_frozen_they_have_no_gradient_and_pass_the_embeddings_theirs() -> None:
    of = prototypes()
    learning, frozen = embeddings(4).requires_grad_(), embeddings(4).requires_grad_()
    of(frozen, frozen=True).square().sum().backward()
    assert of.weight.grad is None
    of(learning).square().sum().backward()
    assert of.weight.grad is not None
    assert of.weight.grad.any()
    assert frozen.grad is not None
    assert learning.grad is not None
    assert torch.equal(frozen.grad, learning.grad)


@pytest.mark.parametrize(
    ("nearest", "expected"),
    [([2, 2, 2, 2], 1), ([0, 1, 2, 3], 4), ([0, 0, 3, 3], 2), ([0, 0, 0, 1], 1.7548)],
)
def test_the_effective_count_is_the_perplexity_of_the_nearest(
    nearest: list[int], expected: float
) -> None:
    scores = F.one_hot(torch.tensor(nearest), 6).float() * 0.01
    assert effective_count(scores) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("given", [(0, 5), (3, 0)])
def test_nothing_to_compare_with_is_refused(given: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="expected at least 1"):
        Prototypes(*given)
