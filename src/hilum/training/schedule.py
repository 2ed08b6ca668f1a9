"""Schedules of the learning rate and of the crops' size, as pure functions of the fraction of the steps done."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

START_DIVISOR, END_DIVISOR = 25.0, 1e4


def learning_rate(progress: float, schedule: str, warmup: float) -> float:
    """Return the learning rate at ``progress`` (0 to 1 of all steps), as a fraction of its peak.

    Raises:
        ValueError: The schedule is unknown.

    >>> [round(learning_rate(p, "cosine", 0.1), 3) for p in (0.05, 0.1, 0.55, 1.0)]
    [0.5, 1.0, 0.5, 0.0]
    """
    if schedule == "cosine":
        return warmup_cosine(progress, warmup)
    if schedule == "onecycle":
        return one_cycle(progress, warmup)
    raise ValueError(f"the schedule is {schedule!r}, expected 'cosine' or 'onecycle'")


@dataclass(frozen=True)
class ProgressiveSizes:
    """Crop sizes that increase during training, each for its share of the steps.

    Source: progressive resizing; for self-supervised learning on small sets arXiv 2103.13559.
    """

    sizes: Sequence[int]
    """Pixels of a crop's side, in order."""
    shares: Sequence[float] | None = None
    """Fraction of the steps at each; equal where they are None."""

    def first_steps(self, total: int) -> list[int]:
        """Return the step, counted from 1, with which each size begins; the last has one step at least.

        >>> ProgressiveSizes((32, 48, 64)).first_steps(300), ProgressiveSizes((32, 64), (0.75, 0.25)).first_steps(10)
        ([1, 101, 201], [1, 9])
        """
        count = len(self.sizes)
        shares = self.shares or [1 / count] * count
        before = [0.0, *accumulate(shares)][:-1]
        return [
            min(round(total * share) + 1, total - count + number)
            for number, share in enumerate(before, start=1)
        ]

    def at(self, step: int, total: int) -> int:
        """Return the size at a step, counted from 1, of so many."""
        begun = [
            size
            for size, first in zip(self.sizes, self.first_steps(total), strict=True)
            if first <= step
        ]
        return begun[-1]


def warmup_cosine(progress: float, warmup: float) -> float:
    """Rise linearly to 1 over the warm-up, then fall to 0 along half a cosine."""
    if progress < warmup:
        return progress / warmup
    return (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup))) / 2


def one_cycle(progress: float, warmup: float) -> float:
    """Rise from 1/25 to 1 over the warm-up, then fall to 4e-6, both along half a cosine.

    Source: Smith and Topin, arXiv 1708.07120, with the divisors of
        ``torch.optim.lr_scheduler.OneCycleLR``.
    """
    start, end = 1 / START_DIVISOR, 1 / (START_DIVISOR * END_DIVISOR)
    if progress < warmup:
        return _half_cosine(start, 1.0, progress / warmup)
    return _half_cosine(1.0, end, (progress - warmup) / (1 - warmup))


def _half_cosine(start: float, end: float, progress: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2
