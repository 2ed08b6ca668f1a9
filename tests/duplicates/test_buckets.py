from __future__ import annotations

import numpy as np
import pytest

from hilum.duplicates.buckets import BANDS, REACH, near_pairs

NEAR = 0.75


def marks(count: int, seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed).standard_normal((count, 64))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def silent(_done: int) -> None:
    pass


@pytest.mark.parametrize("count", [2, 300, 4000])
def test_near_ones_meet_and_no_others_are_kept(count: int) -> None:
    plain = marks(count)
    chosen = np.arange(0, count, 3)
    close = 0.9 * plain[chosen] + np.sqrt(1 - 0.9**2) * marks(len(chosen), 1)
    close /= np.linalg.norm(close, axis=1, keepdims=True)
    found, crowded = near_pairs(np.concatenate([plain, close]).astype(np.float16), NEAR, silent)
    wanted = {(int(row), count + place) for place, row in enumerate(chosen)}
    assert {(int(first), int(second)) for first, second in found} == wanted
    assert not crowded


def test_pairs_come_nearest_first_and_once() -> None:
    plain = marks(50)
    close = np.stack([plain[7] + 0.03 * marks(2, 2)[0], plain[9] + 0.3 * marks(2, 2)[1]])
    close /= np.linalg.norm(close, axis=1, keepdims=True)
    found, _ = near_pairs(np.concatenate([plain, close]).astype(np.float16), NEAR, silent)
    assert found.tolist() == [[7, 50], [9, 51]]


def test_a_crowd_is_said() -> None:
    alike = np.repeat(marks(1)[:, :2], REACH + 50, axis=0).astype(np.float16)
    assert near_pairs(alike, NEAR, silent)[1]
    assert not near_pairs(alike[: REACH + 1], NEAR, silent)[1]


def test_every_band_is_told() -> None:
    heard: list[int] = []
    near_pairs(marks(10).astype(np.float16), NEAR, heard.append)
    assert heard == list(range(1, BANDS + 1))


def test_a_film_without_structure_meets_nobody() -> None:
    found, _ = near_pairs(np.zeros((5, 64), np.float16), NEAR, silent)
    assert found.shape == (0, 2)
