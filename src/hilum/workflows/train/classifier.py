"""The training of one classifier: what fine-tuning does once, and self-training twice."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd

from hilum.augment.presets import FINETUNE
from hilum.bundle.description import Description
from hilum.bundle.model_folder import Model, save_model
from hilum.bundle.training_manifest import FILMS, joined, seen_films
from hilum.classifier.folding import fold
from hilum.classifier.learner import SupervisedLearner
from hilum.classifier.network import Classifier
from hilum.classifier.objective import Objective, class_weights
from hilum.counts import counted
from hilum.files import sha256
from hilum.group_key import made_key
from hilum.images.films import Films
from hilum.listener import Listener
from hilum.metrics.above_chance import AboveChance
from hilum.metrics.calibration import Calibration
from hilum.nn.backbones import Backbone
from hilum.training.batches import repeating
from hilum.training.distributed import Team, team_for
from hilum.training.loop import Trainer
from hilum.workflows.data.pseudo_label_table import read_pseudo_labels
from hilum.workflows.data.small_sets import warn_of_few_patients
from hilum.workflows.data.subsets import Subsets
from hilum.workflows.train.options import FinetuneOptions, FinetuneTrainOptions
from hilum.workflows.train.run import (
    RunRecord,
    TrainingResult,
    begin,
    describe,
    film_batches,
    finished,
    fit_batch,
    record_result,
    run_options,
)
from hilum.workflows.train.run_log import log_pseudo_labels, log_sampling
from hilum.workflows.train.training_set import TrainingSet
from hilum.workflows.train.validation_set import Validation, stating

CALLED_BY = "youden"
"""The rule whose threshold decides what is called."""


def train_classifier(
    options: FinetuneOptions, table: Path | None, listener: Listener
) -> TrainingResult:
    """Train a classifier into a run folder, with the pseudo-labels of a table where there is one.

    An unfinished run continues, a finished one is left alone. Raises as ``finetune``.
    """
    with team_for(("finetune",), options.out, options.devices, listener) as team:
        return _train(options, team, table)


def _train(options: FinetuneOptions, team: Team, table: Path | None) -> TrainingResult:
    listener, processes = team.listener, team.ranks.world_size
    films = Films.open(options.data, options.unlabelled, listener=listener)
    subsets = Subsets.of(films)
    pseudo_labels = None if table is None else read_pseudo_labels(table)
    training_set = TrainingSet.of(films, subsets, options, pseudo_labels)
    validation_rows = stating(films, subsets.rows("val"))
    validation = Validation.of(films, validation_rows, options.labels, training_set.columns)
    record = RunRecord.of(subsets, processes, options.init, options.pseudo_labels)
    with team.open_run(options.out, run_options(("finetune",), asdict(options), record)) as run:
        if run.done:
            return finished(run, listener)
        if team.first:
            subsets.keep(run.path)
        size = options.train.size or films.preparation.size
        # Before the first step: a key that cannot be had must not cost a training.
        key = made_key(films.stores[0].folder)
        start = begin(options, films, size, listener)
        for line in training_set.left_out:
            listener.note(line)
        learner = new_learner(start.backbone, training_set, options, size)
        rows, patients = training_set.rows, subsets.patients(training_set.rows)
        train = fit_batch(options.train, len(rows), listener, processes)
        listener.note(
            f"fine-tunes on {counted(len(rows), 'film')} with labels, of {counted(patients, 'patient')}, "
            f"validates on {counted(len(validation.rows), 'film')} of {subsets.patients(validation.rows):,}"
        )
        warn_of_few_patients(subsets, training_set.columns, options.labels.unstated, listener)
        repeats = epoch_repeats(train, len(rows), processes)
        if repeats > 1:
            listener.note(few_steps_note(train, len(rows), processes, repeats))
        order = repeating(training_set.order(train.seed), repeats)
        batches = film_batches(films, order, train, team, training_set.labels)
        score = validation.score if len(validation.rows) else None
        trainer = Trainer(
            learner, batches, train, run, listener, "finetune", score, options.patience, team
        )
        log_sampling(training_set, run, listener)
        if table is not None:
            log_pseudo_labels(training_set, run, listener, sha256(table))
        outcome, more = trainer.train(), {}
        if team.first:
            description = describe(start, size, films, "supervised", subsets.record())
            description = replace(description, unstated=options.labels.unstated)
            seen = joined(start.seen, seen_films(films.columns(FILMS, rows), key))
            model, evidence = concluded(
                learner, validation, description, seen, calibrate=options.calibrate
            )
            for line in evidence.notes():
                listener.note(line)
            save_model(run.model, model)
            more = {"validation": evidence.to_json()}
        result = TrainingResult.of(run, outcome, len(rows), patients, repeats)
        return record_result(run, result, more)


def new_learner(
    backbone: Backbone, training_set: TrainingSet, options: FinetuneOptions, size: int
) -> SupervisedLearner:
    """Return the backbone with a head that begins at the findings' prevalences, and its loss."""
    counts = training_set.class_counts()
    weights = class_weights(options.loss, counts)  # [F, 3], or None where all weigh alike
    objective = Objective(
        len(training_set.findings), training_set.multiclass, options.loss, weights
    )
    learner = SupervisedLearner(backbone, objective, FINETUNE, size, freeze=options.freeze)
    learner.initialise_head(counts if weights is None else counts * weights, options.train.seed)
    return learner


