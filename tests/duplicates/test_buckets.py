from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from hilum.duplicates.buckets import BANDS, MISSED, REACH, SURE, _codes, bands, near_pairs

NEAR = 0.75


def marks(count: int, seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed).standard_normal((count, 64))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def silent(_done: int, _total: int) -> None:
    pass


@pytest.mark.parametrize("count", [2, 300, 4000])
def test_near_ones_meet_and_no_others_are_kept(count: int) -> None:
    plain = marks(count)
    chosen = np.arange(0, count, 3)
    close = 0.9 * plain[chosen] + np.sqrt(1 - 0.9**2) * marks(len(chosen), 1)
    close /= np.linalg.norm(close, axis=1, keepdims=True)
    found, crowded, more = near_pairs(
        np.concatenate([plain, close]).astype(np.float16), NEAR, silent, count
    )
    wanted = {(int(row), count + place) for place, row in enumerate(chosen)}
    assert {(int(first), int(second)) for first, second in found} == wanted
    assert not crowded
    assert not more


def test_pairs_come_nearest_first_and_once() -> None:
    plain = marks(50)
    close = np.stack([plain[7] + 0.03 * marks(2, 2)[0], plain[9] + 0.3 * marks(2, 2)[1]])
    close /= np.linalg.norm(close, axis=1, keepdims=True)
    found, *_ = near_pairs(np.concatenate([plain, close]).astype(np.float16), NEAR, silent, 100)
    assert found.tolist() == [[7, 50], [9, 51]]


def test_a_crowd_is_said() -> None:
    alike = np.repeat(marks(1)[:, :2], REACH + 50, axis=0).astype(np.float16)
    assert near_pairs(alike, NEAR, silent, 100)[1]
    assert not near_pairs(alike[: REACH + 1], NEAR, silent, 100)[1]


def test_of_too_many_pairs_the_nearest_are_kept_in_little_memory() -> None:
    alike = marks(1) + 0.03 * marks(1500, 1)
    alike = (alike / np.linalg.norm(alike, axis=1, keepdims=True)).astype(np.float16)
    everything, _, none_left = near_pairs(alike, NEAR, silent, 1500**2)
    assert not none_left
    tracemalloc.start()
    found, _, more = near_pairs(alike, NEAR, silent, 3000)
    memory = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert more
    assert found.tolist() == everything[:3000].tolist()
    assert memory < 30e6


def test_every_band_is_reported() -> None:
    heard: list[tuple[int, ...]] = []
    near_pairs(marks(10).astype(np.float16), NEAR, lambda *done: heard.append(done), 100)
    assert heard == [(done, BANDS) for done in range(BANDS + 1)]


@pytest.mark.parametrize("planes", [9, 14, 17])
def test_as_good_as_all_near_ones_meet_however_many_films_there_are(planes: int) -> None:
    rng, one, apart = np.random.default_rng(0), marks(4000), marks(4000, 1)
    apart -= (apart * one).sum(axis=1, keepdims=True) * one
    apart /= np.linalg.norm(apart, axis=1, keepdims=True)
    pairs = np.concatenate([one, SURE * one + np.sqrt(1 - SURE**2) * apart]).astype(np.float16)
    met = np.zeros(4000, bool)
    for _ in range(bands(planes)):
        codes = _codes(pairs, rng.standard_normal((64, planes)).astype(np.float32))
        met |= codes[:4000] == codes[4000:]
    assert (~met).mean() < 2.5 * MISSED


def test_a_film_without_structure_meets_nobody() -> None:
    found, *_ = near_pairs(np.zeros((5, 64), np.float16), NEAR, silent, 100)
    assert found.shape == (0, 2)
