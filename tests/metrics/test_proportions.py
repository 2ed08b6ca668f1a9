"""Shares of right calls: Clopper and Pearson's interval where films are independent, wider where they are not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta

from hilum.metrics.proportions import share_right


@pytest.mark.parametrize(("right", "films"), [(9, 10), (50, 50), (0, 20), (123, 200)])
def test_films_of_many_patients_have_the_exact_interval(right: int, films: int) -> None:
    found = share_right(np.arange(films) < right, np.arange(films))
    low = 0.0 if right == 0 else beta.ppf(0.025, right, films - right + 1)
    high = 1.0 if right == films else beta.ppf(0.975, right + 1, films - right)
    assert found.value == right / films
    assert found.interval == pytest.approx((low, high), abs=1e-6)


def test_films_of_one_patient_that_are_alike_count_once() -> None:
    right, patients = np.arange(20) < 15, np.arange(20)
    alone = share_right(right, patients)
    three_each = share_right(np.repeat(right, 3), np.repeat(patients, 3))
    assert three_each.value == alone.value
    assert three_each.interval == pytest.approx(alone.interval, abs=0.02)


def test_nothing_called_has_no_share() -> None:
    found = share_right(np.zeros(0, bool), np.zeros(0, np.int64), nothing="no film of known truth")
    assert (found.value, found.interval, found.reason) == (None, None, "no film of known truth")


def test_calls_and_patients_must_fit() -> None:
    with pytest.raises(ValueError, match="2 calls and 3 patients"):
        share_right(np.ones(2, bool), np.arange(3))


def test_the_interval_covers_a_true_share_of_clustered_films() -> None:
    rng, covered = np.random.default_rng(0), 0
    for _ in range(300):
        chances = rng.beta(9, 1, 80)  # a patient's own; 0.9 in the mean
        patients = np.repeat(np.arange(80), rng.integers(1, 6, 80))
        right = rng.random(len(patients)) < chances[patients]
        low, high = share_right(right, patients).interval
        covered += low <= 0.9 <= high
    assert covered >= 0.93 * 300
