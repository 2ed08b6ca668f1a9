"""Batches: an order of seed and epoch alone, exact resumption, nested processes, errors and ends of the thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from hilum.arrays import Rows
from hilum.images.films import Films
from hilum.training.batches import (
    Batches,
    Labels,
    Order,
    ahead,
    joined_with,
    repeated,
    repeating,
    shuffled,
)
from hilum.training.distributed import RankInfo

ROWS = np.arange(3, 53)


@pytest.fixture(scope="module")
def films(tiny_store: Path) -> Films:
    return Films.open([tiny_store])


def threads() -> int:
    return sum(thread.name == "hilum-read-ahead" for thread in threading.enumerate())


def test_the_order_is_a_function_of_seed_and_epoch_alone() -> None:
    order = shuffled(ROWS, 3)
    first = order(0)
    np.random.default_rng(1).random(5)
    assert np.array_equal(shuffled(ROWS, 3)(0), first)
    assert np.array_equal(order(0), first)
    assert not np.array_equal(order(1), first)
    assert not np.array_equal(shuffled(ROWS, 4)(0), first)
    assert all(np.array_equal(np.sort(order(epoch)), ROWS) for epoch in range(3))


def test_a_batch_holds_what_its_rows_say(films: Films) -> None:
    targets = np.arange(len(films) * 2, dtype=np.float32).reshape(-1, 2)
    batches = Batches(films, shuffled(ROWS, 0), 8, labels=Labels(targets, targets + 1))
    for number, (epoch, batch) in enumerate(batches.run(0, 8)):
        rows = shuffled(ROWS, 0)(epoch)[number % 6 * 8 :][:8]
        assert epoch == number // 6
        assert batch.index.tolist() == rows.tolist()
        assert np.array_equal(batch.images[:, 0].numpy(), films.read(rows))
        assert batch.patient.tolist() == films.patient_codes[rows].tolist()
        assert batch.study.tolist() == films.study_codes[rows].tolist()
        assert np.array_equal(batch.labels.numpy(), targets[rows])
        assert np.array_equal(batch.weights.numpy(), targets[rows] + 1)
        assert batch.images.dtype == torch.uint8
        assert batch.crops is None


@pytest.mark.parametrize("start", [1, 6, 8, 17])
def test_resuming_from_the_middle_gives_the_same_batches(films: Films, start: int) -> None:
    batches = Batches(films, shuffled(ROWS, 1), 8)
    whole = list(batches.run(0, 18))
    part = list(batches.run(start, 18))
    assert len(part) == 18 - start
    for (epoch, one), (other_epoch, other) in zip(whole[start:], part, strict=True):
        assert epoch == other_epoch
        assert torch.equal(one.index, other.index)
        assert torch.equal(one.images, other.images)


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_processes_divide_the_batches_of_one(films: Films, processes: int) -> None:
    alone = Batches(films, shuffled(ROWS, 2), 12)
    shares = [
        list(
            Batches(films, shuffled(ROWS, 2), 12 // processes, ranks=RankInfo(rank, processes)).run(
                0, 9
            )
        )
        for rank in range(processes)
    ]
    for number, (_, batch) in enumerate(alone.run(0, 9)):
        together = torch.cat([share[number][1].index for share in shares])
        assert torch.equal(together, batch.index)


def test_every_film_comes_once_an_epoch_but_for_the_last_unfilled_step(films: Films) -> None:
    batches = Batches(films, shuffled(ROWS, 0), 4, accumulate=3)
    assert batches.per_epoch == 12  # four steps of three batches of four
    seen = torch.cat([batch.index for _, batch in batches.run(0, 12)]).tolist()
    assert len(set(seen)) == len(seen) == 48
    assert set(seen) <= set(ROWS.tolist())


def test_too_few_films_are_refused(films: Films) -> None:
    with pytest.raises(ValueError, match="50 films fill no step of 64"):
        Batches(films, shuffled(ROWS, 0), 64)


def test_reading_ahead_keeps_the_order_and_ends() -> None:
    assert list(ahead(iter(range(50)), 3)) == list(range(50))
    assert list(ahead(iter(()), 3)) == []
    assert threads() == 0


def test_reading_ahead_stays_within_its_depth() -> None:
    taken = []

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    stream = ahead(items(), 3)
    first = [next(stream) for _ in range(10)]
    assert first == list(range(10))
    assert len(taken) <= 10 + 3 + 2  # queued, in hand, and just drawn
    stream.close()
    assert threads() == 0
    assert len(taken) <= 10 + 3 + 2


def test_an_error_in_the_thread_is_raised_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise KeyError("broken")

    stream = ahead(items(), 3)
    assert next(stream) == 1
    with pytest.raises(KeyError, match="broken"):
        next(stream)
    assert threads() == 0


def test_leaving_early_ends_the_thread(films: Films) -> None:
    stream = Batches(films, shuffled(ROWS, 0), 8).run(0, 10**6)
    next(stream)
    assert threads() == 1
    stream.close()
    assert threads() == 0


def test_repeats_are_counted_in_the_order_of_the_draws() -> None:
    assert repeated(np.array([7, 3, 7, 7, 0, 3])).tolist() == [0, 0, 1, 2, 0, 1]
    assert repeated(np.arange(5)[::-1]) is None
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 9, 50)
    expected = [int((rows[:place] == row).sum()) for place, row in enumerate(rows)]
    assert repeated(rows).tolist() == expected


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_processes_take_each_draw_with_replacement_once(films: Films, processes: int) -> None:
    def order(epoch: int) -> Rows:
        return np.random.default_rng(epoch).choice(ROWS, len(ROWS))

    shares = [
        list(
            Batches(
                films, Order(order, len(ROWS)), 12 // processes, ranks=RankInfo(rank, processes)
            ).run(0, 8)
        )
        for rank in range(processes)
    ]
    for number in range(8):
        epoch, place = number // 4, number % 4 * 12
        draws = order(epoch)
        together = [
            torch.cat([getattr(share[number][1], name) for share in shares])
            for name in ("index", "repeat")
        ]
        assert together[0].tolist() == draws[place : place + 12].tolist()
        assert together[1].tolist() == repeated(draws)[place : place + 12].tolist()


def test_films_that_come_once_have_no_repeats(films: Films) -> None:
    assert all(batch.repeat is None for _, batch in Batches(films, shuffled(ROWS, 0), 8).run(0, 7))


def test_a_repeating_order_is_several_epochs_of_the_other_in_one() -> None:
    once = shuffled(ROWS, 3)
    thrice = repeating(once, 3)
    assert thrice.count == len(thrice(1)) == 3 * len(ROWS)
    assert np.array_equal(thrice(1), np.concatenate([once(epoch) for epoch in (3, 4, 5)]))
    assert repeating(once, 1) is once


@pytest.mark.parametrize(("others", "count"), [(200, 8), (30, 8), (3, 4)])
def test_every_batch_ends_with_other_rows_that_come_evenly(others: int, count: int) -> None:
    rest = np.arange(1000, 1000 + others)
    order = joined_with(shuffled(ROWS, 0), 8, rest, count, seed=0)
    assert order.count == 6 * (8 + count)
    for epoch in range(2):
        rows = order(epoch).reshape(6, 8 + count)
        assert np.array_equal(rows[:, :8].ravel(), shuffled(ROWS, 0)(epoch)[:48])
        times = np.bincount(rows[:, 8:].ravel() - 1000, minlength=others)
        assert times.max() - times.min() <= 1
    assert np.array_equal(order(0), joined_with(shuffled(ROWS, 0), 8, rest, count, seed=0)(0))
    assert not np.array_equal(order(0)[8:16], order(1)[8:16])
