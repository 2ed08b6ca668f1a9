"""Which part's films have a copy in which part."""

from __future__ import annotations

import time

import numpy as np

from hilum.workflows.card.leakage import _leaks


def test_a_film_counts_once_for_each_part_that_has_a_copy_of_it() -> None:
    placed = np.array(["train", "train", "test", "val", "val", "in no part"], object)
    found = _leaks([np.array([0, 1, 2]), np.array([3, 5])], placed)
    assert {
        part: {other: count for other, count in one.items() if count} for part, one in found.items()
    } == {
        "train": {"train": 2, "test": 2},
        "val": {"in no part": 1},
        "test": {"train": 1},
        "official-test": {},
        "in no part": {"val": 1},
    }


def test_a_group_of_very_many_copies_takes_no_time() -> None:
    placed = np.full(50_000, "train", object)
    before = time.process_time()
    assert _leaks([np.arange(50_000)], placed)["train"]["train"] == 50_000
    assert time.process_time() - before < 5  # comparing each with each took a minute
