"""Models compared on the same films: paired differences, and p values adjusted for a family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hilum.arrays import DoubleArray
from hilum.metrics.delong import auroc_covariance
from hilum.metrics.estimates import (
    difference,
    macro_patients,
    macro_samples,
    missing_class,
    nothing_scored,
    scored_columns,
    too_few,
)
from hilum.metrics.interval_options import DEFAULTS, IntervalOptions
from hilum.metrics.intervals import NEVER_VARIES, difference_interval, difference_p
from hilum.metrics.resampling import EvaluationLabels, rank_findings, weightings
from hilum.metrics.results import Comparison, Difference


@dataclass(frozen=True)
class Measured:
    """A model's scores, and its measures on the films as they are and in each resample.

    scores   [S, N, F] of S training seeds; a finding that a seed does not call is nan throughout
    samples  AUROC and average precision by name, [1 + R, F], each the mean over the seeds
    """

    scores: DoubleArray
    samples: Mapping[str, DoubleArray]

    @classmethod
    def of(
        cls, labels: EvaluationLabels, scores: ArrayLike, weights: NDArray[np.uint16]
    ) -> Measured:
        """Return a model's measures.

        Args:
            labels: Truth, mask and patients of N films.
            scores: [S, N, F], or [N, F] of one seed.
            weights: [1 + R, P] from ``resampling.weightings``, the same for all models to be
                compared.

        Raises:
            ValueError: The shapes do not fit, or a scored cell of a finding that is called has no
                score.
        """
        values = np.asarray(scores, dtype=np.float64)
        seeds = values[None] if values.ndim == 2 else values
        if seeds.ndim != 3 or seeds.shape[1:] != labels.truth.shape or not seeds.size:
            raise ValueError(
                f"truth {labels.truth.shape} and scores {values.shape} do not fit, or there is no film"
            )
        return cls(seeds, rank_findings(labels, seeds, weights))


def compare_models(
    labels: EvaluationLabels,
    first: ArrayLike,
    second: ArrayLike,
    findings: Sequence[str],
    options: IntervalOptions = DEFAULTS,
) -> Comparison:
    """Return first minus second, both [N, F] or [S, N, F] scores of the same films.

    The findings of the one comparison are a family of their own. Other arguments and errors as
    ``summary.evaluate_findings``.
    """
    if labels.truth.shape[1] != len(findings):
        raise ValueError(f"{len(findings)} findings and truth {labels.truth.shape} do not fit")
    weights = weightings(labels, options.resamples, options.seed)
    both = Measured.of(labels, first, weights), Measured.of(labels, second, weights)
    return in_families([compare(labels, *both, findings, options)])[0]


def compare(
    labels: EvaluationLabels,
    first: Measured,
    second: Measured,
    findings: Sequence[str],
    options: IntervalOptions = DEFAULTS,
) -> Comparison:
    """Return first minus second over the findings that both call, not yet adjusted for a family.

    Macro means are resampled in pairs; single findings are by clustered DeLong
    (``delong.auroc_covariance``) and tested where they are scored. Arguments as
    ``summary.evaluate_findings``.
    """
    differences = {name: first.samples[name] - second.samples[name] for name in first.samples}
    scored = scored_columns(labels, differences["auroc"][0], options.min_positives)
    return Comparison(
        findings_scored=tuple(findings[column] for column in scored),
        auroc={
            name: _finding(labels, first, second, column, options.level, tested=column in scored)
            for column, name in enumerate(findings)
        },
        auroc_macro=_macro(labels, differences["auroc"], scored, options),
        average_precision_macro=_macro(labels, differences["average_precision"], scored, options),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values adjusted for their number by the step-down procedure of Holm 1979 (Scand J Statist 6:65).

    Below 5 %, the probability of any false positive in the whole family is at most 5 %, whatever
    the dependence of its tests.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def in_families(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Return the comparisons with adjusted p values.

    The macro AUROC of all are one family, their macro average precision another, and all single
    findings that were tested, over comparisons and findings, a third.
    """
    areas = family([comparison.auroc_macro for comparison in comparisons])
    precisions = family([comparison.average_precision_macro for comparison in comparisons])
    singles = iter(family([one for comparison in comparisons for one in comparison.auroc.values()]))
    return [
        replace(
            comparison,
            auroc_macro=area,
            average_precision_macro=precision,
            auroc={name: next(singles) for name in comparison.auroc},
        )
        for comparison, area, precision in zip(comparisons, areas, precisions, strict=True)
    ]


def family(differences: Sequence[Difference]) -> list[Difference]:
    """Return differences with p values adjusted for all among them that were tested; the others unchanged."""
    adjusted = iter(holm([one.p for one in differences if one.p is not None]))
    return [one if one.p is None else replace(one, p_holm=next(adjusted)) for one in differences]


def _macro(
    labels: EvaluationLabels, samples: DoubleArray, scored: Sequence[int], options: IntervalOptions
) -> Difference:
    if not scored:
        return Difference(None, reason=nothing_scored(options.min_positives))
    patients, lone = macro_patients(labels, samples, scored), too_few(labels, scored)
    means = macro_samples(samples, scored)
    return difference(means, options.level, no_interval=lone, patients=patients)


def _finding(
    labels: EvaluationLabels,
    first: Measured,
    second: Measured,
    column: int,
    level: float,
    tested: bool,
) -> Difference:
    value = float(first.samples["auroc"][0, column] - second.samples["auroc"][0, column])
    if np.isnan(value):
        return Difference(None, reason=missing_class(labels, column) or "not called by both")
    lone = too_few(labels, [column])
    if lone is not None:
        return Difference(value, reason=lone)
    scored = labels.mask[:, column]
    models = [model.scores[:, scored, column] for model in (first, second)]
    delong = auroc_covariance(labels.truth[scored, column], models, labels.patients[scored])
    _, error = delong.difference(0, 1)
    ends = difference_interval(value, error, delong.patients, level)
    p = difference_p(value, error, delong.patients) if tested else None
    return Difference(value, ends, reason=None if ends else NEVER_VARIES, p=p)
