"""Operating points: thresholds by several rules, and the confusion matrix at each.

A rule is a word: ``youden`` (the largest sensitivity + specificity), ``sensitivity 0.9`` (at least
that, then as few calls as possible: to miss little) or ``specificity 0.9`` (at least that, and
then as many calls as possible: few false positives). Thresholds are chosen on validation films; on
others the promised value is met on average only, and hardly with few positives: so it is measured
there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hilum.arrays import BoolArray, DoubleArray
from hilum.metrics.estimates import (
    estimate,
    patients_by_class,
    patients_called,
    too_few,
    too_few_called,
)
from hilum.metrics.intervals import Interval
from hilum.metrics.ranking import checked
from hilum.metrics.resampling import EvaluationLabels
from hilum.metrics.results import Estimate
from hilum.metrics.thresholds import Confusion, best_threshold, called_measures, possible_cuts

RULES = ("youden", "sensitivity 0.9", "specificity 0.9")
"""Rules by which thresholds are chosen when a model is made."""
NOBODY, EVERYBODY = "no film is called at this threshold", "every film is called at this threshold"


@dataclass(frozen=True)
class OperatingPoint:
    """The calls at one threshold of one finding."""

    rule: str
    threshold: float
    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int
    sensitivity: Estimate
    specificity: Estimate
    precision: Estimate
    """Fraction of the called films that have the finding, among these films."""
    prevalence: float | None
    """Prevalence where the model will be used; None where it was not given."""
    ppv_at_prevalence: Estimate | None
    """Positive predictive value at that prevalence."""
    npv_at_prevalence: Estimate | None
    """Negative predictive value at that prevalence."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            name: value.to_json() if isinstance(value, Estimate) else value
            for name, value in vars(self).items()
        }


def choose_threshold(truth: ArrayLike, scores: ArrayLike, rule: str) -> float | None:
    """Return the threshold that a rule chooses on these films, at or above which a score counts as present.

    Args:
        truth: [N], 1 present and 0 absent.
        scores: [N].
        rule: Such as those of RULES.

    Returns: The threshold, halfway between two neighbouring scores; None where a class is missing,
        or where already the highest score is shared by too many films without the finding for that
        specificity.

    Raises:
        ValueError: There is no such rule, or as ``ranking.auroc``.

    >>> choose_threshold([0, 1, 0, 1], [0.1, 0.2, 0.6, 0.9], "sensitivity 0.5")
    0.75
    """
    word, least = _rule(rule)
    present, values = checked(truth, scores)
    if present.all() or not present.any():
        return None
    if word == "youden":
        return best_threshold(present, values)
    cuts, positives, negatives = possible_cuts(present, values), present.sum(), (~present).sum()
    if word == "sensitivity":
        return cuts.threshold(int(np.argmax(cuts.hits >= _enough(least, positives))))
    served = np.flatnonzero(negatives - cuts.false_positives >= _enough(least, negatives))
    return cuts.threshold(int(served[-1])) if len(served) else None


def choose_thresholds(
    truth: ArrayLike, scores: ArrayLike, rules: Sequence[str] = RULES
) -> dict[str, float | None]:
    """Return ``choose_threshold`` of each rule by its name, for one finding."""
    return {rule: choose_threshold(truth, scores, rule) for rule in rules}


def operating_points(
    labels: EvaluationLabels,
    scores: ArrayLike,
    thresholds: Sequence[Mapping[str, float | None]],
    weights: NDArray[np.uint16],
    prevalence: float | None = None,
    level: float = 0.95,
) -> list[tuple[OperatingPoint, ...]]:
    """Return the operating points of each finding, with intervals over patients.

    Args:
        labels: Truth, mask and patients of N films.
        scores: [N, F].
        thresholds: [F], rule -> threshold; None leaves the rule out.
        weights: [1 + R, P], from ``resampling.weightings``.
        prevalence: For the predictive values, above 0 and below 1; None leaves them out.
        level: Of the intervals.

    Raises:
        ValueError: The prevalence is not between 0 and 1.
    """
    if prevalence is not None and not 0 < prevalence < 1:
        raise ValueError(f"prevalence is {prevalence}: allowed is above 0 and below 1")
    kept = [{rule: cut for rule, cut in cuts.items() if cut is not None} for cuts in thresholds]
    values = np.asarray(scores, dtype=np.float64)
    totals = _resampled(labels, values, kept, weights)
    return [
        tuple(
            _point(
                rule,
                cut,
                cells,
                prevalence,
                _Stating.of(labels, finding, level, values[:, finding], cut),
            )
            for (rule, cut), cells in zip(cuts.items(), totals[finding], strict=True)
        )
        for finding, cuts in enumerate(kept)
    ]


def predictive_values(
    sensitivity: ArrayLike, specificity: ArrayLike, prevalence: float
) -> tuple[DoubleArray, DoubleArray]:
    """Return the positive and negative predictive value by Bayes' rule, nan where nothing is called, or all is.

    >>> predictive_values(0.9, 0.9, 0.1)[0].round(3)
    np.float64(0.5)
    """
    right, wrong = (
        np.asarray(sensitivity, dtype=np.float64),
        1.0 - np.asarray(specificity, dtype=np.float64),
    )
    called = right * prevalence + wrong * (1 - prevalence)
    spared = (1 - right) * prevalence + (1 - wrong) * (
        1 - prevalence
    )  # not 1 - called: 1 must come out as 1
    with np.errstate(invalid="ignore", divide="ignore"):
        return right * prevalence / called, (1 - wrong) * (1 - prevalence) / spared


