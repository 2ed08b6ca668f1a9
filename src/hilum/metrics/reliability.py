"""Reliability: observed against predicted probability in bins of films, and the error by chance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from hilum.arrays import BoolArray, DoubleArray
from hilum.metrics.calibration import Calibration, uncalibrated
from hilum.metrics.ranking import checked

BINS = 15
LEAST_IN_BIN = 20
"""Films a bin: with fewer the observed fraction has steps too coarse to compare with a
probability."""
NOT_FITTED = (
    "not calibrated: too few validation films with the finding or without it, or not asked for"
)


class Bin(NamedTuple):
    """Films of neighbouring probabilities."""

    predicted: float
    """Their mean probability."""
    observed: float
    """The fraction of them that has the finding."""
    films: int


@dataclass(frozen=True)
class FindingReliability:
    """Calibration of one finding's probabilities; None where no film is scored, with the reason."""

    ece: float | None
    """Expected calibration error."""
    ece_by_chance: float | None
    """What perfect probabilities would show on as many films."""
    brier: float | None
    ece_raw: float | None
    """As the network gave them, before it was calibrated."""
    brier_raw: float | None
    calibration: Calibration | None
    bins: tuple[Bin, ...]
    reason: str | None

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "ece": self.ece,
            "ece_by_chance": self.ece_by_chance,
            "brier": self.brier,
            "ece_raw": self.ece_raw,
            "brier_raw": self.brier_raw,
            "temperature": None if self.calibration is None else self.calibration.temperature,
            "shift": None if self.calibration is None else self.calibration.shift,
            "reliability": [each._asdict() for each in self.bins],
            "reason": self.reason,
        }


