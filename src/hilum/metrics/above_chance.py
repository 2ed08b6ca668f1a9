"""Whether a classifier is shown to have learnt anything: its AUROC's interval against 0.5, chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hilum.metrics.estimates import estimate, macro, missing_class, patients_by_class, too_few
from hilum.metrics.interval_options import IntervalOptions
from hilum.metrics.resampling import EvaluationLabels, rank_findings, weightings
from hilum.metrics.results import Estimate

CHANCE = 0.5
INTERVALS = IntervalOptions(resamples=1000, seed=0, level=0.95, min_positives=2)
NO_FINDING = "no finding has two patients with it and two without"


@dataclass(frozen=True)
class AboveChance:
    """The AUROC of each finding and their mean, with intervals over patients."""

    findings: Mapping[str, Estimate]
    mean: Estimate
    """Over the findings with an interval."""

    @property
    def learnt(self) -> bool:
        """Whether the mean AUROC is shown to be above 0.5."""
        return _is_above(self.mean)

    def reasons(self) -> dict[str, str]:
        """Return why findings are never called, by finding; those that may be called are left out."""
        reasons = {
            name: f"validation AUROC {_why_not(auroc)}"
            for name, auroc in self.findings.items()
            if not _is_above(auroc)
        }
        if self.learnt:
            return reasons
        # Of many findings one is above by chance: without a mean above 0.5 none is called.
        of_model = f"mean validation AUROC {_why_not(self.mean)}"
        return {name: reasons.get(name, of_model) for name in self.findings}

    def notes(self) -> list[str]:
        """Return the lines for the user, of a model that learnt nothing only one."""
        if not self.learnt:
            return [
                "this model is not shown to have learnt anything and calls no finding: "
                f"mean validation AUROC {_why_not(self.mean)}"
            ]
        return [f"{name}: {reason}: it is never called" for name, reason in self.reasons().items()]

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "auroc_macro": self.mean.to_json(),
            "auroc": {name: auroc.to_json() for name, auroc in self.findings.items()},
            "learnt": self.learnt,
            "resamples": INTERVALS.resamples,
            "level": INTERVALS.level,
        }


def above_chance(
    labels: EvaluationLabels, scores: ArrayLike, findings: Sequence[str]
) -> AboveChance:
    """Return each finding's AUROC and their mean on these films, with intervals over patients.

    Args:
        labels: Truth, mask and patients of N films.
        scores: [N, F], higher means more likely present.
        findings: [F] names.
    """
    if not len(labels.truth):
        nothing = Estimate(None, reason="there are no validation films")
        return AboveChance(dict.fromkeys(findings, nothing), nothing)
    values = np.asarray(scores, dtype=np.float64)[None]  # [1, N, F]: one seed
    weights = weightings(labels, INTERVALS.resamples, INTERVALS.seed)
    samples = rank_findings(labels, values, weights)["auroc"]  # [1 + R, F]
    estimates = [
        estimate(
            samples[:, f],
            INTERVALS.level,
            missing_class(labels, f),
            too_few(labels, [f]),
            min(patients_by_class(labels, f)),
        )
        for f in range(len(findings))
    ]
    known = [f for f, auroc in enumerate(estimates) if auroc.interval is not None]
    mean = Estimate(None, reason=NO_FINDING)
    if known:
        mean = macro(labels, samples, known, INTERVALS)
    return AboveChance(dict(zip(findings, estimates, strict=True)), mean)


def _is_above(auroc: Estimate) -> bool:
    return auroc.interval is not None and auroc.interval.low > CHANCE


def _why_not(auroc: Estimate) -> str:
    """Return the value and why it does not show that anything was learnt."""
    if auroc.value is None:
        return f"cannot be computed: {auroc.reason}"
    if auroc.interval is None:
        reason = (auroc.reason or "it was not resampled").removeprefix("no interval: ")
        return f"{auroc.value:.2f} has no interval: {reason}"
    numbers = (auroc.value, *auroc.interval)
    # Two decimals, unless an end beside 0.5 would then read as 0.5 itself.
    digits = 3 if any(f"{n:.2f}" == f"{CHANCE:.2f}" for n in numbers) else 2
    value, low, high = (f"{n:.{digits}f}" for n in numbers)
    return f"{value} ({low} to {high}) is not shown to be above 0.5"