def _rule(rule: str) -> tuple[str, float]:
    word, _, share = rule.partition(" ")
    if rule == "youden":
        return word, 0.0
    try:
        least = float(share)
    except ValueError:
        least = 0.0
    if word not in ("sensitivity", "specificity") or not 0 < least <= 1:
        raise ValueError(
            f"no rule is called {rule!r}: allowed are youden, sensitivity S and specificity S, S up to 1"
        )
    return word, least


def _enough(share: float, films: int) -> int:
    """Return the fewest films that are this fraction of them; 0.9 of 10 is 9 despite rounding."""
    return int(np.ceil(share * films - 1e-9))


def _resampled(
    labels: EvaluationLabels,
    scores: DoubleArray,
    thresholds: Sequence[Mapping[str, float]],
    weights: NDArray[np.uint16],
) -> list[list[Confusion]]:
    """Count each patient's films once for all thresholds; all resamples are then one matrix product."""
    columns = [
        np.bincount(labels.patients[cell], minlength=labels.patient_count)
        for finding, cuts in enumerate(thresholds)
        for cell in _cells(labels, finding, scores[:, finding], list(cuts.values()))
    ]
    counts = np.stack(columns, axis=1).astype(np.float64)  # [P, K]
    blocks = [
        weights[start : start + 256].astype(np.float64) @ counts
        for start in range(0, len(weights), 256)
    ]
    totals = iter(np.concatenate(blocks).T)  # K times [1 + R]
    found = []
    for cuts in thresholds:
        positives, negatives = next(totals), next(totals)
        called = [(next(totals), next(totals)) for _ in cuts]
        found.append(
            [Confusion(true, false, positives - true, negatives - false) for true, false in called]
        )
    return found


def _cells(
    labels: EvaluationLabels, finding: int, scores: DoubleArray, cuts: Sequence[float]
) -> list[BoolArray]:
    """Return which films are positive and negative, and of each those called at every cut."""
    scored, has = labels.mask[:, finding], labels.truth[:, finding] == 1
    both = [scored & has, scored & ~has]
    return both + [films & (scores >= cut) for cut in cuts for films in both]


class _Stating(NamedTuple):
    """Turns the measures of one finding into estimates."""

    level: float
    present: int
    """Patients with the finding."""
    absent: int
    """Patients without it."""
    called: int
    """Patients who are called."""
    too_few: str | None

    @staticmethod
    def of(
        labels: EvaluationLabels, finding: int, level: float, scores: DoubleArray, threshold: float
    ) -> _Stating:
        called = patients_called(labels, finding, scores, threshold)
        return _Stating(
            level, *patients_by_class(labels, finding), called, too_few(labels, [finding])
        )

    def proportion(self, samples: DoubleArray, undefined: str, patients: int) -> Estimate:
        """Return the estimate of a proportion that rests on so many patients."""
        return estimate(samples, self.level, undefined, self.too_few, patients)

    def precision(self, samples: DoubleArray) -> Estimate:
        """Return that of precision, which rests on the patients called, however many have the finding."""
        rests_on = min(self.present, self.absent, self.called)
        return estimate(
            samples, self.level, NOBODY, self.too_few or too_few_called(self.called), rests_on
        )

    def predictive(
        self, samples: DoubleArray, undefined: str, low: DoubleArray, high: DoubleArray
    ) -> Estimate:
        """Return that of a predictive value.

        A value of 0 or 1 is the same in every resample: its interval is from ``low`` to ``high``,
        the predictive values at the ends of the intervals of sensitivity and specificity.
        """
        value = self.proportion(samples, undefined, min(self.present, self.absent))
        if value.interval is None or value.value not in (0.0, 1.0):
            return value
        return replace(value, interval=Interval(float(low), float(high)))


def _point(
    rule: str, threshold: float, cells: Confusion, prevalence: float | None, stating: _Stating
) -> OperatingPoint:
    shares = called_measures(cells)
    sensitivity = stating.proportion(
        shares["recall"], "no positives in this split", stating.present
    )
    specificity = stating.proportion(
        shares["specificity"], "no negatives in this split", stating.absent
    )
    positive = negative = None
    if prevalence is not None:
        chances = predictive_values(shares["recall"], shares["specificity"], prevalence)
        ends = zip(
            sensitivity.interval or (np.nan, np.nan),
            specificity.interval or (np.nan, np.nan),
            strict=True,
        )
        low, high = (predictive_values(*end, prevalence) for end in ends)
        positive, negative = map(stating.predictive, chances, (NOBODY, EVERYBODY), low, high)
    return OperatingPoint(
        rule,
        threshold,
        true_positives=int(cells.true_positives[0]),
        false_positives=int(cells.false_positives[0]),
        false_negatives=int(cells.false_negatives[0]),
        true_negatives=int(cells.true_negatives[0]),
        sensitivity=sensitivity,
        specificity=specificity,
        precision=stating.precision(shares["precision"]),
        prevalence=prevalence,
        ppv_at_prevalence=positive,
        npv_at_prevalence=negative,
    )
