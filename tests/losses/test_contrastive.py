"""InfoNCE and NT-Xent against naive double loops, and against lightly's losses, with and without a memory bank."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from lightly.loss import DCLLoss, NTXentLoss

from hilum.losses.contrastive import info_nce, nt_xent


def vectors(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def naive(
    query: torch.Tensor, key: torch.Tensor, negatives: torch.Tensor, t: float, allowed: torch.Tensor
) -> float:
    """Sum the definition in float64, one pair at a time."""
    total = 0.0
    for i in range(len(query)):
        q = query[i].double() / query[i].double().norm()
        own = math.exp(float(q @ (key[i].double() / key[i].double().norm())) / t)
        others = 0.0
        for j in range(len(negatives)):
            if allowed[i, j]:
                others += math.exp(
                    float(q @ (negatives[j].double() / negatives[j].double().norm())) / t
                )
        total -= math.log(own / (own + others))
    return total / len(query)


@pytest.mark.parametrize("temperature", [0.07, 0.2, 1.0])
@pytest.mark.parametrize("masked", [False, True])
def test_equals_a_naive_double_loop(temperature: float, masked: bool) -> None:
    query, key, negatives = vectors(6, 5, seed=1), vectors(6, 5, seed=2), vectors(11, 5, seed=3) * 4
    allowed = vectors(6, 11, seed=4) > 0 if masked else torch.ones(6, 11, dtype=torch.bool)
    expected = naive(query, key, negatives, temperature, allowed)
    found = info_nce(query, key, negatives, temperature, allowed if masked else None)
    assert float(found) == pytest.approx(expected, abs=1e-5)


def test_equals_lightly_forward_and_gradient() -> None:
    lightly = NTXentLoss(temperature=0.1, memory_bank_size=(32, 16))
    negatives = lightly.memory_bank.bank.clone()
    ours, theirs = (vectors(8, 16, seed=5).requires_grad_() for _ in range(2))
    key = vectors(8, 16, seed=6)
    own_loss = info_nce(ours, key, negatives, 0.1)
    their_loss = lightly(theirs, key)
    own_loss.backward()
    their_loss.backward()
    torch.testing.assert_close(own_loss, their_loss, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-5, rtol=1e-5)
    assert ours.grad.abs().max() > 1e-3


def test_a_query_without_negatives_costs_nothing_and_has_a_finite_gradient() -> None:
    query = vectors(3, 4).requires_grad_()
    allowed = torch.tensor([[True, True], [False, False], [True, False]])
    loss = info_nce(query, vectors(3, 4, seed=1), vectors(2, 4, seed=2), 0.2, allowed)
    loss.backward()
    assert loss.isfinite()
    assert query.grad.isfinite().all()
    assert not query.grad[1].any()
    assert query.grad[0].any()


def test_is_the_logarithm_of_the_choices_where_nothing_can_be_told() -> None:
    same = torch.ones(4, 8)
    assert float(info_nce(same, same, torch.ones(15, 8), 0.1)) == pytest.approx(
        math.log(16), abs=1e-5
    )


def test_is_computed_in_float32_inside_autocast() -> None:
    query, key, negatives = (
        vectors(8, 16),
        vectors(8, 16, seed=1),
        F.normalize(vectors(64, 16, seed=2)),
    )
    plain = info_nce(query, key, negatives, 0.05)
    with torch.autocast("cpu", torch.bfloat16):
        inside = info_nce(query, key, negatives, 0.05)
    assert inside.dtype == torch.float32
    assert torch.equal(plain, inside)


def test_small_temperatures_do_not_overflow() -> None:
    assert info_nce(vectors(4, 8), vectors(4, 8, seed=1), vectors(9, 8, seed=2), 1e-3).isfinite()


@pytest.mark.parametrize(("negatives", "temperature"), [(0, 0.1), (3, 0.0), (3, -1.0)])
def test_refuses_what_has_no_meaning(negatives: int, temperature: float) -> None:
    with pytest.raises(ValueError, match=r"negative|temperature"):
        info_nce(vectors(2, 4), vectors(2, 4), vectors(negatives, 4), temperature)


def naive_pairs(
    first: torch.Tensor, second: torch.Tensor, t: float, allowed: torch.Tensor
) -> float:
    """Sum NT-Xent's definition in float64, one anchor and one candidate at a time."""
    films, total = len(first), 0.0
    crops = [v.double() / v.double().norm() for v in (*first, *second)]
    for i, anchor in enumerate(crops):
        twin = (i + films) % (2 * films)
        own = math.exp(float(anchor @ crops[twin]) / t)
        others = 0.0
        for j, candidate in enumerate(crops):
            if j not in (i, twin) and allowed[i % films, j % films]:
                others += math.exp(float(anchor @ candidate) / t)
        total -= math.log(own / (own + others))
    return total / len(crops)


