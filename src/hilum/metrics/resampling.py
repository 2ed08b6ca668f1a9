"""Every measure of every finding, on the films as they are and on each resample of the patients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from hilum.arrays import BoolArray, DoubleArray
from hilum.metrics.intervals import bootstrap_counts
from hilum.metrics.ranking import checked, measures, rank, weight_table
from hilum.metrics.thresholds import CALLED_MEASURES, Confusion, called_measures, confusion_cells

RANK_MEASURES = ("auroc", "average_precision")
MEASURES = (*RANK_MEASURES, *CALLED_MEASURES)
THREADS = 2
"""Findings measured side by side, at most: fewer where torch was given fewer threads."""

T = TypeVar("T")


@dataclass(frozen=True)
class EvaluationLabels:
    """The labels of the films that models are evaluated on.

    truth     [N, F], 1 present and 0 absent; anything where the mask is false
    mask      [N, F] bool, which cells are scored
    patients  [N] codes from 0 to P - 1 without gaps
    """

    truth: DoubleArray
    mask: BoolArray
    patients: NDArray[np.int64]

    @classmethod
    def of(cls, truth: ArrayLike, mask: ArrayLike, patients: ArrayLike) -> EvaluationLabels:
        """Return the films with patients, who may be named in any way, as codes.

        Raises:
            ValueError: The shapes do not fit.
        """
        values, scored = np.asarray(truth, dtype=np.float64), np.asarray(mask) > 0
        codes = np.unique(np.asarray(patients), return_inverse=True)[1].astype(np.int64)
        if values.ndim != 2 or values.shape != scored.shape or codes.shape != values.shape[:1]:
            raise ValueError(
                f"truth and mask must be [N, F] and patients [N], got {values.shape}, {scored.shape}, {codes.shape}"
            )
        return cls(values, scored, codes)

    @property
    def patient_count(self) -> int:
        """P, the number of patients."""
        return int(self.patients.max()) + 1 if len(self.patients) else 0


def weightings(labels: EvaluationLabels, resamples: int, seed: int) -> NDArray[np.uint16]:
    """Return patient weights [1 + resamples, P]: first each patient once, then the resamples.

    A patient's weights are contiguous in memory, as ``ranking.measures`` reads them.
    """
    weights = np.ones((labels.patient_count, 1 + resamples), dtype=np.uint16).T
    weights[1:] = bootstrap_counts(labels.patient_count, resamples, seed)
    return weights


def measure_findings(
    labels: EvaluationLabels,
    scores: DoubleArray,
    thresholds: Sequence[float | None],
    weights: NDArray[np.uint16],
) -> dict[str, DoubleArray]:
    """Return each of MEASURES by name, float64 [R, F], nan where undefined or where no threshold is given.

    Args:
        labels: Truth, mask and patients of N films.
        scores: [N, F].
        thresholds: [F], None or nan where there is none.
        weights: [R, P] patient weights, from ``weightings``.
    """

    def measure(finding: int) -> dict[str, DoubleArray]:
        return measure_finding(labels, finding, scores[:, finding], thresholds[finding], weights)

    columns = _in_threads(measure, len(thresholds))
    return {name: np.stack([column[name] for column in columns], axis=1) for name in MEASURES}


def rank_findings(
    labels: EvaluationLabels, scores: DoubleArray, weights: NDArray[np.uint16]
) -> dict[str, DoubleArray]:
    """Return AUROC and average precision of a model of S seeds by name, each the mean over its seeds, [R, F].

    Args:
        labels: Truth, mask and patients of N films.
        scores: [S, N, F]; a finding that a seed does not call is nan for all its films, and so are
            its measures.
        weights: [R, P] patient weights, from ``weightings``.
    """
    uncalled: BoolArray = np.any(np.isnan(scores).all(axis=1), axis=0)  # [F]
    nothing = np.full(len(weights), np.nan), np.full(len(weights), np.nan)

    def measure(finding: int) -> DoubleArray:
        seeds = [_ranked(labels, finding, seed[:, finding], weights) for seed in scores]
        mean: DoubleArray = np.mean(seeds, axis=0)
        return mean

    columns = _in_threads(
        lambda finding: nothing if uncalled[finding] else measure(finding), scores.shape[2]
    )
    return {
        name: np.stack([column[i] for column in columns], axis=1)
        for i, name in enumerate(RANK_MEASURES)
    }


def _in_threads(measure: Callable[[int], T], findings: int) -> list[T]:
    """Run in threads: most of the time is spent where numpy and torch release the GIL."""
    with _one_torch_thread() as before:
        threads = min(THREADS, before, findings)
        if threads < 2:
            return [measure(finding) for finding in range(findings)]
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(measure, range(findings)))


@contextmanager
def _one_torch_thread() -> Iterator[int]:
    """Set torch to one thread, since many small steps would wait for each other; yield its number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield before
    finally:
        torch.set_num_threads(before)


def measure_finding(
    labels: EvaluationLabels,
    finding: int,
    scores: DoubleArray,
    threshold: float | None,
    weights: NDArray[np.uint16],
) -> dict[str, DoubleArray]:
    """Return each of MEASURES of one finding, float64 [R]; arguments as ``measure_findings``, scores [N]."""
    scored = labels.mask[:, finding]
    present, values = checked(labels.truth[scored, finding], scores[scored])
    patients = labels.patients[scored]
    auroc, precision = _ranked(labels, finding, scores, weights)
    cells = _resampled_confusion(present, values, patients, threshold, weights)
    return {"auroc": auroc, "average_precision": precision, **called_measures(cells)}


def _ranked(
    labels: EvaluationLabels, finding: int, scores: DoubleArray, weights: NDArray[np.uint16]
) -> tuple[DoubleArray, DoubleArray]:
    scored = labels.mask[:, finding]
    return measures(
        rank(labels.truth[scored, finding], scores[scored], labels.patients[scored]), weights
    )


def _resampled_confusion(
    present: BoolArray,
    scores: DoubleArray,
    patients: NDArray[np.int64],
    threshold: float | None,
    weights: NDArray[np.uint16],
) -> Confusion:
    """Count each patient's films once; a resample is a sum over patients. All 0 without threshold."""
    if threshold is None or np.isnan(threshold):
        return Confusion(*np.zeros((4, len(weights))))
    cells = confusion_cells(present, scores, threshold)
    counts = [np.bincount(patients[cell], minlength=weights.shape[1]) for cell in cells]
    return Confusion(*resampled_sums(np.stack(counts), weights))


def resampled_sums(of_patients: NDArray[Any], weights: NDArray[np.uint16]) -> DoubleArray:
    """Return sums over the patients of each resample, float64 [K, R].

    Args:
        of_patients: [K, P] whole numbers, what each patient adds to K sums.
        weights: [R, P] patient weights, from ``weightings``.
    """
    counts = torch.from_numpy(of_patients)
    most = int(of_patients.sum(axis=1).max(initial=0))
    tables = (weight_table(block, most) for block in _row_blocks(weights))  # [P, r] each
    return np.concatenate(
        [(counts.to(table) @ table).numpy() for table in tables], axis=1, dtype=np.float64
    )


def _row_blocks(weights: NDArray[np.uint16], rows: int = 256) -> Iterator[NDArray[np.uint16]]:
    """Yield blocks of rows, so that never all weights are in memory as floats at once."""
    for start in range(0, len(weights), rows):
        yield weights[start : start + rows]
