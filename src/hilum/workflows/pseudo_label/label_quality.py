"""What a round's labels are worth: how many, how right where the truth is known, and how its model agrees with them."""

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
from hilum.metrics.results import Estimate, Evaluation
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
        """Return the truth [N, F] of the open cells, and where it is known: labels that no training used."""
        columns = [self.films.findings.index(name) for name in self.findings]
        truth, known = truth_of(self.films, np.arange(len(self.films), dtype=np.int64), unstated)
        return truth[:, columns], known[:, columns] & self.open


def finding_rounds(added: Added, cuts: Mapping[str, Cut], unstated: str) -> dict[str, FindingRound]:
    """Return what a round did for each finding, and how right it was by the labels that no training used.

    Args:
        added: The labels.
        cuts: The thresholds they were called by.
        unstated: What a finding that is not mentioned counts as, as in the training.
    """
    truth, known = added.truth(unstated)
    return {
        name: _finding(
            cuts[name],
            added.open[:, f],
            added.called[:, f],
            _Truth(added.films, truth[:, f], known[:, f]),
        )
        for f, name in enumerate(added.findings)
    }


def mean_precision(findings: Mapping[str, FindingRound]) -> Sides[float | None]:
    """Return the mean over the findings with labels whose truth is known, None where there is none."""
    sides = [one.real_precision for one in findings.values()]
    return Sides(_mean([side.present for side in sides]), _mean([side.absent for side in sides]))


def agreement(added: Added, model: Predictor, listener: Listener) -> Agreement:
    """Return how a round's model agrees with the labels it was given, at the thresholds that validation films chose."""
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
    found = evaluate_findings(labels, scores[:, columns], added.findings, thresholds, options)
    means = {name: _macro(found, name) for name in ("precision", "recall", "accuracy")}
    return Agreement(
        len(rows), found.auroc_macro, means["precision"], means["recall"], means["accuracy"]
    )


@dataclass(frozen=True)
class _Truth:
    """The truth of one finding on all films [N], and where it is known."""

    films: Films
    present: FloatArray
    known: BoolArray

    def right(self, labelled: BoolArray, side: float) -> Estimate | None:
        """Return the share of the films labelled one way that are so, None where the truth of none is known."""
        seen = labelled & self.known
        if not seen.any():
            return None
        return share_right(
            self.present[seen] == side, self.films.patient_codes[seen], nothing=UNKNOWN
        )


def _finding(cut: Cut, open_cells: BoolArray, called: FloatArray, truth: _Truth) -> FindingRound:
    present, absent = called == 1, called == 0
    return FindingRound(
        present=int(present.sum()),
        absent=int(absent.sum()),
        abstained=int((open_cells & np.isnan(called)).sum()),
        cut=Sides(cut.present, cut.absent),
        reason=cut.reason,
        wanted=Sides(cut.present_side.wanted, cut.absent_side.wanted),
        validation_precision=Sides(cut.present_side.precision, cut.absent_side.precision),
        real_precision=Sides(truth.right(present, 1), truth.right(absent, 0)),
        truth_films=int(((present | absent) & truth.known).sum()),
    )


def _mean(estimates: Sequence[Estimate | None]) -> float | None:
    known = [one.value for one in estimates if one is not None and one.value is not None]
    return float(np.mean(known)) if known else None


def _macro(found: Evaluation, measure: str) -> float | None:
    """Return the mean of a measure over the findings that the mean AUROC is over."""
    scored = [one for one in found.findings if one.name in found.findings_scored]
    return _mean([one.measures[measure] for one in scored])
