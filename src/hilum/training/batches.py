"""Batches in an order that depends on the seed and the epoch alone, read ahead by a thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from hilum.arrays import FloatArray, Rows
from hilum.images.films import Films
from hilum.training.distributed import RankInfo
from hilum.training.learner import Batch
from hilum.training.positive_pairs import PositivePairs

T = TypeVar("T")
READ_AHEAD = 3
ONE = RankInfo()
"""A process that trains by itself."""


@dataclass(frozen=True)
class Order:
    """The row numbers of each epoch, ``count`` of them, as a pure function of the epoch's number."""

    of_epoch: Callable[[int], Rows]
    count: int

    def __call__(self, epoch: int) -> Rows:
        """Return the rows of an epoch, [count]."""
        return self.of_epoch(epoch)


@dataclass(frozen=True)
class Labels:
    """What a supervised learner is trained on, by row number."""

    targets: FloatArray
    """[N, F] of all films."""
    weights: FloatArray
    """[N, F], 0 leaves a cell out."""


def shuffled(rows: Rows, seed: int) -> Order:
    """Return an order that visits every row once an epoch, each epoch differently."""
    return Order(lambda epoch: np.random.default_rng([seed, epoch]).permutation(rows), len(rows))


def repeating(order: Order, times: int) -> Order:
    """Return an order whose epoch is so many epochs of another, one after the other."""
    if times == 1:
        return order
    return Order(
        lambda epoch: np.concatenate([order(epoch * times + i) for i in range(times)]),
        order.count * times,
    )


def joined_with(order: Order, batch: int, others: Rows, count: int, seed: int) -> Order:
    """Return an order whose every batch is one of another order and then ``count`` of other rows.

    Those come once each before any comes again, in an order of their own for every epoch; rows of
    the first order that fill no batch are left out.
    """
    batches = order.count // batch

    def of_epoch(epoch: int) -> Rows:
        rng = np.random.default_rng([seed, epoch, 1])
        rounds = -(-batches * count // len(others))
        stream = np.concatenate([rng.permutation(others) for _ in range(rounds)])
        first = order(epoch)[: batches * batch].reshape(batches, batch)
        return np.hstack([first, stream[: batches * count].reshape(batches, count)]).ravel()

    return Order(of_epoch, batches * (batch + count))


def repeated(rows: Rows) -> Rows | None:
    """Return how often each row of an order came before, [n]; None where no row comes twice."""
    if np.bincount(rows, minlength=1).max() <= 1:
        return None
    by_row = np.argsort(rows, kind="stable")
    new = np.diff(rows[by_row], prepend=-1) != 0  # rows are 0 or more
    firsts = np.flatnonzero(new)[np.cumsum(new) - 1]
    repeats = np.empty_like(rows)
    repeats[by_row] = np.arange(len(rows)) - firsts
    return repeats


@dataclass(frozen=True)
class Batches:
    """Batches of whole epochs; an incomplete last step of ``accumulate`` batches is dropped.

    ``films`` gives images and codes. Each process takes ``batch_size`` films of every batch, by its
    rank. ``positives`` names each film's positive: another film of its study or patient.
    """

    films: Films
    order: Order
    batch_size: int
    accumulate: int = 1
    labels: Labels | None = None
    ranks: RankInfo = ONE
    pin: bool = False
    positives: PositivePairs | None = None
    per_epoch: int = field(init=False)

    def __post_init__(self) -> None:
        """Count the batches of an epoch.

        Raises:
            ValueError: Not one batch can be filled.
        """
        step = self.batch_size * self.ranks.world_size * self.accumulate
        object.__setattr__(self, "per_epoch", self.order.count // step * self.accumulate)
        if self.per_epoch < 1:
            raise ValueError(f"{self.order.count} films fill no step of {step}")

    def run(self, start: int, stop: int) -> Generator[tuple[int, Batch], None, None]:
        """Yield (epoch, batch) for the batches numbered ``start`` to below ``stop``, counted over the whole run."""
        yield from ahead(self._batches(start, stop), READ_AHEAD)

    def _batches(self, start: int, stop: int) -> Iterator[tuple[int, Batch]]:
        epoch, rows, repeats = -1, np.empty(0, np.int64), None
        for number in range(start, stop):
            if epoch != number // self.per_epoch:
                epoch = number // self.per_epoch
                rows = self.order(epoch)
                repeats = repeated(rows)
            batch_of_all = number % self.per_epoch * self.ranks.world_size + self.ranks.rank
            mine = slice(batch_of_all * self.batch_size, (batch_of_all + 1) * self.batch_size)
            batch = self._read(epoch, rows[mine])
            if repeats is not None:
                batch = batch._replace(repeat=torch.from_numpy(repeats[mine]))
            yield epoch, batch

    def _read(self, epoch: int, rows: Rows) -> Batch:
        films = self.films
        batch = Batch(
            self._images(rows),
            torch.from_numpy(rows),
            torch.from_numpy(films.patient_codes[rows]),
            torch.from_numpy(films.study_codes[rows]),
        )
        if self.labels is not None:
            batch = batch._replace(
                labels=torch.from_numpy(self.labels.targets[rows]),
                weights=torch.from_numpy(self.labels.weights[rows]),
            )
        if self.positives is not None:
            others = self.positives(epoch, rows)
            batch = batch._replace(positives=(self._images(others), torch.from_numpy(others)))
        return batch

    def _images(self, rows: Rows) -> Tensor:
        images = torch.from_numpy(self.films.read(rows)).unsqueeze(1)  # [B, 1, H, W]
        return images.pin_memory() if self.pin else images


def ahead(items: Iterator[T], depth: int) -> Generator[T, None, None]:
    """Yield the items in order while one thread produces up to ``depth`` of them in advance.

    An error in the thread is raised here; leaving the loop early ends the thread.
    """
    ready: queue.Queue[tuple[str, T | BaseException | None]] = queue.Queue(maxsize=depth)
    stopped = threading.Event()

    def put(kind: str, item: T | BaseException | None) -> None:
        while not stopped.is_set():
            try:
                ready.put((kind, item), timeout=0.1)
            except queue.Full:
                continue
            return

    def produce() -> None:
        try:
            for item in items:
                put("item", item)
                if stopped.is_set():
                    return
            put("end", None)
        except BaseException as error:  # noqa: BLE001 - handed to the consumer, who raises it
            put("error", error)

    thread = threading.Thread(target=produce, name="hilum-read-ahead", daemon=True)
    thread.start()
    try:
        while True:
            kind, item = ready.get()
            if kind == "end":
                return
            if kind == "error":
                raise item  # type: ignore[misc]
            yield item  # type: ignore[misc]
    finally:
        stopped.set()
        thread.join()
