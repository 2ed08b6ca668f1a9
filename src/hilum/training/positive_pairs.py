"""Another film of the same study or patient for each film: the second half of a positive pair."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from hilum.arrays import Rows
from hilum.augment.draws import uniform

PositivePairs = Callable[[int, Rows], Rows]
"""Epoch and rows -> each row's positive: the other row of its pair."""

_OP = 1 << 16  # stream of random numbers, beyond those of the operations on crops


def pair_order(rows: Rows, groups: Rows, seed: int) -> PositivePairs:
    """Return a function that draws for each film another of its group, anew each epoch; a lone film itself.

    A film's positive depends on seed, epoch and film alone: not on the batch, the process, nor on
    where a run resumed. Each of the others is as likely (to 2^-24).

    Args:
        rows: [n] the run's films, each once.
        groups: [N] the study or patient of every film by its row.
        seed: The run's seed.
    """
    rows = np.sort(rows)
    members = rows[np.argsort(groups[rows], kind="stable")]  # group after group
    _, starts, sizes = np.unique(groups[members], return_index=True, return_counts=True)
    start, size, rank = np.zeros((3, len(groups)), np.int64)
    start[members], size[members] = np.repeat(starts, sizes), np.repeat(sizes, sizes)
    rank[members] = np.arange(len(members)) - start[members]  # within the group

    def positives(epoch: int, chosen: Rows) -> Rows:
        draws = uniform(seed, epoch, torch.from_numpy(chosen), 0, _OP).double().numpy()
        others = np.maximum(size[chosen] - 1, 1)
        # 1 to size - 1 further in the group; in a group of one, 1 leads back to the film.
        ahead = 1 + (draws * others).astype(np.int64)
        partners: Rows = members[start[chosen] + (rank[chosen] + ahead) % size[chosen]]
        return partners

    return positives


def count_paired(rows: Rows, groups: Rows) -> int:
    """Return how many of the films have another of their group among them; arguments as in ``pair_order``."""
    sizes = np.unique(groups[rows], return_counts=True)[1]
    return int(sizes[sizes > 1].sum())
