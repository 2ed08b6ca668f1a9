"""Thresholds for a target precision: from which score on films may be called without review.

Calling is either way: present at or above one threshold, absent at or below another, nothing
between. Each threshold is chosen on validation films so that a one-sided lower bound of the
precision reaches the target.

* The bound is that of Clopper and Pearson (1934) for the effective number of films: films of one
  patient resemble each other, so n of them count as n over the design effect, which their own
  scatter shows (Korn and Graubard 1998). Where no call is wrong there is no scatter, and a
  patient's films count as equal.
* Candidates are the n surest films, n rising by a tenth from the fewest that could show the target
  at all. Of those that reach it the one with the most films is chosen. Stopping at the first that
  fails would be little safer: the precision of few films is noisy, and one error among them would
  end the search.

What holds: at any one candidate the bound exceeds the true precision in about one validation set of 1 /
(1 - level) at most, for films drawn like the validation films. What does not: several candidates
are tried, which resemble each other, so the chosen one is wrong somewhat more often; and of the
findings that reach the target some do by luck, the more the fewer truly reach it. By
simulation (``tests/metrics/test_precision_thresholds.py``) with 50 to 300 positives and AUROC 0.75 to 0.95,
target 0.9 at level 0.95: of 181 findings that are called the mean precision is 0.944, that of 9 %
is below 0.9, and 2 % miss it beyond their 95 % interval.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from hilum.arrays import BoolArray, DoubleArray
from hilum.metrics.intervals import Interval
from hilum.metrics.ranking import checked
from hilum.metrics.results import Estimate
from hilum.metrics.thresholds import Cuts, possible_cuts

STEP = 1.1
"""Ratio of the films that successive candidates call."""
FEWEST = 10
"""Validation films of either class that a finding needs for a threshold."""
EVEN = 0.5
"""Where every film is called, the probability from which it counts as present."""
NO_CALLS = "no validation film is called so"
NO_FILMS = "no threshold: validation films of both classes are too few"


@dataclass(frozen=True)
class Side:
    """Calls one way, present or absent, and their precision on validation films."""

    threshold: float | None
    """Called at or above it (present) or at or below it (absent); None calls no film."""
    wanted: float | None
    """Target precision; None where any is accepted."""
    precision: Estimate
    """On validation films; the interval runs from the one-sided lower bound to 1."""
    films: int = 0
    """Validation films called."""
    patients: int = 0
    """Their patients."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**vars(self), "precision": self.precision.to_json()}


@dataclass(frozen=True)
class Cut:
    """The thresholds of one finding."""

    present_side: Side
    absent_side: Side

    @property
    def present(self) -> float | None:
        """Probability from which a film is called present; None for none."""
        return self.present_side.threshold

    @property
    def absent(self) -> float | None:
        """Probability up to which a film is called absent; None for none."""
        return self.absent_side.threshold

    @property
    def reason(self) -> str | None:
        """Why films are called one way only or not at all; None where they are called both ways."""
        sides = {"present": self.present_side, "absent": self.absent_side}
        missing = [
            f"{name}: {side.precision.reason}"
            for name, side in sides.items()
            if side.threshold is None
        ]
        return "; ".join(missing) or None

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "present": self.present_side.to_json(),
            "absent": self.absent_side.to_json(),
            "reason": self.reason,
        }


def choose_cut(
    truth: ArrayLike,
    probabilities: ArrayLike,
    patients: NDArray[np.int64],
    precision: float,
    absent_precision: float,
    level: float,
) -> Cut:
    """Return the thresholds at which a finding is called with the target precision.

    Args:
        truth: [n], 1 present and 0 absent; uncertain films left out.
        probabilities: [n].
        patients: [n] code of each film's patient.
        precision: Target of the calls present.
        absent_precision: Target of the calls absent. Most films lack a rare finding anyway, so the
            target is raised to 1 less half of its prevalence: a call must be informative.
        level: Confidence level of the one-sided bound, above 0 and below 1.

    Raises:
        ValueError: As ``ranking.auroc``, or a precision or level is not between 0 and 1.
    """
    if not all(0 < value < 1 for value in (precision, absent_precision, level)):
        raise ValueError(
            f"precisions and level are {precision}, {absent_precision}, {level}: allowed is between 0 and 1"
        )
    present, scores = checked(truth, probabilities)
    if len(present) == 0:
        return Cut(_none(precision, NO_FILMS), _none(absent_precision, NO_FILMS))
    rarer = max(absent_precision, 1 - present.mean() / 2) if present.any() else absent_precision
    if min(present.sum(), (~present).sum()) < FEWEST:
        return Cut(_none(precision, NO_FILMS), _none(rarer, NO_FILMS))
    above = _side(present, scores, patients, precision, level)
    below = _side(~present, -scores, patients, rarer, level)
    return Cut(above, _apart(_mirrored(below), above.threshold, ~present, scores, patients, level))


