"""The films of a gallery: chosen by a rule on probabilities and labels, never on heatmaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hilum.arrays import BoolArray

FINDINGS = 3
"""Findings shown: those that are present most often."""
NO_FINDING = "No Finding"
OUTCOMES = ("true positive", "false positive", "false negative", "true negative")
RULE = (
    f"Of each of the {FINDINGS} findings that most test films show: the most probable true positive, the most probable "
    "false positive, the least probable false negative and the least probable true negative, at the thresholds chosen "
    "on validation films, where there is one. A film is shown once; of equals the first counts. How a heatmap looks "
    "has no say."
)


@dataclass(frozen=True)
class Choice:
    """A film of the gallery: its index, the finding it is shown for, and the outcome."""

    film: int
    finding: int
    outcome: str


def choose_films(
    probabilities: NDArray[np.floating],
    truth: NDArray[np.floating],
    counts: BoolArray,
    thresholds: Sequence[float | None],
    findings: Sequence[str],
) -> list[Choice]:
    """Return the films of the gallery by RULE, by finding and then in the order of OUTCOMES.

    An outcome that no film has is left out, as is a finding without a threshold.

    Args:
        probabilities: [n, F].
        truth: [n, F], 1 present and 0 absent; anything where it does not count.
        counts: [n, F] bool, which cells are known.
        thresholds: [F], None where none was chosen.
        findings: [F] names.
    """
    present = ((truth == 1) & counts).sum(axis=0)
    order = [
        column
        for column in np.argsort(-present, kind="stable").tolist()
        if present[column] and thresholds[column] is not None and findings[column] != NO_FINDING
    ]
    chosen: list[Choice] = []
    for column in order[:FINDINGS]:
        known, called = counts[:, column], probabilities[:, column] >= thresholds[column]
        for outcome in OUTCOMES:
            positive, right = outcome.endswith("positive"), outcome.startswith("true")
            of_outcome = (
                known & (called == positive) & ((truth[:, column] == 1) == (positive == right))
            )
            taken = [choice.film for choice in chosen]
            films = np.setdiff1d(
                np.flatnonzero(of_outcome), taken
            )  # ascending, so that ties go to the first
            if len(films):
                values = probabilities[films, column]
                best = films[values.argmax() if positive else values.argmin()]
                chosen.append(Choice(int(best), column, outcome))
    return chosen
