"""The validation films of a fine-tuning: what they choose."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from hilum.arrays import BoolArray, FloatArray, Rows
from hilum.classifier.learner import SupervisedLearner
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

    @staticmethod
    def of(films: Films, rows: Rows, options: LabelOptions, columns: Sequence[int]) -> Validation:
        """Gather the truth of validation rows for the findings in these columns, unstated cells as in training."""
        truth, counts = truth_of(films, rows, options.unstated)
        names = [films.findings[column] for column in columns]
        return Validation(films, rows, names, truth[:, columns], counts[:, columns])

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
        """Return the mean AUROC over findings with both classes among the validation films, None if there is none."""
        if not isinstance(learner, SupervisedLearner):
            raise TypeError(f"a supervised learner is expected, not {type(learner).__name__}")
        probabilities = as_probabilities(self.logits(learner.classifier, learner.size))
        values = [auroc(truth, scores) for truth, scores in self._cells(probabilities)]
        known = [value for value in values if value == value]
        return float(np.mean(known)) if known else None

    def calibrations(self, classifier: Classifier, size: int) -> list[Calibration | None]:
        """Return what makes each finding's logits believable, None where the validation films cannot tell."""
        if len(self.rows) == 0:
            return [None] * len(self.findings)
        return fit_calibrations(self.truth, self.counts, self.logits(classifier, size))

    def probabilities(self, classifier: Classifier, size: int) -> FloatArray:
        """Return the probabilities of the validation films, [n, F]; of none where there are none."""
        if len(self.rows) == 0:
            return np.empty((0, len(self.findings)), np.float32)
        return as_probabilities(self.logits(classifier, size))

    def above_chance(self, probabilities: FloatArray) -> AboveChance:
        """Return each finding's AUROC and their mean, with intervals over patients."""
        patients = self.films.patient_codes[self.rows]
        labels = EvaluationLabels.of(self.truth, self.counts, patients)
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
