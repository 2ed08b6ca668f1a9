"""Fine-tuning: a classifier learns from a share of the labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from hilum.augment.presets import FINETUNE
from hilum.bundle.model_folder import Model, save_model
from hilum.bundle.seen import joined, seen_films
from hilum.classifier.learner import SupervisedLearner
from hilum.errors import DataError, RunError
from hilum.images.films import Films
from hilum.labels import LabelOptions, apply_policy, policies
from hilum.listener import SILENT, Listener
from hilum.metrics.ranking import auroc
from hilum.metrics.thresholds import best_threshold
from hilum.training.batches import Rows
from hilum.training.inference import as_probabilities, over_films
from hilum.training.learner import Learner
from hilum.training.loop import Trainer
from hilum.training.processes import Team, team_for
from hilum.workflows.options import FinetuneOptions
from hilum.workflows.parts import Parts, truth_of
from hilum.workflows.training_run import (
    TrainingResult,
    begin,
    describe,
    film_batches,
    finished,
    fit_batch,
    record_result,
    run_record,
)

FloatArray = NDArray[np.float32]


def finetune(options: FinetuneOptions, listener: Listener = SILENT) -> TrainingResult:
    """Fine-tune a classifier into a run folder; an unfinished run continues, a finished one is left alone.

    The validation films choose the epoch (mean AUROC) and each finding's threshold (Youden's index).

    Raises:
        HilumError: The user can mend it; see the line.
        Interrupted: SIGINT or SIGTERM came; all is saved.
        SystemExit: In a process other than the first, which says what there is to say.
    """
    with team_for(("finetune",), options.out, options.devices, listener) as team:
        return _finetune(options, team)


def _finetune(options: FinetuneOptions, team: Team) -> TrainingResult:
    listener, processes = team.listener, team.place.count
    films = Films.open(options.data)
    parts = Parts.of(films)
    targets, weights = training_labels(films, options.labels)
    rows = labelled_rows(parts.needed("train", options.fraction, options.draw), weights)
    learnt = learnt_columns(weights[rows])
    findings = tuple(films.findings[column] for column in learnt)
    targets, weights = targets[:, learnt], weights[:, learnt]
    validation = Validation.of(films, parts.rows("val"), options.labels, learnt)
    with team.open_run(options.out, run_record(("finetune",), options, parts, {}, processes)) as run:
        if run.done:
            return finished(run, listener)
        if team.first:
            parts.keep(run.path)
        size = options.train.size or films.preparation.size
        start = begin(options, films, size, listener)
        note_never_labelled(films.findings, findings, listener)
        learner = SupervisedLearner(start.backbone, len(findings), FINETUNE, size, freeze=options.freeze)
        initialise_head(learner, targets[rows], weights[rows], options.train.seed)
        train = fit_batch(options.train, len(rows), listener, processes)
        listener.note(
            f"fine-tunes on {len(rows)} labelled films of {parts.patients(rows)} patients, "
            f"validates on {len(validation.rows)} films of {parts.patients(validation.rows)}"
        )
        batches = film_batches(films, rows, train, targets, weights, team=team)
        score = validation.score if len(validation.rows) else None
        trainer = Trainer(learner, batches, train, run, listener, "finetune", score, options.patience, team)
        outcome = trainer.train()
        if team.first:
            description = replace(
                describe(start, size, films, "supervised", parts.record()),
                findings=findings,
                thresholds=validation.thresholds(learner),
                unstated=options.labels.unstated,
            )
            seen = joined(start.seen, seen_films(films.catalog.iloc[rows]))
            save_model(run.model, Model(description, start.backbone, learner.head, seen))
        return record_result(run, outcome, len(rows), parts.patients(rows))


def training_labels(films: Films, options: LabelOptions) -> tuple[FloatArray, FloatArray]:
    """Return targets and weights [N, F] of all films; findings that a film's source never states weigh nothing."""
    if not films.findings:
        raise DataError("the data has no labels to learn from: prepare it from a source with findings.")
    names = policies(films.findings, options.uncertain, options.per_finding)
    everything = np.ones(len(films.findings), np.bool_)
    targets, weights = apply_policy(films.labels, names, options.unstated, everything)
    return targets, weights * films.labelled_by_source


