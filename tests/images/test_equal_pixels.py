"""Labels of films that show the same picture."""

from __future__ import annotations

import numpy as np

from hilum.images.equal_pixels import differing_labels


def test_only_findings_that_both_films_state_can_contradict() -> None:
    nan = np.nan
    labels = np.array([[1, 0, nan], [0, 0, 1], [1, nan, -1], [-1, 0, 1]], np.float32)
    differing = differing_labels(labels, np.array([[0, 1], [0, 2], [1, 3], [2, 3]]))
    assert differing.tolist() == [
        [True, False, False],
        [False, False, False],
        [True, False, False],
        [True, False, True],
    ]
    assert differing_labels(labels, np.empty((0, 2), np.int64)).shape == (0, 3)
