"""Class weights against their definitions."""

from __future__ import annotations

import math

import pytest
import torch

from hilum.losses.class_weights import MOST, effective_number_weights, positive_weights

COUNTS = torch.tensor([[900.0, 100.0, 0.0], [10.0, 30.0, 60.0], [5.0, 0.0, 0.0], [1e6, 1.0, 0.0]])


def test_balanced_weights_are_absent_over_present_within_their_limit() -> None:
    weights = positive_weights(COUNTS)
    torch.testing.assert_close(weights[:, 1], torch.tensor([9.0, 1 / 3, 1.0, MOST]))
    assert (weights[:, [0, 2]] == 1).all()
    torch.testing.assert_close(
        weights[:2, 1] * COUNTS[:2, 1], COUNTS[:2, 0]
    )  # both sides weigh alike


def test_a_number_is_taken_as_it_is() -> None:
    assert (positive_weights(COUNTS, 2.5)[:, 1] == 2.5).all()


@pytest.mark.parametrize("beta", [0.0, 0.9, 0.999, 0.999999])
def test_effective_numbers_as_a_sum_over_cells(beta: float) -> None:
    for counts, weights in zip(
        COUNTS[:3].tolist(), effective_number_weights(COUNTS[:3], beta).tolist(), strict=True
    ):
        # The effective number is 1 + beta + beta^2 + ..., one term a cell (Cui 2019, proposition
        # 1).
        inverse = [
            1 / math.fsum(beta**cell for cell in range(int(count))) if count else None
            for count in counts
        ]
        known = [value for value in inverse if value is not None]
        for value, weight in zip(inverse, weights, strict=True):
            assert weight == pytest.approx(
                1 if value is None else value * len(known) / sum(known), rel=1e-5
            )


def test_the_ends_of_beta_are_no_weighing_and_the_inverse_of_the_count() -> None:
    assert (effective_number_weights(COUNTS, 0.0) == 1).all()
    near_one = effective_number_weights(COUNTS, 1 - 1e-12)
    assert float(near_one[0, 1] / near_one[0, 0]) == pytest.approx(9, rel=1e-3)
    assert torch.isfinite(near_one).all()
