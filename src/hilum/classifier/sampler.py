"""Drawing films with rare findings more often: what torch's WeightedRandomSampler means where a film has many labels.

``WeightedRandomSampler`` draws with replacement, each film with a chance in proportion to its
weight. A class gives a film its weight where there is one class a film; here

* a finding's prevalence is the share of its cells that are present among those that count, over the
training films;
* a film weighs the largest 1 / prevalence of the findings that are present on it, that is of its
  rarest, at most ``MOST``; a film that shows none weighs 1;
* an epoch draws as many films as there are, so some come several times, each time with another
crop, and others not;
* the draws of an epoch are one list, a function of the seed and the epoch alone. Processes take
  turns at its places, as with the uniform order: no place is taken twice, and a run that goes on
  draws what the unbroken one would have.

Present is a target of a half or more, so a soft one counts as what it leans to; uncertain as a
class of its own is not present.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hilum.arrays import BoolArray, DoubleArray, FloatArray, Rows
from hilum.labels import UNCERTAIN_CLASS
from hilum.training.batches import Order

Shares = DoubleArray
MOST = 100.0
"""Largest weight of a film: a finding seen once must not fill the epochs with one film."""
_PURPOSE = 1
"""Last word of the draws' key, so that they are none of the numbers that shuffle."""


@dataclass(frozen=True)
class Draws:
    """The chance of each of n films at one draw, and what the draws make of the findings' prevalences."""

    chances: Shares
    """[n], summing to 1."""
    before: Shares
    """[F] share present among the cells that count; NaN for a finding without one."""
    after: Shares
    """[F] the same as it is expected among drawn films."""

    @property
    def often(self) -> Shares:
        """How often each film is expected in an epoch, [n]."""
        return self.chances * len(self.chances)

    @property
    def distinct(self) -> float:
        """Share of the films that is expected to come at all in an epoch."""
        return float(np.mean(1 - (1 - self.chances) ** len(self.chances)))


def weighted_draws(targets: FloatArray, weights: FloatArray) -> Draws:
    """Return how films are drawn.

    Args:
        targets: [n, F] of the training films, 0 to 1 or UNCERTAIN_CLASS.
        weights: [n, F], 0 leaves the cell out.
    """
    present = (targets >= 0.5) & (targets != UNCERTAIN_CLASS) & (weights > 0)
    even = np.full(len(targets), 1 / len(targets))
    before = _shares(present, weights, even)
    film_weights = (
        np.where(present, 1 / np.where(before > 0, before, 1), 1)
        .max(axis=1, initial=1)
        .clip(max=MOST)
    )
    chances = film_weights / film_weights.sum()
    return Draws(chances, before, _shares(present, weights, chances))


def drawn(rows: Rows, chances: Shares, seed: int) -> Order:
    """Return an order that draws as many rows as there are, with replacement, each by its chance [n]."""
    ends = np.cumsum(chances)

    def order(epoch: int) -> Rows:
        numbers = np.random.default_rng([seed, epoch, _PURPOSE]).random(len(rows)) * ends[-1]
        chosen = np.searchsorted(ends, numbers, side="right").clip(max=len(rows) - 1)
        return np.asarray(rows[chosen])

    return Order(order, len(rows))


def _shares(present: BoolArray, weights: FloatArray, chances: Shares) -> Shares:
    counting = (weights * chances[:, None]).sum(axis=0)
    shown = (present * weights * chances[:, None]).sum(axis=0)
    return np.asarray(
        np.divide(shown, counting, out=np.full(len(counting), np.nan), where=counting > 0)
    )