def even_cut(
    truth: ArrayLike, probabilities: ArrayLike, patients: NDArray[np.int64], level: float
) -> Cut:
    """Return the thresholds that call every film, at one half, with their precision.

    Args:
        truth: [n], 1 present and 0 absent; uncertain films left out.
        probabilities: [n].
        patients: [n] code of each film's patient.
        level: Of the one-sided bound, above 0 and below 1.

    Raises:
        ValueError: As ``ranking.auroc``.
    """
    present, scores = checked(truth, probabilities)
    above = scores >= EVEN
    sides = ((present, above), (~present, ~above))
    return Cut(
        *(_shown(EVEN, None, right[called], patients[called], level) for right, called in sides)
    )


def effective_number(right: DoubleArray, films: DoubleArray) -> float:
    """Return how many independent films those of some patients count as.

    Args:
        right: [m] right calls of each patient.
        films: [m] calls of each patient, at least 1.

    Their number over the design effect of the precision: its variance between patients over that
    of as many independent films, at least 1 and at most its value for equal films of a patient.
    """
    count, share = films.sum(), right.sum() / films.sum()
    alike = float((films**2).sum() / count)
    if not 0 < share < 1:
        return float(count / alike)
    patients = len(films)
    scatter = ((right - share * films) ** 2).sum() * patients / max(patients - 1, 1) / count
    return float(count / min(max(scatter / (share * (1 - share)), 1.0), alike))


def lower_bound(share: float, number: float, level: float) -> float:
    """Return Clopper and Pearson's one-sided lower bound of a proportion among ``number`` films, whole or not.

    >>> round(lower_bound(1.0, 22, 0.9), 4)
    0.9006
    """
    right = share * number
    if right <= 0:
        return 0.0
    return min(float(special.betaincinv(right, number - right + 1, 1 - level)), share)


def _chance(share: float, number: float, least: float) -> float:
    """Return the binomial probability of a proportion ``share`` or more if each film is right with ``least``."""
    right = share * number
    return float(special.betainc(right, number - right + 1, least)) if right > 0 else 1.0


def _side(
    right: BoolArray, scores: DoubleArray, patients: NDArray[np.int64], target: float, level: float
) -> Side:
    """Return the lowest threshold at which calls, right or not [n], reach the target."""
    cuts, chosen, best = possible_cuts(right, scores), None, 0.0
    for index, share, number in _candidates(cuts, right, scores, patients, target, level):
        best = max(best, lower_bound(share, number, level))
        if _chance(share, number, target) <= 1 - level:
            chosen = index
    if chosen is None:
        return _none(
            target, f"at no threshold is the bound of precision {target:.3g} (at most {best:.3g})"
        )
    called = scores >= cuts.lowest_called[chosen]
    return _shown(cuts.threshold(chosen), target, right[called], patients[called], level)


def _candidates(
    cuts: Cuts,
    right: BoolArray,
    scores: DoubleArray,
    patients: NDArray[np.int64],
    target: float,
    level: float,
) -> Iterator[tuple[int, float, float]]:
    """Yield index among the cuts, precision and effective number of calls, surest films first."""
    called = cuts.hits + cuts.false_positives
    least = math.ceil(math.log(1 - level) / math.log(target))
    while least <= called[-1]:
        index = int(np.searchsorted(called, least))
        chosen = scores >= cuts.lowest_called[index]
        codes = np.unique(patients[chosen], return_inverse=True)[1]
        films = np.bincount(codes).astype(np.float64)
        correct = np.bincount(codes, weights=right[chosen]).astype(np.float64)
        yield index, float(correct.sum() / films.sum()), effective_number(correct, films)
        least = max(int(called[index]) + 1, math.ceil(called[index] * STEP))


def _mirrored(side: Side) -> Side:
    """Return the absent side with its threshold as a probability."""
    return side if side.threshold is None else replace(side, threshold=-side.threshold)


def _apart(
    side: Side,
    present: float | None,
    right: BoolArray,
    scores: DoubleArray,
    patients: NDArray[np.int64],
    level: float,
) -> Side:
    """Return the absent side without the films that are called present."""
    if side.threshold is None or present is None or side.threshold < present:
        return side
    called = scores < present
    if not called.any():
        return _none(side.wanted, "every film is called present")
    return _shown(present, side.wanted, right[called], patients[called], level)


def _shown(
    threshold: float,
    target: float | None,
    right: BoolArray,
    patients: NDArray[np.int64],
    level: float,
) -> Side:
    """Return a side with the precision of the films [n] that it calls."""
    if not len(right):
        return Side(threshold, target, Estimate(None, reason=NO_CALLS))
    codes = np.unique(patients, return_inverse=True)[1]
    films = np.bincount(codes).astype(np.float64)
    number = effective_number(np.bincount(codes, weights=right).astype(np.float64), films)
    share = float(right.mean())
    bound = Estimate(share, Interval(lower_bound(share, number, level), 1.0))
    return Side(threshold, target, bound, len(right), len(films))


def _none(target: float | None, reason: str) -> Side:
    return Side(None, target, Estimate(None, reason=reason))
