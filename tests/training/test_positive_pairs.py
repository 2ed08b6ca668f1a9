"""Twins: another film of the same group, drawn evenly, whatever the batch, the process and where a run resumed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hilum.images.films import Films
from hilum.training.batches import Batches, shuffled
from hilum.training.distributed import RankInfo
from hilum.training.positive_pairs import count_paired, pair_order

GROUPS = np.array([4, 4, 9, 7, 4, 7, 1, 9, 9, 9])
ROWS = np.array([8, 1, 0, 3, 4, 6, 7, 9])  # without 2 and 5, so that 3 is alone, as 6 is


@given(
    groups=st.lists(st.integers(0, 6), min_size=1, max_size=60),
    seed=st.integers(0, 2**32 - 1),
    epoch=st.integers(0, 99),
    data=st.data(),
)
def test_a_twin_is_another_film_of_the_group_among_the_runs_own(groups, seed, epoch, data):
    every = np.arange(len(groups))
    rows = np.array(data.draw(st.lists(st.sampled_from(every.tolist()), min_size=1, unique=True)))
    codes = np.array(groups)
    positives = pair_order(rows, codes, seed)(epoch, rows)
    assert np.isin(positives, rows).all()
    assert np.array_equal(codes[positives], codes[rows])
    alone = np.array([(codes[rows] == codes[row]).sum() == 1 for row in rows])
    assert np.array_equal(positives == rows, alone)
    assert count_paired(rows, codes) == (~alone).sum()


def test_a_twin_depends_on_seed_epoch_and_film_alone():
    positives = pair_order(ROWS, GROUPS, 3)
    whole = positives(2, ROWS)
    rng = np.random.default_rng(0)
    for _ in range(5):
        part = rng.permutation(len(ROWS))[:4]
        assert np.array_equal(positives(2, ROWS[part]), whole[part])
    for order in (ROWS, np.sort(ROWS), ROWS[::-1]):
        assert np.array_equal(pair_order(order, GROUPS, 3)(2, ROWS), whole)
    large = np.arange(1000)
    one, other = pair_order(large, large // 10, 3), pair_order(large, large // 10, 4)
    assert (one(0, large) != one(1, large)).mean() > 0.8
    assert (one(0, large) != other(0, large)).mean() > 0.8


def test_each_other_member_is_as_likely():
    counted = {row: np.zeros(len(GROUPS)) for row in ROWS.tolist()}
    positives = pair_order(ROWS, GROUPS, 0)
    epochs = 3000
    for epoch in range(epochs):
        for row, twin in zip(ROWS.tolist(), positives(epoch, ROWS).tolist(), strict=True):
            counted[row][twin] += 1
    for row, counts in counted.items():
        others = [
            other for other in ROWS.tolist() if GROUPS[other] == GROUPS[row] and other != row
        ] or [row]
        assert counts.sum() == counts[others].sum() == epochs
        spread = 4.5 * np.sqrt(
            epochs * (1 / len(others)) * (1 - 1 / len(others))
        )  # 4.5 standard deviations
        assert np.abs(counts[others] - epochs / len(others)).max() <= spread


def test_large_groups_are_drawn_evenly():
    rows = np.arange(20_000)
    distance = (pair_order(rows, np.zeros(20_000, np.int64), 0)(0, rows) - rows) % 20_000
    assert distance.min() >= 1
    histogram = np.histogram(distance, bins=20, range=(0, 20_000))[0]
    assert np.abs(histogram - 1000).max() < 4.5 * np.sqrt(1000)


@pytest.fixture(scope="module")
def films(tiny_store: Path) -> Films:
    return Films.open([tiny_store])


def batches(films: Films, rank: int = 0, processes: int = 1) -> Batches:
    rows = np.arange(3, 53)
    positives = pair_order(rows, films.patient_codes, 5)
    return Batches(
        films,
        shuffled(rows, 1),
        12 // processes,
        ranks=RankInfo(rank, processes),
        positives=positives,
    )


def test_a_batch_carries_its_twins_films(films):
    for epoch, batch in batches(films).run(0, 8):
        assert batch.positives is not None
        images, index = batch.positives
        assert np.array_equal(
            index, pair_order(np.arange(3, 53), films.patient_codes, 5)(epoch, batch.index.numpy())
        )
        assert np.array_equal(images[:, 0], films.read(index.numpy()))
        assert np.array_equal(films.patient_codes[index], batch.patient)
        assert (
            (index != batch.index) | (batch.index == 3) | (batch.index == 52)
        ).all()  # whose others stay out


def test_without_twins_there_are_none(films):
    _, batch = next(iter(Batches(films, shuffled(np.arange(8), 0), 8).run(0, 1)))
    assert batch.positives is None


@pytest.mark.parametrize("start", [1, 5, 6])
def test_resuming_in_the_middle_of_an_epoch_gives_the_same_twins(films, start):
    whole, part = list(batches(films).run(0, 10)), list(batches(films).run(start, 10))
    for (_, one), (_, other) in zip(whole[start:], part, strict=True):
        assert torch.equal(one.positives[1], other.positives[1])
        assert torch.equal(one.positives[0], other.positives[0])


def test_processes_divide_the_twins_of_one(films):
    shares = [list(batches(films, rank, 3).run(0, 6)) for rank in range(3)]
    for number, (_, batch) in enumerate(batches(films).run(0, 6)):
        assert torch.equal(
            torch.cat([share[number][1].positives[1] for share in shares]), batch.positives[1]
        )
