"""Every measure of every finding, on the films as they are and on each resample of the patients, in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hilum.metrics.intervals import bootstrap_counts
from hilum.metrics.ranking import checked, measures, rank
from hilum.metrics.thresholds import CALLED_MEASURES, Confusion, called_measures, confusion_cells

MEASURES = ("auroc", "average_precision", *CALLED_MEASURES)


@dataclass(frozen=True)
class Judged:
    """The films and labels that models are judged on.

    truth     [N, F], 1 present and 0 absent; anything where the mask is false
    mask      [N, F] bool, which cells are scored
    patients  [N] codes from 0 to P - 1 without gaps
    """

    truth: NDArray[np.float64]
    mask: NDArray[np.bool_]
    patients: NDArray[np.int64]

    @classmethod
    def of(cls, truth: ArrayLike, mask: ArrayLike, patients: ArrayLike) -> Judged:
        """Return the films with patients, who may be named in any way, as codes.

        Raises:
            ValueError: The shapes do not fit.
        """
        labels, scored = np.asarray(truth, dtype=np.float64), np.asarray(mask) > 0
        codes = np.unique(np.asarray(patients), return_inverse=True)[1].astype(np.int64)
        if labels.ndim != 2 or labels.shape != scored.shape or codes.shape != labels.shape[:1]:
            raise ValueError(
                f"truth and mask must be [N, F] and patients [N], got {labels.shape}, {scored.shape}, {codes.shape}"
            )
        return cls(labels, scored, codes)

    @property
    def patient_count(self) -> int:
        """P, the number of patients."""
        return int(self.patients.max()) + 1 if len(self.patients) else 0


def weightings(judged: Judged, resamples: int, seed: int) -> NDArray[np.uint16]:
    """Return patient weights [1 + resamples, P]: first each patient once, then the resamples."""
    counts = bootstrap_counts(judged.patient_count, resamples, seed)
    return np.concatenate([np.ones_like(counts, shape=(1, judged.patient_count)), counts])


def measure_findings(
    judged: Judged, scores: NDArray[np.float64], thresholds: Sequence[float | None], weights: NDArray[np.uint16]
) -> dict[str, NDArray[np.float64]]:
    """Return each of MEASURES by name, float64 [R, F], nan where undefined or where no threshold is given.

    Args:
        judged: Films and labels.
        scores: [N, F].
        thresholds: [F], None or nan where there is none.
        weights: [R, P] patient weights, from ``weightings``.
    """
    columns = [
        measure_finding(judged, finding, scores[:, finding], threshold, weights)
        for finding, threshold in enumerate(thresholds)
    ]
    return {name: np.stack([column[name] for column in columns], axis=1) for name in MEASURES}


def measure_finding(
    judged: Judged, finding: int, scores: NDArray[np.float64], threshold: float | None, weights: NDArray[np.uint16]
) -> dict[str, NDArray[np.float64]]:
    """Return each of MEASURES of one finding, float64 [R]; arguments as ``measure_findings``, scores [N]."""
    scored = judged.mask[:, finding]
    present, values = checked(judged.truth[scored, finding], scores[scored])
    patients = judged.patients[scored]
    auroc, precision = measures(rank(present, values, patients), weights)
    cells = _resampled_confusion(present, values, patients, threshold, weights)
    return {"auroc": auroc, "average_precision": precision, **called_measures(cells)}


def _resampled_confusion(
    present: NDArray[np.bool_],
    scores: NDArray[np.float64],
    patients: NDArray[np.int64],
    threshold: float | None,
    weights: NDArray[np.uint16],
) -> Confusion:
    """A patient's films are counted once; a resample is then a sum over patients. All 0 without a threshold."""
    if threshold is None or np.isnan(threshold):
        return Confusion(*np.zeros((4, len(weights))))
    cells = confusion_cells(present, scores, threshold)
    counts = np.stack([np.bincount(patients[cell], minlength=weights.shape[1]) for cell in cells], axis=1)
    totals = np.concatenate([block.astype(np.float64) @ counts for block in _row_blocks(weights)])  # [R, 4]
    return Confusion(*totals.T)


def _row_blocks(weights: NDArray[np.uint16], rows: int = 256) -> list[NDArray[np.uint16]]:
    """In blocks, so that the weights never stand in memory as float64 at once."""
    return [weights[start : start + rows] for start in range(0, len(weights), rows)]
