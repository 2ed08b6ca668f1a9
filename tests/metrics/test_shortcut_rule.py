from __future__ import annotations

import math

import numpy as np
import pytest

from hilum.metrics.shortcut_rule import LEAST, SHARE, chance_p, share_of_knowledge, tells_too_much


def test_each_part_of_the_rule_can_spare_a_probe() -> None:
    assert tells_too_much(0.9, 0.001, 0.95)
    assert not tells_too_much(LEAST - 0.01, 0.001, 0.55)
    assert not tells_too_much(0.9, 0.05, 0.95)
    assert not tells_too_much(0.7, 0.001, 0.5 + 0.2 / SHARE + 0.001)
    assert tells_too_much(0.7, 0.001, 0.5 + 0.2 / SHARE - 0.001)


def test_where_whole_films_tell_nothing_a_blind_probe_holds_more_than_all() -> None:
    assert share_of_knowledge(0.7, 0.5) == math.inf
    assert tells_too_much(0.7, 0.001, 0.4)


def test_p_values_are_even_where_nothing_is_known_and_small_where_much_is() -> None:
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(150), 2)
    truth = rng.random(300) < 0.3
    found = [chance_p(truth, rng.normal(size=300), patients) for _ in range(400)]
    assert 0.02 < np.mean(np.array(found) < 0.05) < 0.09
    assert chance_p(truth, truth + rng.normal(size=300), patients) < 1e-6


@pytest.mark.parametrize(("scores", "p"), [([0.0] * 6, 1.0), ([1.0, 1.0, 1.0, 0.0, 0.0, 0.0], 0.0)])
def test_scores_that_are_all_the_same_or_never_wrong_have_no_error(
    scores: list[float], p: float
) -> None:
    assert chance_p([1, 1, 1, 0, 0, 0], scores, range(6)) == p
