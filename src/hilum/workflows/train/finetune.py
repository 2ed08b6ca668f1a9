"""Fine-tuning: a classifier learns from a share of the labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

from hilum.bundle.model_folder import Description, Model, save_model
from hilum.bundle.training_manifest import FILMS, joined, seen_films
from hilum.classifier.folding import fold
from hilum.classifier.learner import SupervisedLearner
from hilum.classifier.network import Classifier
from hilum.files import sha256
from hilum.images.films import Films
from hilum.listener import SILENT, Listener
from hilum.metrics.calibration import Calibration
from hilum.training.distributed import Team, team_for
from hilum.training.loop import Trainer
from hilum.workflows.data.pseudo_label_table import read_pseudo_labels
from hilum.workflows.data.small_sets import warn_of_few_patients
from hilum.workflows.data.subsets import Subsets
from hilum.workflows.train.options import FinetuneOptions
from hilum.workflows.train.run import (
    TrainingResult,
    begin,
    describe,
    film_batches,
    finished,
    fit_batch,
    record_result,
    run_record,
)
from hilum.workflows.train.self_training import taught_table
from hilum.workflows.train.training_set import TrainingSet, note_never_labelled
from hilum.workflows.train.validation_set import Validation, stating

CALLED_BY = "youden"
"""The rule whose threshold decides what is called."""


def finetune(options: FinetuneOptions, listener: Listener = SILENT) -> TrainingResult:
    """Fine-tune a classifier into a run folder; an unfinished run continues, a finished one is left alone.

    The validation films choose the epoch (mean AUROC), each finding's temperature and shift, and
    then its threshold (Youden's index). Under the policy self-train a first model comes before, see
    ``workflows.self_train``.

    Raises:
        HilumError: The user can mend it; see the line.
        Interrupted: SIGINT or SIGTERM came; all is saved.
        SystemExit: In a process other than the first, which says what there is to say.
    """
    table = taught_table(options, finetune, listener)
    with team_for(("finetune",), options.out, options.devices, listener) as team:
        return _finetune(options, team, table)


def _finetune(options: FinetuneOptions, team: Team, table: Path | None) -> TrainingResult:
    listener, processes = team.listener, team.place.count
    films = Films.open(options.data, options.unlabelled)
    subsets = Subsets.of(films)
    training_set = TrainingSet.of(
        films, subsets, options, None if table is None else read_pseudo_labels(table)
    )
    validation = Validation.of(
        films, stating(films, subsets.rows("val")), options.labels, training_set.columns
    )
    record = run_record(("finetune",), options, subsets, {}, processes)
    if options.pseudo_labels is not None:
        record["record"]["pseudo_labels"] = sha256(options.pseudo_labels)
    with team.open_run(options.out, record) as run:
        if run.done:
            return finished(run, listener)
        if team.first:
            subsets.keep(run.path)
        size = options.train.size or films.preparation.size
        start = begin(options, films, size, listener)
        note_never_labelled(films.findings, training_set.findings, listener)
        learner = training_set.learner(start.backbone, size, options)
        train = fit_batch(options.train, len(training_set.rows), listener, processes)
        listener.note(
            f"fine-tunes on {len(training_set.rows)} films with labels, of "
            f"{subsets.patients(training_set.rows)} patients, "
            f"validates on {len(validation.rows)} films of {subsets.patients(validation.rows)}"
        )
        warn_of_few_patients(subsets, training_set.columns, options.labels.unstated, listener)
        order = training_set.order(train.seed)
        batches = film_batches(
            films,
            training_set.rows,
            train,
            training_set.targets,
            training_set.weights,
            team=team,
            order=order,
        )
        score = validation.score if len(validation.rows) else None
        trainer = Trainer(
            learner, batches, train, run, listener, "finetune", score, options.patience, team
        )
        training_set.tell_draws(run, listener)
        if table is not None:
            training_set.tell_pseudo_labels(run, listener, sha256(table))
        outcome = trainer.train()
        if team.first:
            description = replace(
                describe(start, size, films, "supervised", subsets.record()),
                unstated=options.labels.unstated,
            )
            seen = joined(start.seen, seen_films(films.columns(FILMS, training_set.rows)))
            save_model(
                run.model,
                concluded(learner, validation, description, seen, calibrate=options.calibrate),
            )
        return record_result(
            run, outcome, len(training_set.rows), subsets.patients(training_set.rows)
        )


def concluded(
    learner: SupervisedLearner,
    validation: Validation,
    description: Description,
    seen: pd.DataFrame,
    *,
    calibrate: bool,
) -> Model:
    """Return the trained model with one output a finding, calibrated, and with thresholds of those probabilities."""
    trained = learner.classifier
    fitted: list[Calibration | None] = [None] * len(validation.findings)
    if calibrate:
        fitted = validation.calibrations(trained, learner.size)
    final = Classifier(learner.backbone, fold(trained.head, fitted))
    points = validation.operating_points(final, learner.size)
    description = replace(
        description,
        findings=validation.findings,
        thresholds={finding: cuts[CALLED_BY] for finding, cuts in points.items()},
        operating_points=points,
        calibration={
            finding: None if one is None else one._asdict()
            for finding, one in zip(validation.findings, fitted, strict=True)
        },
    )
    return Model(description, learner.backbone, final.head, seen)