def epoch_repeats(train: FinetuneTrainOptions, films: int, processes: int) -> int:
    """Return how often an epoch goes over the films, so that the run has ``min_steps`` steps.

    Epochs are made longer, not more: validation, patience, warm-up and the schedule then mean the
    same fractions of the run as the user's number of epochs says.

    >>> epoch_repeats(FinetuneTrainOptions(epochs=10, batch_size=30, min_steps=60), 30, processes=1)
    6
    """
    step = train.batch_size * train.accumulate * processes
    needed = math.ceil(train.min_steps / train.epochs)  # steps of an epoch
    return 1 if films // step >= needed else math.ceil(needed * step / films)


def few_steps_note(train: FinetuneTrainOptions, films: int, processes: int, repeats: int) -> str:
    """Return the line that says why epochs are longer than asked."""
    step = train.batch_size * train.accumulate * processes
    once, longer = films // step, films * repeats // step
    return (
        f"{counted(films, 'film gives', 'films give')} {counted(once * train.epochs, 'step')} "
        f"in {counted(train.epochs, 'epoch')}, fewer than "
        f"--train.min-steps {train.min_steps}: each epoch goes over them {counted(repeats, 'time')}, "
        f"{longer * train.epochs} steps in all"
    )


def concluded(
    learner: SupervisedLearner,
    validation: Validation,
    description: Description,
    seen: pd.DataFrame,
    *,
    calibrate: bool,
) -> tuple[Model, AboveChance]:
    """Return the calibrated model with its thresholds, and how its validation AUROC compares with chance.

    A finding whose AUROC is not shown to be above 0.5 gets no threshold.
    """
    trained = learner.classifier
    fitted: list[Calibration | None] = [None] * len(validation.findings)
    if calibrate:
        fitted = validation.calibrations(trained, learner.size)
    final = Classifier(learner.backbone, fold(trained.head, fitted))
    probabilities = validation.probabilities(final, learner.size)
    evidence = validation.above_chance(probabilities)
    not_called = evidence.reasons()
    points = validation.operating_points(probabilities, not_called)
    description = replace(
        description,
        findings=validation.findings,
        thresholds={finding: cuts[CALLED_BY] for finding, cuts in points.items()},
        learnt=evidence.learnt,
        not_called=not_called,
        operating_points=points,
        calibration={
            finding: None if calibration is None else calibration._asdict()
            for finding, calibration in zip(validation.findings, fitted, strict=True)
        },
    )
    return Model(description, learner.backbone, final.head, seen), evidence
