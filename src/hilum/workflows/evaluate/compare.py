"""Comparison: which of two fine-tuned runs reads the same films better, resampled in pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hilum.bundle.model_folder import WEIGHTS, described
from hilum.errors import RunError
from hilum.files import sha256
from hilum.findings import positions
from hilum.listener import SILENT, Listener
from hilum.metrics.comparisons import compare_models
from hilum.metrics.results import Comparison
from hilum.training.run_folder import MODEL
from hilum.workflows.evaluate.details import ScoredFilms
from hilum.workflows.evaluate.evaluate import EvaluateResult, evaluate
from hilum.workflows.evaluate.options import EvaluateOptions


@dataclass(frozen=True)
class CompareResult:
    """Two evaluations, and the first run's measures minus the second's on the films that both were measured on."""

    first: EvaluateResult
    second: EvaluateResult
    films: int
    """That both were measured on."""
    same: bool
    """Whether both are one model, as where no round of pseudo-labels was kept."""
    difference: Comparison

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON: the first evaluation, and under ``against`` the second and the difference."""
        difference = {
            "films": self.films,
            "same_model": self.same,
            **comparison_json(self.difference),
        }
        return {
            **self.first.to_json(),
            "against": {**self.second.to_json(), "difference": difference},
        }


def compare(
    first: Path, second: Path, options: EvaluateOptions, listener: Listener = SILENT
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
    difference = compare_models(
        mine.judged.truth[cells],
        mine.judged.counts[cells],
        mine.judged.scores[cells],
        other.judged.scores[others],
        mine.judged.patients[cells[0].ravel()],
        [mine.judged.findings[column] for column in columns],
        options.resamples,
        options.seed,
        options.min_positives,
    )
    same = len({sha256(run / MODEL / WEIGHTS) for run in (first, second)}) == 1
    return CompareResult(mine, other, len(rows), same, difference)


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


def _cells(
    films: ScoredFilms, rows: pd.Index, columns: Sequence[int]
) -> tuple[NDArray[np.int64], ...]:
    """Return where the cells of some rows of the store and some columns are, as an index [n, F]."""
    return np.ix_(films.catalog.index.get_indexer(rows), np.array(columns))
