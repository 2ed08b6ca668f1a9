"""A study's models measured on its test films, as the analyses across runs take them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum.arrays import Rows
from hilum.images.films import Films
from hilum.metrics.comparisons import Measured
from hilum.metrics.estimates import patients_by_class
from hilum.metrics.interval_options import IntervalOptions
from hilum.metrics.resampling import EvaluationLabels, weightings
from hilum.workflows.data.subsets import Subsets, truth_of
from hilum.workflows.evaluate.evaluate import saved_scores
from hilum.workflows.study.record import StudyCell, StudyRecord

SPLIT = "test"


@dataclass(frozen=True)
class TestSet:
    """The films that all models are evaluated on, and how."""

    films: Films
    rows: Rows
    labels: EvaluationLabels
    weights: NDArray[np.uint16]
    options: IntervalOptions

    @staticmethod
    def of(record: StudyRecord) -> TestSet:
        """Return the test films of a study's first store, with the resamples of its plan."""
        plan = record.plan["evaluation"]
        options = IntervalOptions(
            resamples=plan["resamples"], seed=plan["seed"], min_positives=plan["min_positives"]
        )
        films = Films.open([record.stores[0].path])
        rows = Subsets.of(films).needed(SPLIT)
        truth, counts = truth_of(films, rows, record.plan["finetune"]["labels"]["unstated"])
        labels = EvaluationLabels.of(truth, counts, films.patient_codes[rows])
        weights = weightings(labels, options.resamples, options.seed)
        return TestSet(films, rows, labels, weights, options)

    @property
    def findings(self) -> tuple[str, ...]:
        """Names of the store's findings."""
        return self.films.findings

    @property
    def scored(self) -> list[int]:
        """Findings that a model which calls them is scored on."""
        classes = [patients_by_class(self.labels, column) for column in range(len(self.findings))]
        return [
            column
            for column, (present, absent) in enumerate(classes)
            if present >= self.options.min_positives and absent
        ]

    def measure(self, runs: Sequence[Path]) -> Measured:
        """Return the measures of a model of S runs; scores of findings that a run lacks are nan."""
        scores = np.full((len(runs), *self.labels.truth.shape), np.nan)  # [S, N, F]
        for of_run, run in zip(scores, runs, strict=True):
            table = saved_scores(run, self.films, self.rows, SPLIT)
            for column, name in enumerate(self.findings):
                if name in table:
                    of_run[:, column] = table[name].to_numpy(np.float64)
        return Measured.of(self.labels, scores, self.weights)

    def to_json(self) -> dict[str, Any]:
        """Return what ``analysis.json`` has of it."""
        return {
            "films": len(self.rows),
            "patients": self.labels.patient_count,
            "findings_scored": [self.findings[column] for column in self.scored],
            "min_positives": self.options.min_positives,
            "resamples": self.options.resamples,
            "level": self.options.level,
        }


@dataclass(frozen=True)
class MeasuredModel:
    """A model at one fraction of the labels under one policy, over its seeds."""

    cells: tuple[StudyCell, ...]
    measured: Measured
    planned: int
    """Seeds in the plan, those that failed among them."""

    @property
    def cell(self) -> StudyCell:
        """The cell of the first seed."""
        return self.cells[0]

    @property
    def name(self) -> str:
        """The name in its comparisons."""
        return str(self.cell.policy) if self.cell.group == "policies" else self.cell.model
