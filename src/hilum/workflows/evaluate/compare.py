"""Comparison: which of two fine-tuned runs reads the same films better, resampled in pairs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hilum.bundle.model_folder import WEIGHTS, described
from hilum.errors import RunError
from hilum.files import sha256, write_json
from hilum.findings import positions
from hilum.listener import SILENT, Listener
from hilum.metrics.comparisons import compare_models
from hilum.metrics.estimates import patients_by_class
from hilum.metrics.ranking import auroc
from hilum.metrics.resampling import Judged
from hilum.metrics.results import Comparison, Difference
from hilum.options import as_path
from hilum.training.run_folder import METRICS, MODEL, read_metrics
from hilum.workflows.evaluate.details import ScoredFilms
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
        """Return plain values for JSON: the first evaluation, and under ``against`` the second and the difference."""
        return {
            **self.first.to_json(),
            "against": {**self.second.to_json(), "difference": self.difference_json()},
        }

    def difference_json(self) -> dict[str, Any]:
        """Return the comparison as plain values; ``metrics.json`` keeps it, see ``record_comparison``."""
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
    """Measure two runs, and return the first one's AUROC minus the second's with intervals over patients.

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
    _refuse_other_truths(first, second, options)
    mine, other = (evaluate(run, options, listener) for run in (first, second))
    places = enumerate(positions(mine.judged.findings, other.judged.findings))
    shared = [(place, theirs) for place, theirs in places if theirs is not None]
    if not shared:
        raise RunError(
            f"{first} and {second} call no finding that both and the store have: nothing to compare."
        )
    rows = mine.judged.catalog.index.intersection(
        other.judged.catalog.index
    )  # films that one has seen are left out
    if not len(rows):
        raise RunError(
            f"{first} and {second} were trained on every film of {options.split!r} between them: give another --split."
        )
    columns, others_columns = zip(*shared, strict=True)
    cells, others = _cells(mine.judged, rows, columns), _cells(other.judged, rows, others_columns)
    truth, counts = mine.judged.truth[cells], mine.judged.counts[cells]
    scores = mine.judged.scores[cells], other.judged.scores[others]
    patients = mine.judged.patients[cells[0].ravel()]
    names = [mine.judged.findings[column] for column in columns]
    difference = compare_models(
        truth,
        counts,
        *scores,
        patients,
        names,
        options.resamples,
        options.seed,
        options.min_positives,
    )
    labels, findings = Judged.of(truth, counts, patients), {}
    for column, name in enumerate(names):
        scored = counts[:, column]
        ours, theirs = (_known(auroc(truth[scored, column], of[scored, column])) for of in scores)
        present, _ = patients_by_class(labels, column)
        findings[name] = FindingComparison(present, ours, theirs, difference.auroc[name])
    same = len({sha256(run / MODEL / WEIGHTS) for run in (first, second)}) == 1
    result = CompareResult(mine, other, len(rows), labels.patient_count, same, difference, findings)
    record_comparison(first, second, result)
    return result


def record_comparison(first: Path, second: Path, result: CompareResult) -> None:
    """Keep a comparison in the first run's ``metrics.json``.

    Its key is ``comparisons``, then the evaluation's name, such as ``test``, then the second run's
    folder name: a later comparison with a run of that name replaces it.
    """
    metrics = read_metrics(first)
    of_split = metrics.setdefault("comparisons", {}).setdefault(result.first.name, {})
    of_split[second.resolve().name] = result.difference_json()
    write_json(first / METRICS, metrics)


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison as plain values."""
    return {
        "auroc_macro": comparison.auroc_macro.to_json(),
        "average_precision_macro": comparison.average_precision_macro.to_json(),
        "auroc": {name: estimate.to_json() for name, estimate in comparison.auroc.items()},
        "findings_scored": list(comparison.findings_scored),
    }


def _refuse_other_truths(first: Path, second: Path, options: EvaluateOptions) -> None:
    """Raise a RunError unless it is clear what a finding that is not mentioned counts as."""
    mine, other = (described(run).unstated for run in (first, second))
    if options.unstated is None and mine != other:
        raise RunError(
            f"{first} was trained with what is not mentioned as {mine!r}, {second} as {other!r}: "
            "say which counts here by --unstated, absent or ignore."
        )


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _cells(
    films: ScoredFilms, rows: pd.Index, columns: Sequence[int]
) -> tuple[NDArray[np.int64], ...]:
    """Return where the cells of some rows of the store and some columns are, as an index [n, F]."""
    return np.ix_(films.catalog.index.get_indexer(rows), np.array(columns))
