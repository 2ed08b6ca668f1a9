"""The validation films of a fine-tuning: what they choose."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from hilum.arrays import BoolArray, FloatArray, Rows
from hilum.classifier.folding import fold
from hilum.classifier.learner import PROBE, TUNED, SupervisedLearner
from hilum.classifier.network import Classifier
from hilum.errors import RunError
from hilum.images.films import Films
from hilum.labels import LabelOptions
from hilum.metrics.above_chance import AboveChance, above_chance
from hilum.metrics.calibration import Calibration, fit_calibrations
from hilum.metrics.operating import RULES, choose_thresholds
from hilum.metrics.ranking import auroc
from hilum.metrics.resampling import EvaluationLabels
from hilum.training.inference import as_probabilities, over_films
from hilum.training.learner import Learner
from hilum.workflows.data.subsets import truth_of


class Validation:
    """The validation films with their truth: they choose the epoch, the calibration and then the thresholds."""

    def __init__(
        self,
        films: Films,
        rows: Rows,
        findings: Sequence[str],
        truth: FloatArray,
        counts: BoolArray,
    ) -> None:
        self.films, self.rows, self.findings, self.truth, self.counts = (
            films,
            rows,
            tuple(findings),
            truth,
            counts,
        )
        self._scores: dict[str, float | None] = {}

    @staticmethod
    def of(films: Films, rows: Rows, options: LabelOptions, columns: Sequence[int]) -> Validation:
        """Gather the truth of validation rows for the findings in these columns, unstated cells as in training."""
        truth, counts = truth_of(films, rows, options.unstated)
        names = [films.findings[column] for column in columns]
        return Validation(films, rows, names, truth[:, columns], counts[:, columns])

    @property
    def patients(self) -> NDArray[np.int64]:
        """One number a patient, [n]."""
        return np.asarray(self.films.patient_codes[self.rows])

    def only(self, chosen: BoolArray) -> Validation:
        """Return the part of the films that is chosen, bool [n]."""
        return Validation(
            self.films,
            self.rows[chosen],
            self.findings,
            self.truth[chosen],
            self.counts[chosen],
        )

    def logits(self, classifier: Classifier, size: int) -> FloatArray:
        """Return what a classifier gives for the validation films, [n, F].

        Raises:
            RunError: It is not finite: the weights have left the range of numbers.
        """
        logits = over_films(classifier, self.films, self.rows, size)
        if not np.isfinite(logits).all():
            raise RunError(
                "what the network says of the validation films is not finite: nothing bad was saved. "
                "Start again in another --out with a lower --train.lr."
            )
        return logits

    def score(self, learner: Learner) -> float | None:
        """Return the best of ``scores``, None where none is known."""
        if not isinstance(learner, SupervisedLearner):
            raise TypeError(f"a supervised learner is expected, not {type(learner).__name__}")
        known = [score for score in self.scores(learner).values() if score is not None]
        return max(known) if known else None

    def scores(self, learner: SupervisedLearner) -> dict[str, float | None]:
        """Return each candidate's mean AUROC over findings with both classes among the validation films.

        None where there is no such finding.
        """
        for name, candidate in learner.candidates().items():
            if name == PROBE and name in self._scores:
                continue  # it stays as it was
            probabilities = as_probabilities(self.logits(candidate, learner.size))
            values = [auroc(truth, scores) for truth, scores in self._cells(probabilities)]
            known = [value for value in values if value == value]
            self._scores[name] = float(np.mean(known)) if known else None
        return dict(self._scores)

    def best(self, learner: SupervisedLearner) -> str:
        """Return the name of the best candidate, the first of equals; the tuned one without validation films."""
        if len(learner.candidates()) == 1 or len(self.rows) == 0:
            return TUNED
        scores = self.scores(learner)
        known = {name: score for name, score in scores.items() if score is not None}
        return max(known, key=known.__getitem__, default=TUNED)

    def calibrated(
        self, classifier: Classifier, size: int, calibrate: bool
    ) -> tuple[Classifier, list[Calibration | None], FloatArray]:
        """Return the classifier with believable logits, each finding's calibration, and probabilities [n, F].

        A calibration is None where the validation films cannot tell; of none there are no
        probabilities.
        """
        fitted: list[Calibration | None] = [None] * len(self.findings)
        if calibrate and len(self.rows):
            fitted = fit_calibrations(self.truth, self.counts, self.logits(classifier, size))
        final = Classifier(classifier.backbone, fold(classifier.head, fitted))
        if len(self.rows) == 0:
            return final, fitted, np.empty((0, len(self.findings)), np.float32)
        return final, fitted, as_probabilities(self.logits(final, size))

    def above_chance(self, probabilities: FloatArray) -> AboveChance:
        """Return each finding's AUROC and their mean, with intervals over patients."""
        labels = EvaluationLabels.of(self.truth, self.counts, self.patients)
        return above_chance(labels, probabilities, self.findings)

    def operating_points(
        self, probabilities: FloatArray, not_called: Collection[str] = ()
    ) -> dict[str, dict[str, float | None]]:
        """Return each finding's threshold by each rule, None where the validation films lack a class.

        Findings that are not to be called have none.
        """
        return {
            finding: dict.fromkeys(RULES) if finding in not_called else choose_thresholds(*cell)
            for finding, cell in zip(self.findings, self._cells(probabilities), strict=True)
        }

    def _cells(self, probabilities: FloatArray) -> list[tuple[FloatArray, FloatArray]]:
        columns = range(len(self.findings))
        return [
            (self.truth[self.counts[:, f], f], probabilities[self.counts[:, f], f]) for f in columns
        ]


def stating(films: Films, rows: Rows) -> Rows:
    """Return the rows of sources that state any finding: films of others validate nothing."""
    return rows[films.labelled_by_source[rows].any(axis=1)]