@pytest.mark.parametrize("temperature", [0.07, 0.2, 1.0])
@pytest.mark.parametrize("masked", [False, True])
def test_nt_xent_equals_a_naive_double_loop(temperature: float, masked: bool) -> None:
    first, second = vectors(6, 5, seed=1), vectors(6, 5, seed=2) * 3
    patients = torch.tensor([0, 1, 0, 2, 2, 2])
    allowed = patients[:, None] != patients if masked else torch.ones(6, 6, dtype=torch.bool)
    expected = naive_pairs(first, second, temperature, allowed)
    found = nt_xent(first, second, temperature, allowed=allowed if masked else None)
    assert float(found) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_nt_xent_equals_lightly_forward_and_gradient(temperature: float) -> None:
    ours = [vectors(12, 16, seed=seed).requires_grad_() for seed in (7, 8)]
    theirs = [vectors(12, 16, seed=seed).requires_grad_() for seed in (7, 8)]
    own_loss = nt_xent(*ours, temperature)
    their_loss = NTXentLoss(temperature=temperature)(*theirs)
    own_loss.backward()
    their_loss.backward()
    torch.testing.assert_close(own_loss, their_loss, atol=1e-5, rtol=1e-5)
    for own, their in zip(ours, theirs, strict=True):
        torch.testing.assert_close(own.grad, their.grad, atol=1e-5, rtol=1e-5)
        assert own.grad.abs().max() > 1e-3


@pytest.mark.parametrize("masked", [False, True])
def test_the_mean_over_three_processes_is_the_loss_of_the_whole_batch(masked: bool) -> None:
    patients = torch.tensor([0, 1, 0, 2, 3, 3])
    allowed = patients[:, None] != patients if masked else None
    whole = [vectors(6, 8, seed=seed).requires_grad_() for seed in (1, 2)]
    split = [vectors(6, 8, seed=seed).requires_grad_() for seed in (1, 2)]
    expected = nt_xent(*whole, 0.2, allowed=allowed)
    expected.backward()
    losses = []
    for start in (0, 2, 4):
        own = slice(start, start + 2)
        rows = None if allowed is None else allowed[own]
        first, second = split
        losses.append(
            nt_xent(
                first[own], second[own], 0.2, gathered=(first, second), start=start, allowed=rows
            )
        )
    found = torch.stack(losses).mean()
    found.backward()
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)
    for one, parts in zip(whole, split, strict=True):
        torch.testing.assert_close(parts.grad, one.grad, atol=1e-6, rtol=1e-5)


def test_masked_films_cost_a_crop_nothing_and_its_twin_always_counts() -> None:
    first, second = vectors(4, 8), vectors(4, 8, seed=1)
    nobody = torch.zeros(4, 4, dtype=torch.bool)
    first.requires_grad_()
    alone = nt_xent(first, second, 0.2, allowed=nobody)
    alone.backward()
    assert float(alone.detach()) == pytest.approx(0, abs=1e-6)
    assert first.grad.isfinite().all()
    strangers = nt_xent(first, second, 0.2, allowed=~torch.eye(4, dtype=torch.bool))
    torch.testing.assert_close(strangers, nt_xent(first, second, 0.2))


def test_nt_xent_is_the_logarithm_of_the_choices_where_nothing_can_be_told() -> None:
    same = torch.ones(8, 4)
    assert float(nt_xent(same, same, 0.1)) == pytest.approx(math.log(15), abs=1e-5)


