"""Measures of collapse against closed forms, and an alarm that speaks once, after warm-up, in words that help."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hilum.training.collapse import (
    CollapseDetector,
    Health,
    effective_rank,
    embedding_std,
    mean_cosine,
    measure,
    quiet_steps,
)

HEALTHY = Health(embedding_std=0.8, mean_cosine=0.3, effective_rank=30.0, feature_rank=90.0)
FILMS = 256
COLLAPSED = Health(embedding_std=0.001, mean_cosine=1.0, effective_rank=1.0, feature_rank=1.2)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e6])
def test_equal_vectors_have_no_spread_a_cosine_of_one_and_no_rank(scale: float) -> None:
    equal = (scale * noise(1, 32)).repeat(64, 1)
    assert embedding_std(equal) == pytest.approx(0, abs=1e-7)
    assert mean_cosine(equal) == pytest.approx(1)
    assert effective_rank(equal) == 0.0


def test_equal_vectors_up_to_rounding_have_no_rank() -> None:
    nearly = noise(1, 32).repeat(64, 1) * (1 + 1e-7 * noise(64, 1))
    assert effective_rank(nearly) == 0.0


@pytest.mark.parametrize("count", [2, 16])
def test_orthonormal_vectors(count: int) -> None:
    basis, _ = torch.linalg.qr(noise(count, count))
    assert mean_cosine(basis) == pytest.approx(0, abs=1e-6)
    assert effective_rank(basis) == pytest.approx(
        count - 1, rel=1e-5
    )  # the mean takes one direction away
    assert embedding_std(torch.eye(count)) == pytest.approx(math.sqrt(1 - 1 / count))


def test_vectors_in_all_directions_spread_to_one() -> None:
    everywhere = noise(4000, 16)
    assert embedding_std(everywhere) == pytest.approx(1, abs=0.01)
    assert mean_cosine(everywhere) == pytest.approx(0, abs=0.01)
    assert effective_rank(everywhere) == pytest.approx(16, rel=0.01)


@pytest.mark.parametrize("directions", [1, 3, 7])
def test_the_rank_counts_directions_that_are_used_alike(directions: int) -> None:
    axes, _ = torch.linalg.qr(noise(32, directions))
    both_ways = torch.cat([axes.T, -axes.T])  # [2 * directions, 32], mean 0
    assert effective_rank(5 + 3 * both_ways) == pytest.approx(directions, rel=1e-5)


def test_the_rank_of_two_unequal_directions_is_that_of_the_paper() -> None:
    vectors = torch.tensor([[3.0, 0], [-3, 0], [0, 1], [0, -1]])
    shares = np.array([0.75, 0.25])
    assert effective_rank(vectors) == pytest.approx(float(np.exp(-(shares * np.log(shares)).sum())))


@given(st.integers(2, 12), st.integers(1, 8), st.integers(0, 99))
def test_the_mean_cosine_is_that_of_a_double_loop(count: int, width: int, seed: int) -> None:
    vectors = noise(count, width, seed=seed).double()
    unit = [row / row.norm() for row in vectors]
    pairs = [float(a @ b) for i, a in enumerate(unit) for j, b in enumerate(unit) if i != j]
    assert mean_cosine(vectors) == pytest.approx(np.mean(pairs), abs=1e-9)


def test_what_is_not_finite_is_told_apart_from_what_collapsed() -> None:
    broken = noise(8, 4)
    broken[3, 1] = float("inf")
    assert not measure(broken, noise(8, 4)).finite
    assert not measure(noise(8, 4), broken).finite
    assert measure(noise(8, 4), noise(8, 5)).finite
    assert math.isnan(mean_cosine(noise(1, 4)))


def test_health_is_read_back_from_its_event() -> None:
    event = {"event": "health", "step": 3, "prototypes_used": 5.0, **vars(HEALTHY)}
    assert Health.of(event) == HEALTHY
    assert math.isnan(Health.of({**event, "mean_cosine": None}).mean_cosine)


@pytest.mark.parametrize(
    ("changed", "collapsed"),
    [
        ({}, False),
        ({"mean_cosine": 0.96}, True),
        ({"embedding_std": 0.19}, True),
        ({"effective_rank": 1.3}, True),
        ({"feature_rank": 1.3}, True),
        ({"mean_cosine": 0.96, "effective_rank": 2.1}, True),
        ({"effective_rank": 2.1}, False),
        ({"mean_cosine": 0.92, "embedding_std": 0.28, "effective_rank": 9.0}, False),
    ],
)
def test_any_one_measure_tells_a_collapse(changed: dict[str, float], collapsed: bool) -> None:
    assert Health(**{**vars(HEALTHY), **changed}).collapsed(FILMS) is collapsed


@pytest.mark.parametrize(
    ("cosine", "std", "std_before", "collapsed"),
    [
        (0.97, 0.17, 0.10, False),  # on its way apart
        (0.97, 0.17, 0.16, True),
        (0.97, 0.17, 0.30, True),
        (0.97, 0.17, math.nan, True),
        (0.995, 0.07, 0.02, True),
        (0.96, 0.04, 0.02, True),
    ],
)
def test_films_that_look_alike_are_no_collapse_while_they_part(
    cosine: float, std: float, std_before: float, collapsed: bool
) -> None:
    alike = Health(**{**vars(HEALTHY), "mean_cosine": cosine, "embedding_std": std})
    assert alike.collapsed(FILMS, std_before) is collapsed


def test_few_films_that_cannot_have_a_high_rank_are_not_called_collapsed() -> None:
    few = Health(**{**vars(HEALTHY), "effective_rank": 1.0, "feature_rank": 1.0})
    assert not few.collapsed(2)
    assert few.collapsed(32)


def detector(chance: float | None = 5.0, quiet: int = 20, remedy: str = "") -> CollapseDetector:
    return CollapseDetector(chance, 1e-3, quiet, remedy)


def kinds(of: CollapseDetector, step: int, health: Health) -> list[str]:
    return [warning.kind for warning in of.check(step, health, FILMS)]


def test_a_collapse_is_said_once_and_again_after_a_recovery() -> None:
    of = detector()
    said = [
        kinds(of, step, health)
        for step, health in enumerate([HEALTHY, COLLAPSED, COLLAPSED], start=30)
    ]
    assert said == [[], ["collapse"], []]
    assert "collapse" in of.active
    assert [kinds(of, step, health) for step, health in ((33, HEALTHY), (34, COLLAPSED))] == [
        [],
        ["collapse"],
    ]


def test_nothing_is_said_before_warm_up_is_over() -> None:
    of = detector(quiet=quiet_steps(0.1, 1000))
    of.add_loss(100, 5.0)
    assert kinds(of, 100, COLLAPSED) == []
    assert kinds(of, 101, COLLAPSED) == ["collapse"]
    assert (
        quiet_steps(0.0, 1000) == quiet_steps(0.1, 30) == 20
    )  # networks that have hardly begun look collapsed


@pytest.mark.parametrize(
    ("used", "said"), [(1.0, ["collapse"]), (2.0, []), (None, []), (math.nan, [])]
)
def test_all_films_at_one_prototype_are_a_collapse_however_they_spread(
    used: float | None, said: list[str]
) -> None:
    warns = detector().check(40, HEALTHY, FILMS, {"prototypes_used": used})
    assert [warning.kind for warning in warns] == said
    assert all("one prototype (1.0 in use)" in warn.line for warn in warns)


@pytest.mark.parametrize(
    ("deviation", "kinds_found"), [(0.02, ["collapse"]), (0.9, []), (None, []), (math.nan, [])]
)
def test_embeddings_that_shrink_to_a_point_are_a_collapse_however_their_directions_differ(
    deviation: float | None, kinds_found: list[str]
) -> None:
    warns = detector().check(40, HEALTHY, FILMS, {"deviation": deviation})
    assert [warning.kind for warning in warns] == kinds_found
    assert all("deviate by 0.020" in warn.line for warn in warns)


def test_embeddings_that_still_spread_from_a_point_are_no_collapse() -> None:
    of = detector(quiet=10)
    deviations = {8: 0.01, 16: 0.03, 24: 0.09, 32: 0.09, 40: 0.2}
    told = {s: of.check(s, HEALTHY, FILMS, {"deviation": d}) for s, d in deviations.items()}
    assert [step for step, warns in told.items() if warns] == [32]


def test_a_network_that_parts_films_is_compared_with_the_look_before_even_if_that_was_not_judged() -> (
    None
):
    looks = [
        Health(**{**vars(HEALTHY), "mean_cosine": 1 - std**2, "embedding_std": std})
        for std in (0.1, 0.15, 0.2, 0.21)
    ]
    of = detector(quiet=20)
    assert [kinds(of, step, look) for step, look in zip((10, 30, 40, 50), looks, strict=True)] == [
        [],
        [],
        [],
        ["collapse"],
    ]


def test_a_line_says_what_was_seen_and_what_to_do() -> None:
    (warn,) = detector(remedy="--method.epsilon 0.03").check(40, COLLAPSED, FILMS)
    for words in (
        "step 40",
        "mean cosine 1.000",
        "spread 0.001",
        "rank 1.0",
        "--train.lr, such as 0.0001",
        "--out",
    ):
        assert words in warn.line
    assert "--train.warmup" in warn.line
    assert warn.line.endswith("or --method.epsilon 0.03.")
    assert "\n" not in warn.line


@pytest.mark.parametrize(("loss", "said"), [(4.99, ["chance"]), (4.9, []), (7.0, ["chance"])])
def test_a_loss_at_chance_or_above_is_said(loss: float, said: list[str]) -> None:
    of = detector()
    of.add_loss(50, 1.0)  # before the look, and no part of the next mean
    of.check(50, HEALTHY, FILMS)
    of.add_loss(80, loss)
    assert kinds(of, 80, HEALTHY) == said


def test_the_mean_loss_weighs_steps_and_leaves_those_of_warm_up_out() -> None:
    of = detector(quiet=20)
    of.add_loss(20, 0.1)
    of.add_loss(40, 5.0)
    of.add_loss(50, 4.7)
    assert kinds(of, 50, HEALTHY) == []  # (20 * 5 + 10 * 4.7) / 30 = 4.9
    of.add_loss(79, 5.0)
    of.add_loss(80, 4.8)
    assert kinds(of, 80, HEALTHY) == ["chance"]  # 4.993


def test_a_loss_is_judged_over_enough_steps_and_what_was_said_stands_until_then() -> None:
    of = detector(quiet=20)
    said = []
    for step in range(25, 95, 5):
        of.add_loss(step, 5.0 if step <= 50 else 4.0)
        said.append((step, kinds(of, step, HEALTHY), "chance" in of.active))
    assert [step for step, new, _ in said if new] == [50]
    assert [step for step, _, stands in said if stands] == [
        50,
        55,
        60,
        65,
        70,
        75,
    ]  # recovered at 80


@pytest.mark.parametrize(
    ("warm_up", "said"), [(5.5, []), (5.06, []), (5.04, ["chance"]), (4.0, ["chance"])]
)
def test_a_loss_that_still_falls_towards_chance_is_not_stuck(
    warm_up: float, said: list[str]
) -> None:
    of = detector(quiet=20)
    of.add_loss(20, warm_up)
    of.add_loss(50, 5.0)
    assert kinds(of, 50, HEALTHY) == said


def test_without_a_chance_loss_or_a_loss_nothing_is_stuck() -> None:
    of = detector(chance=None)
    of.add_loss(50, 9.0)
    assert kinds(of, 50, HEALTHY) == []
    assert kinds(detector(), 50, HEALTHY) == []
    of = detector()
    of.add_loss(50, math.nan)
    assert kinds(of, 50, HEALTHY) == []
