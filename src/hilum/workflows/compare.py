"""Comparison: which of two fine-tuned runs reads the same films better, resampled in pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hilum.bundle.model_folder import described
from hilum.errors import RunError
from hilum.images.films import Films
from hilum.metrics.comparisons import compare_models
from hilum.metrics.results import Comparison
from hilum.workflows.options import EvaluateOptions
from hilum.workflows.parts import Parts, truth_of


def compare(first: Path, second: Path, options: EvaluateOptions) -> Comparison:
    """Return the first run's AUROC minus the second's, with intervals over patients, from their saved predictions.

    Args:
        first: Run folder that `evaluate` measured with these options.
        second: The other one.
        options: Of both evaluations.

    Raises:
        RunError: One of them was not evaluated on these films, or the two took what is not mentioned otherwise and the
            options do not say which counts.
    """
    films = Films.open([options.data])
    rows = Parts.of(films).needed(options.split)
    truth, counts = truth_of(films, rows, options.unstated or _unstated(first, second))
    tables = [saved_scores(run, films, rows, options.split) for run in (first, second)]
    shared = [place for place, name in enumerate(films.findings) if all(name in table for table in tables)]
    if not shared:
        raise RunError(f"{first} and {second} call no finding that both and the store have: nothing to compare.")
    findings = [films.findings[place] for place in shared]
    mine, other = (table[findings].to_numpy(np.float32) for table in tables)
    return compare_models(
        truth[:, shared],
        counts[:, shared],
        mine,
        other,
        films.patient_codes[rows],
        findings,
        options.resamples,
        options.seed,
        options.min_positives,
    )


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison as plain values."""
    return {
        "auroc_macro": comparison.auroc_macro.to_json(),
        "average_precision_macro": comparison.average_precision_macro.to_json(),
        "auroc": {name: estimate.to_json() for name, estimate in comparison.auroc.items()},
        "findings_scored": list(comparison.findings_scored),
    }


def _unstated(first: Path, second: Path) -> str:
    """Return what a finding that is not mentioned counted as in the training of both runs."""
    mine, other = (described(run).unstated for run in (first, second))
    if mine != other:
        raise RunError(
            f"{first} was trained with what is not mentioned as {mine!r}, {second} as {other!r}: "
            "say which counts here by unstated, absent or ignore."
        )
    return mine


def saved_scores(run: Path, films: Films, rows: NDArray[np.int64], split: str) -> pd.DataFrame:
    """Return a run's saved probabilities of these films, one row a film and one column a finding that it calls.

    Raises:
        RunError: It was not evaluated on these films.
    """
    path = run / f"predictions-{split}.parquet"
    remedy = f"run `hilum evaluate {run} --data {films.stores[0].folder} --split {split}`."
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read: {remedy}") from error
    if "path" not in table or list(table["path"]) != list(films.catalog["path"].iloc[rows]):
        raise RunError(f"{path} is of other films: {remedy}")
    return table
