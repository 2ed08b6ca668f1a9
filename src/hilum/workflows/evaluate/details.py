"""Details of an evaluation: calibration, operating points, subgroups, studies, competition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hilum.arrays import BoolArray, FloatArray
from hilum.bundle.description import Description
from hilum.findings import COMPETITION, positions
from hilum.images.store import Store
from hilum.metrics.calibration import Calibration
from hilum.metrics.operating import OperatingPoint, operating_points
from hilum.metrics.per_study import AGGREGATION, per_study
from hilum.metrics.reliability import Reliability, finding_reliability
from hilum.metrics.resampling import EvaluationLabels, weightings
from hilum.metrics.results import Estimate, Evaluation
from hilum.metrics.set_scores import SetScores, set_scores
from hilum.metrics.subgroups import Subgroup, age_bands, groups_of, measure_subgroup
from hilum.metrics.summary import evaluate_findings
from hilum.workflows.evaluate.options import EvaluateOptions

SUBGROUP_RESAMPLES = 500
"""Resamples behind a subgroup's interval, at most: there are a dozen groups, and 500 give a
standard error to 3 %."""


@dataclass(frozen=True)
class ScoredFilms:
    """Films with their truth and a model's probabilities, for the F findings that both have."""

    findings: tuple[str, ...]
    truth: FloatArray
    """[n, F], 1 present and 0 absent; anything where it does not count."""
    counts: BoolArray
    """[n, F], which cells are scored."""
    scores: FloatArray
    """[n, F] probabilities."""
    patients: NDArray[np.int64]
    """[n] codes."""
    studies: NDArray[np.int64]
    """[n] codes."""
    catalog: pd.DataFrame
    """[n] rows with sex, age and view_position."""

    @property
    def labels(self) -> EvaluationLabels:
        """Truth, scored cells and patients, as the metrics take them."""
        return EvaluationLabels.of(self.truth, self.counts, self.patients)


@dataclass(frozen=True)
class StudyScores:
    """The mean AUROC where a study counts once."""

    studies: int
    auroc_macro: Estimate

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "studies": self.studies,
            "aggregation": AGGREGATION,
            "auroc_macro": self.auroc_macro.to_json(),
        }


@dataclass(frozen=True)
class CompetitionScores:
    """The mean AUROC over CheXpert's five competition findings, film by film."""

    findings: tuple[str, ...]
    """Those of the five with enough positive patients to be scored."""
    auroc_macro: Estimate

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"findings": list(self.findings), "auroc_macro": self.auroc_macro.to_json()}


@dataclass(frozen=True)
class Details:
    """The further measures of an evaluation."""

    calibration: Reliability
    operating_points: Mapping[str, tuple[OperatingPoint, ...]]
    """By finding; empty for one without thresholds."""
    subgroups: tuple[Subgroup, ...]
    per_study: StudyScores
    competition: CompetitionScores | None
    """None where model and store do not share all five findings."""
    set_scores: SetScores | None
    """The set's own accuracy and AUC; None where the store names no task."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "calibration": self.calibration.to_json(),
            "operating_points": {
                name: [point.to_json() for point in points]
                for name, points in self.operating_points.items()
            },
            "subgroups": [subgroup.to_json() for subgroup in self.subgroups],
            "per_study": self.per_study.to_json(),
            "competition": None if self.competition is None else self.competition.to_json(),
            "medmnist": None if self.set_scores is None else self.set_scores.to_json(),
        }


def measure_details(
    films: ScoredFilms,
    evaluation: Evaluation,
    model: Description,
    options: EvaluateOptions,
    store: Store,
) -> Details:
    """Return the further measures of an evaluation of the same films of a store."""
    labels = films.labels
    fitted = {
        name: None if two is None else Calibration(**two) for name, two in model.calibration.items()
    }
    cells = zip(films.findings, films.truth.T, films.counts.T, films.scores.T, strict=True)
    reliability = {
        name: finding_reliability(truth[counts], scores[counts], fitted.get(name))
        for name, truth, counts, scores in cells
    }
    points = operating_points(
        labels,
        films.scores,
        [thresholds_of(model, name) for name in films.findings],
        weightings(labels, options.resamples, options.seed),
        options.prevalence,
    )
    table = films.catalog
    groups = [
        *groups_of("sex", _stated(table["sex"])),
        *groups_of("age", age_bands(table["age"], options.age_bands)),
        *groups_of("view_position", _stated(table["view_position"])),
    ]
    competition = None
    five = [column for column in positions(COMPETITION, films.findings) if column is not None]
    if len(five) == len(COMPETITION):
        of_five = evaluate_findings(
            EvaluationLabels.of(films.truth[:, five], films.counts[:, five], films.patients),
            films.scores[:, five],
            COMPETITION,
            options=options.intervals,
        )
        competition = CompetitionScores(of_five.findings_scored, of_five.auroc_macro)
    fewer = replace(options.intervals, resamples=min(options.resamples, SUBGROUP_RESAMPLES))
    return Details(
        calibration=Reliability(reliability, evaluation.findings_scored),
        operating_points=dict(zip(films.findings, points, strict=True)),
        subgroups=tuple(
            measure_subgroup(
                group, labels, films.scores, films.findings, options.subgroup_patients, fewer
            )
            for group in groups
        ),
        per_study=_per_study(films, evaluation, options),
        competition=competition,
        set_scores=_set_scores(films, store, options),
    )


def _set_scores(films: ScoredFilms, store: Store, options: EvaluateOptions) -> SetScores | None:
    """Return the set's own measures, over all of its findings in its order."""
    if store.task is None:
        return None
    places = positions(store.findings, films.findings)
    columns = [place for place in places if place is not None]
    if len(columns) < len(places):
        lacking = [name for name, at in zip(store.findings, places, strict=True) if at is None]
        reason = (
            f"not measured: {', '.join(lacking)} (no output of the model, or not among --findings)"
        )
        return SetScores.missing(store.task, films.labels, reason)
    labels = EvaluationLabels.of(films.truth[:, columns], films.counts[:, columns], films.patients)
    scores = films.scores[:, columns]
    return set_scores(labels, scores, store.findings, store.task, options.intervals)


def thresholds_of(model: Description, finding: str) -> Mapping[str, float | None]:
    """Return a finding's thresholds by rule, Youden's first; older models have only that."""
    known = model.operating_points.get(finding) or {"youden": model.thresholds.get(finding)}
    return {rule: known[rule] for rule in sorted(known, key=lambda rule: (rule != "youden", rule))}


def _stated(column: pd.Series) -> Sequence[str | None]:
    return [
        None if missing else str(value)
        for value, missing in zip(column, column.isna(), strict=True)
    ]


def _per_study(films: ScoredFilms, evaluation: Evaluation, options: EvaluateOptions) -> StudyScores:
    """Measure the findings that are scored film by film, so that the two means can be compared."""
    count = len(np.unique(films.studies))
    scored = [films.findings.index(name) for name in evaluation.findings_scored]
    if not scored or count == len(films.studies):  # one film a study: the films' numbers
        return StudyScores(count, evaluation.auroc_macro)
    read = per_study(
        films.truth[:, scored],
        films.counts[:, scored],
        films.scores[:, scored],
        films.studies,
        films.patients,
    )
    by_study = evaluate_findings(
        EvaluationLabels.of(read.truth, read.mask, read.patients),
        read.scores,
        evaluation.findings_scored,
        options=replace(options.intervals, min_positives=1),
    )
    return StudyScores(count, by_study.auroc_macro)
