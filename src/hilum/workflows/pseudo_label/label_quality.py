"""The quality of a round's labels: number, precision, and agreement of its model with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hilum.arrays import BoolArray, FloatArray
from hilum.bundle.predictor import Predictor
from hilum.images.films import Films
from hilum.listener import Listener
from hilum.metrics.interval_options import IntervalOptions
from hilum.metrics.precision_thresholds import Cut
from hilum.metrics.proportions import share_right
from hilum.metrics.resampling import EvaluationLabels
from hilum.metrics.results import Estimate
from hilum.metrics.summary import evaluate_findings
from hilum.workflows.data.subsets import truth_of
from hilum.workflows.pseudo_label.record import Agreement, FindingRound, Sides

RESAMPLES, MIN_POSITIVES = 1000, 20
"""Of the agreement: resamples behind its interval, and positive patients that a finding needs in
its means."""
UNKNOWN = "no label of a film whose truth is known"


@dataclass(frozen=True)
class Added:
    """The labels that a round added."""

    films: Films
    findings: tuple[str, ...]
    """F findings of the model that labels."""
    open: BoolArray
    """[N, F] of all films: the cells that no label counts for, and that may get one."""
    called: FloatArray
    """[N, F] of all films: 1 labelled present, 0 labelled absent, NaN not labelled."""

    @property
    def rows(self) -> NDArray[np.int64]:
        """The films with at least one added label."""
        return np.flatnonzero((~np.isnan(self.called)).any(axis=1)).astype(np.int64)

    def truth(self, unstated: str) -> tuple[FloatArray, BoolArray]:
        """Return the truth [N, F] of open cells, and where labels unused in training tell it."""
        columns = [self.films.findings.index(name) for name in self.findings]
        truth, known = truth_of(self.films, np.arange(len(self.films), dtype=np.int64), unstated)
        return truth[:, columns], known[:, columns] & self.open


def finding_rounds(added: Added, cuts: Mapping[str, Cut], unstated: str) -> dict[str, FindingRound]:
    """Return a round's labels of each finding, and their precision by labels that no training used.

    Args:
        added: The labels.
        cuts: The thresholds they were called by.
        unstated: What a finding that is not mentioned counts as, as in the training.
    """
    truth, known = added.truth(unstated)
    rounds = {}
    for f, name in enumerate(added.findings):
        cut, called = cuts[name], added.called[:, f]
        present, absent = called == 1, called == 0
        reference = _Truth(added.films, truth[:, f], known[:, f])
        rounds[name] = FindingRound(
            present=int(present.sum()),
            absent=int(absent.sum()),
            abstained=int((added.open[:, f] & np.isnan(called)).sum()),
            cut=Sides(cut.present, cut.absent),
            reason=cut.reason,
            wanted=Sides(cut.present_side.wanted, cut.absent_side.wanted),
            validation_precision=Sides(cut.present_side.precision, cut.absent_side.precision),
            real_precision=Sides(reference.right(present, 1), reference.right(absent, 0)),
            truth_films=int(((present | absent) & reference.known).sum()),
        )
    return rounds


def mean_precision(findings: Mapping[str, FindingRound]) -> Sides[float | None]:
    """Return the mean over the findings with labels whose truth is known, None where there is none."""
    sides = [finding.real_precision for finding in findings.values()]
    return Sides(_mean([side.present for side in sides]), _mean([side.absent for side in sides]))


def agreement(added: Added, model: Predictor, listener: Listener) -> Agreement:
    """Return how a round's model agrees with its training labels, at its validation thresholds."""
    rows = added.rows
    scores = model.score_films(
        added.films, rows, lambda done, total: listener.progress("compare", done, total)
    )
    columns = [model.findings.index(name) for name in added.findings]
    called = added.called[rows]
    thresholds = [model.description.thresholds.get(name) for name in added.findings]
    patients, mask = added.films.patient_codes[rows], ~np.isnan(called)
    labels = EvaluationLabels.of(np.nan_to_num(called), mask, patients)
    options = IntervalOptions(resamples=RESAMPLES, min_positives=MIN_POSITIVES)
    result = evaluate_findings(labels, scores[:, columns], added.findings, thresholds, options)
    # Means over the findings that the mean AUROC is over.
    scored = [finding for finding in result.findings if finding.name in result.findings_scored]
    precision, recall, accuracy = (
        _mean([finding.measures[measure] for finding in scored])
        for measure in ("precision", "recall", "accuracy")
    )
    return Agreement(len(rows), result.auroc_macro, precision, recall, accuracy)


@dataclass(frozen=True)
class _Truth:
    """The truth of one finding on all films [N], and where it is known."""

    films: Films
    present: FloatArray
    known: BoolArray

    def right(self, labelled: BoolArray, side: float) -> Estimate | None:
        """Return the fraction of films labelled one way that are so, None where none is known."""
        seen = labelled & self.known
        if not seen.any():
            return None
        return share_right(
            self.present[seen] == side, self.films.patient_codes[seen], nothing=UNKNOWN
        )


def _mean(estimates: Sequence[Estimate | None]) -> float | None:
    known = [mean.value for mean in estimates if mean is not None and mean.value is not None]
    return float(np.mean(known)) if known else None