def labelled_rows(rows: Rows, weights: FloatArray) -> Rows:
    """Return the rows with at least one label that counts.

    Raises:
        DataError: There is none.
    """
    kept = rows[weights[rows].any(axis=1)]
    if len(kept) == 0:
        raise DataError(
            f"none of the {len(rows)} training films has a label that counts: check --labels and --fraction."
        )
    return kept


def learnt_columns(weights: FloatArray) -> list[int]:
    """Return the findings, by place, that a label of the training films [n, F] counts for: of others none can learn."""
    return np.flatnonzero(weights.any(axis=0)).tolist()


def note_never_labelled(findings: Sequence[str], learnt: Sequence[str], listener: Listener) -> None:
    """Say which findings are left out because no training film has a label of them that counts."""
    never = [name for name in findings if name not in learnt]
    if never:
        listener.note(f"no training film has a label that counts for {', '.join(never)}: left out")


def initialise_head(learner: SupervisedLearner, targets: FloatArray, weights: FloatArray, seed: int) -> None:
    """Start the output layer at each finding's share of positives, with weights that depend on the seed alone.

    A layer that starts at one half spends its first epoch on learning that findings are rare (Lin 2017, arXiv
    1708.02002, section 4.1).
    """
    generator = torch.Generator().manual_seed(seed)
    positives, films = (targets * weights).sum(0), weights.sum(0)
    with torch.no_grad():
        learner.head.weight.normal_(std=0.01, generator=generator)
        learner.head.bias.copy_(torch.from_numpy((positives + 1) / (films + 2)).logit())


class Validation:
    """The validation films with their truth: they choose the epoch and the thresholds."""

    def __init__(
        self, films: Films, rows: Rows, findings: Sequence[str], truth: FloatArray, counts: NDArray[np.bool_]
    ) -> None:
        self.films, self.rows, self.findings, self.truth, self.counts = films, rows, tuple(findings), truth, counts

    @staticmethod
    def of(films: Films, rows: Rows, options: LabelOptions, columns: Sequence[int]) -> Validation:
        """Gather the truth of validation rows for the findings in these columns, unstated cells as in training."""
        truth, counts = truth_of(films, rows, options.unstated)
        names = [films.findings[column] for column in columns]
        return Validation(films, rows, names, truth[:, columns], counts[:, columns])

    def probabilities(self, learner: Learner) -> FloatArray:
        """Return what the learner's classifier gives for the validation films, [n, F].

        Raises:
            RunError: It is not finite: the weights have left the range of numbers.
        """
        if not isinstance(learner, SupervisedLearner):
            raise TypeError(f"a supervised learner is expected, not {type(learner).__name__}")
        logits = over_films(learner.classifier, self.films, self.rows, learner.size)
        if not np.isfinite(logits).all():
            raise RunError(
                "what the network says of the validation films is not finite: nothing bad was saved. "
                "Start again in another --out with a lower --train.lr."
            )
        return as_probabilities(logits)

    def score(self, learner: Learner) -> float | None:
        """Return the mean AUROC over findings with both classes among the validation films, None if there is none."""
        probabilities = self.probabilities(learner)
        values = [auroc(truth, scores) for truth, scores in self._cells(probabilities)]
        known = [value for value in values if value == value]
        return float(np.mean(known)) if known else None

    def thresholds(self, learner: Learner) -> dict[str, float | None]:
        """Return each finding's threshold, None where the validation films lack one of the classes."""
        if len(self.rows) == 0:
            return dict.fromkeys(self.findings)
        cells = self._cells(self.probabilities(learner))
        return {
            finding: best_threshold(truth, scores) if 0 < truth.sum() < len(truth) else None
            for finding, (truth, scores) in zip(self.findings, cells, strict=True)
        }

    def _cells(self, probabilities: FloatArray) -> list[tuple[FloatArray, FloatArray]]:
        columns = range(len(self.findings))
        return [(self.truth[self.counts[:, f], f], probabilities[self.counts[:, f], f]) for f in columns]
