"""Comparison: which of two fine-tuned runs reads the same films better, resampled in pairs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hilum.arrays import FloatArray
from hilum.bundle.model_folder import WEIGHTS, described
from hilum.errors import RunError
from hilum.files import sha256
from hilum.findings import positions
from hilum.listener import SILENT, Listener
from hilum.metrics.comparisons import compare_models
from hilum.metrics.estimates import patients_by_class
from hilum.metrics.ranking import auroc
from hilum.metrics.resampling import EvaluationLabels
from hilum.metrics.results import Comparison, Difference
from hilum.options import as_path
from hilum.training.run_folder import MODEL, changed_metrics
from hilum.workflows.evaluate.evaluate import EvaluateResult, evaluate
from hilum.workflows.evaluate.options import EvaluateOptions


@dataclass(frozen=True)
class FindingComparison:
    """Both models' AUROC of one finding on the same films, and the difference."""

    positive_patients: int
    first: float | None
    second: float | None
    """None where a class is missing."""
    difference: Difference
    """First minus second; tested where the finding has enough positive patients."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**vars(self), "difference": self.difference.to_json()}


@dataclass(frozen=True)
class CompareResult:
    """Two evaluations, and the first run's measures minus the second's on the films of both."""

    first: EvaluateResult
    second: EvaluateResult
    films: int
    """That both were measured on."""
    patients: int
    """Their patients."""
    same: bool
    """Whether both are one model, as where no round of pseudo-labels was kept."""
    difference: Comparison
    findings: Mapping[str, FindingComparison]

    def to_json(self) -> dict[str, Any]:
        """Return plain values: the first evaluation; ``against``, the second and the difference."""
        return {
            **self.first.to_json(),
            "against": {**self.second.to_json(), "difference": self.difference_json()},
        }

    def difference_json(self) -> dict[str, Any]:
        """Return the comparison as plain values, as ``metrics.json`` keeps it."""
        return {
            "films": self.films,
            "patients": self.patients,
            "same_model": self.same,
            **comparison_json(self.difference),
            "findings": {name: finding.to_json() for name, finding in self.findings.items()},
            "min_positives": self.first.evaluation.min_positives,
            "level": self.first.evaluation.level,
        }


def compare(
    first: str | Path, second: str | Path, options: EvaluateOptions, listener: Listener = SILENT
) -> CompareResult:
    """Measure two runs and return the first's AUROC minus the second's, with intervals.

    Args:
        first: Run folder.
        second: The other one.
        options: Of both evaluations.
        listener: Hears progress.

    Raises:
        RunError: The two took what is not mentioned otherwise and the options do not say which
            counts, they call no finding that both and the store have, or no film is left that
            neither was trained on.
        HilumError: As ``evaluate``.
    """
    first, second = as_path("first", first), as_path("second", second)
    unstated = [described(run).unstated for run in (first, second)]
    if options.unstated is None and unstated[0] != unstated[1]:
        raise RunError(
            f"{first} was trained with what is not mentioned as {unstated[0]!r}, "
            f"{second} as {unstated[1]!r}: say which counts here by --unstated, absent or ignore."
        )
    mine, other = (evaluate(run, options, listener) for run in (first, second))

    films, other_films = mine.films, other.films
    matches = enumerate(positions(films.findings, other_films.findings))
    shared = [(column, theirs) for column, theirs in matches if theirs is not None]
    if not shared:
        raise RunError(
            f"{first} and {second} call no finding that both and the store have: nothing to compare."
        )
    # Films that either run was trained on are left out of its own evaluation.
    rows = films.catalog.index.intersection(other_films.catalog.index)
    if not len(rows):
        raise RunError(
            f"{first} and {second} were trained on every film of {options.split!r} between them: "
            "give another --split."
        )
    columns, other_columns = map(np.array, zip(*shared, strict=True))
    cells = np.ix_(films.catalog.index.get_indexer(rows), columns)  # [n, F]
    other_cells = np.ix_(other_films.catalog.index.get_indexer(rows), other_columns)
    labels = EvaluationLabels.of(
        films.truth[cells], films.counts[cells], films.patients[cells[0].ravel()]
    )
    scores = films.scores[cells], other_films.scores[other_cells]
    names = [films.findings[column] for column in columns]
    difference = compare_models(labels, *scores, names, options.intervals)
    result = CompareResult(
        first=mine,
        second=other,
        films=len(rows),
        patients=labels.patient_count,
        same=len({sha256(run / MODEL / WEIGHTS) for run in (first, second)}) == 1,
        difference=difference,
        findings=_by_finding(labels, scores, difference),
    )
    record_comparison(first, second, result)
    return result


def _by_finding(
    labels: EvaluationLabels, scores: tuple[FloatArray, FloatArray], difference: Comparison
) -> dict[str, FindingComparison]:
    findings = {}
    for column, (name, change) in enumerate(difference.auroc.items()):
        scored = labels.mask[:, column]
        truth = labels.truth[scored, column]
        areas = [auroc(truth, of[scored, column]) for of in scores]
        first, second = (None if math.isnan(area) else area for area in areas)
        present, _ = patients_by_class(labels, column)
        findings[name] = FindingComparison(present, first, second, change)
    return findings


def record_comparison(first: Path, second: Path, result: CompareResult) -> None:
    """Keep a comparison in the first run's ``metrics.json``.

    Its key is ``comparisons``, then the evaluation's name, such as ``test``, then the second run's
    folder name: a later comparison with a run of that name replaces it.
    """
    with changed_metrics(first) as metrics:
        of_split = metrics.setdefault("comparisons", {}).setdefault(result.first.name, {})
        of_split[second.resolve().name] = result.difference_json()


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison as plain values."""
    return {
        "auroc_macro": comparison.auroc_macro.to_json(),
        "average_precision_macro": comparison.average_precision_macro.to_json(),
        "auroc": {name: estimate.to_json() for name, estimate in comparison.auroc.items()},
        "findings_scored": list(comparison.findings_scored),
    }