def test_nt_xent_is_computed_in_float32_inside_autocast() -> None:
    first, second = vectors(8, 16), vectors(8, 16, seed=1)
    with torch.autocast("cpu", torch.bfloat16):
        inside = nt_xent(first, second, 0.05)
    assert inside.dtype == torch.float32
    assert torch.equal(nt_xent(first, second, 0.05), inside)
    assert nt_xent(first.bfloat16(), second.bfloat16(), 1e-3).dtype == torch.float32
    assert nt_xent(first, second, 1e-3).isfinite()


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan])
def test_nt_xent_refuses_a_temperature_without_meaning(temperature: float) -> None:
    with pytest.raises(ValueError, match="temperature"):
        nt_xent(vectors(2, 4), vectors(2, 4), temperature)


@pytest.mark.parametrize(("films", "gathered", "start"), [(1, 1, 0), (2, 4, 3), (2, 4, -1)])
def test_nt_xent_refuses_rows_that_do_not_fit(films: int, gathered: int, start: int) -> None:
    others = (vectors(gathered, 4), vectors(gathered, 4, seed=1))
    with pytest.raises(ValueError, match=r"no negative|do not lie within"):
        nt_xent(others[0][:films], others[1][:films], 0.2, gathered=others, start=start)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_decoupled_nt_xent_equals_lightly_forward_and_gradient(temperature: float) -> None:
    lightly = DCLLoss(temperature)
    ours, theirs = (
        [vectors(9, 16, seed=seed).requires_grad_() for seed in (11, 12)] for _ in range(2)
    )
    own_loss, their_loss = nt_xent(*ours, temperature, decoupled=True), lightly(*theirs)
    own_loss.backward()
    their_loss.backward()
    torch.testing.assert_close(own_loss, their_loss, atol=1e-5, rtol=1e-5)
    for own, their in zip(ours, theirs, strict=True):
        torch.testing.assert_close(own.grad, their.grad, atol=1e-5, rtol=1e-5)
        assert own.grad.abs().max() > 1e-3


@pytest.mark.parametrize("masked", [False, True])
def test_decoupled_leaves_the_positive_out_of_the_denominator(masked: bool) -> None:
    query, key, negatives = vectors(6, 5, seed=1), vectors(6, 5, seed=2), vectors(11, 5, seed=3)
    allowed = vectors(6, 11, seed=4) > 0 if masked else torch.ones(6, 11, dtype=torch.bool)
    unit = [F.normalize(rows.double(), dim=1) for rows in (query, key, negatives)]
    expected = 0.0
    for i in range(6):
        others = sum(
            math.exp(float(unit[0][i] @ unit[2][j]) / 0.2) for j in range(11) if allowed[i, j]
        )
        expected += (math.log(others) - float(unit[0][i] @ unit[1][i]) / 0.2) / 6
    found = info_nce(query, key, negatives, 0.2, allowed if masked else None, decoupled=True)
    assert float(found) == pytest.approx(expected, abs=1e-5)


def test_decoupled_rows_without_negatives_cost_nothing_and_have_a_finite_gradient() -> None:
    query = vectors(3, 4).requires_grad_()
    allowed = torch.tensor([[True, True], [False, False], [True, False]])
    key, negatives = vectors(3, 4, seed=1), vectors(2, 4, seed=2)
    info_nce(query, key, negatives, 0.2, allowed, decoupled=True).backward()
    assert query.grad.isfinite().all()
    assert not query.grad[1].any()
    assert query.grad[0].any()
    crops = vectors(3, 4).requires_grad_()
    alone = torch.tensor([[True, False, False], [False, True, True], [False, True, True]])
    nt_xent(crops, vectors(3, 4, seed=1), 0.2, allowed=alone, decoupled=True).backward()
    assert crops.grad.isfinite().all()
    assert crops.grad[1].any()


def test_decoupled_chance_is_the_logarithm_of_the_negatives_alone() -> None:
    same = torch.ones(4, 8)
    assert float(nt_xent(same, same, 0.1, decoupled=True)) == pytest.approx(math.log(6), abs=1e-5)
    bank = torch.ones(15, 8)
    assert float(info_nce(same, same, bank, 0.1, decoupled=True)) == pytest.approx(
        math.log(15), abs=1e-5
    )