@dataclass(frozen=True)
class Reliability:
    """Calibration of all findings; the means are over those that are scored, None where none is."""

    findings: Mapping[str, FindingReliability]
    findings_scored: tuple[str, ...]

    def mean(self, measure: str) -> float | None:
        """Return the mean of a measure, by its name in ``FindingReliability``, over the scored findings."""
        values = [getattr(self.findings[name], measure) for name in self.findings_scored]
        return math.fsum(values) / len(values) if values else None

    def worsened(self) -> str | None:
        """Return a line where calibration raised the mean ECE of the calibrated findings, else None."""
        errors = {
            name: (finding.ece_raw, finding.ece)
            for name, finding in self.findings.items()
            if finding.calibration is not None
            and finding.ece is not None
            and finding.ece_raw is not None
        }
        raw, after = (
            (math.fsum(column) for column in zip(*errors.values(), strict=True))
            if errors
            else (0.0, 0.0)
        )
        if after <= raw:
            return None
        worse = [name for name, (before, now) in errors.items() if now > before]
        return (
            "calibration made the probabilities worse on these films: mean calibration error (ECE) "
            f"{raw / len(errors):.3f} before, {after / len(errors):.3f} after, worse for {len(worse)} of "
            f"{len(errors)} calibrated findings ({', '.join(worse)})"
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        means = ("ece", "ece_by_chance", "brier", "ece_raw", "brier_raw")
        return {
            "bins": BINS,
            **{f"{name}_mean": self.mean(name) for name in means},
            "findings_scored": list(self.findings_scored),
            "findings": {name: finding.to_json() for name, finding in self.findings.items()},
        }


def finding_reliability(
    truth: ArrayLike, probabilities: ArrayLike, calibration: Calibration | None
) -> FindingReliability:
    """Return the reliability of one finding's probabilities [N], calibrated and before."""
    after, before = (
        np.asarray(probabilities, dtype=np.float64),
        uncalibrated(probabilities, calibration),
    )
    bins, raw_bins = reliability(truth, after), reliability(truth, before)
    if not bins:
        return FindingReliability(
            None, None, None, None, None, calibration, (), "no scored label in this split"
        )
    return FindingReliability(
        ece=expected_calibration_error(bins),
        ece_by_chance=error_by_chance(bins),
        brier=brier_score(truth, after),
        ece_raw=expected_calibration_error(raw_bins),
        brier_raw=brier_score(truth, before),
        calibration=calibration,
        bins=bins,
        reason=NOT_FITTED if calibration is None else None,
    )


def reliability(truth: ArrayLike, probabilities: ArrayLike, bins: int = BINS) -> tuple[Bin, ...]:
    """Return films in bins of equal mass by their probability, from the lowest.

    There are fewer bins where one would have fewer than LEAST_IN_BIN films, or where films share a
    probability: those are in one bin. The edges are scikit-learn's
    (``calibration_curve(strategy="quantile")``).

    Args:
        truth: [N], 1 present and 0 absent.
        probabilities: [N], 0 to 1.
        bins: At most.

    Raises:
        ValueError: As ``ranking.auroc``; a probability is outside 0 to 1; ``bins`` is below 1.
    """
    present, values = _checked_probabilities(truth, probabilities)
    if bins < 1:
        raise ValueError(f"{bins} bins: at least 1 is needed")
    if not len(values):
        return ()
    count = max(1, min(bins, len(values) // LEAST_IN_BIN))
    edges = np.percentile(values, np.linspace(0.0, 1.0, count + 1)[1:-1] * 100)
    indices = np.searchsorted(edges, values)
    films = np.bincount(indices, minlength=count)
    predicted, observed = (
        np.bincount(indices, weights=of, minlength=count) for of in (values, present)
    )
    return tuple(
        Bin(
            float(predicted[index] / films[index]),
            float(observed[index] / films[index]),
            int(films[index]),
        )
        for index in np.flatnonzero(films)
    )


def expected_calibration_error(bins: Sequence[Bin]) -> float:
    """Return the mean distance of predicted and observed over bins, by their films; nan without a film.

    It is never 0, and too high where films are few: chance alone moves the observed fraction of
    every bin, and distances do not cancel. Compare it with ``error_by_chance`` of the same bins.

    Source: Naeini 2015 (ECE), with bins of equal mass as Nixon 2019 (arXiv 1904.01685) advises.
    """
    films = sum(each.films for each in bins)
    return (
        sum(each.films * abs(each.predicted - each.observed) for each in bins) / films
        if films
        else math.nan
    )


def error_by_chance(bins: Sequence[Bin]) -> float:
    """Return the ECE that perfect probabilities would show in such bins; nan without a film.

    The positives of a bin are then binomial; de Moivre gave their mean distance from the mean.
    """
    films = sum(each.films for each in bins)
    return (
        sum(_mean_deviation(each.films, each.predicted) for each in bins) / films
        if films
        else math.nan
    )


def brier_score(truth: ArrayLike, probabilities: ArrayLike) -> float:
    """Return the mean squared distance of probability and truth (Brier 1950), 0 to 1; nan without a film.

    Predicting the prevalence p for every film scores ``p * (1 - p)``, so rare findings score low
    by themselves.
    """
    present, values = _checked_probabilities(truth, probabilities)
    return float(np.mean((values - present) ** 2)) if len(values) else math.nan


def _mean_deviation(films: int, chance: float) -> float:
    """E|X - E X| of a binomial (de Moivre 1730; Diaconis and Zabell 1991)."""
    if not 0.0 < chance < 1.0:
        return 0.0
    above = min(math.floor(films * chance) + 1, films)
    ways = math.lgamma(films + 1) - math.lgamma(above + 1) - math.lgamma(films - above + 1)
    return (
        2
        * above
        * math.exp(ways + above * math.log(chance) + (films - above + 1) * math.log1p(-chance))
    )


def _checked_probabilities(
    truth: ArrayLike, probabilities: ArrayLike
) -> tuple[BoolArray, DoubleArray]:
    present, values = checked(truth, probabilities)
    if ((values < 0) | (values > 1)).any():
        raise ValueError("a probability lies outside 0 to 1: these are logits, or percent")
    return present, values
