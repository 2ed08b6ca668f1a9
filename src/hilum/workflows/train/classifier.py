"""The training of one classifier: what fine-tuning does once, and self-training twice."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hilum.bundle.description import Description
from hilum.bundle.model_folder import Model, save_model
from hilum.bundle.training_manifest import FILMS, joined, seen_films
from hilum.classifier.learner import TUNED
from hilum.classifier.network import Classifier
from hilum.counts import counted
from hilum.files import sha256
from hilum.group_key import made_key
from hilum.images.films import Films
from hilum.listener import Listener
from hilum.metrics.above_chance import AboveChance
from hilum.nn.backbones import Backbone
from hilum.training.distributed import Team, team_for
from hilum.training.loop import Outcome
from hilum.training.run_folder import RunFolder
from hilum.workflows.data.pseudo_label_table import read_pseudo_labels
from hilum.workflows.data.small_sets import warn_of_few_patients
from hilum.workflows.data.subsets import Subsets
from hilum.workflows.train.fitting import new_fitting, not_of_random_weights
from hilum.workflows.train.options import FinetuneOptions
from hilum.workflows.train.run import (
    RunRecord,
    TrainingResult,
    begin,
    describe,
    finished,
    record_result,
    run_options,
)
from hilum.workflows.train.run_log import log_pseudo_labels, log_sampling
from hilum.workflows.train.training_set import TrainingSet
from hilum.workflows.train.validation_set import Validation, stating
from hilum.workflows.train.within import cross_validated, drop_folds, folds_of

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
    films = Films.open(options.data, options.further, listener=listener)
    subsets = Subsets.of(films)
    pseudo_labels = None if table is None else read_pseudo_labels(table)
    training_set = TrainingSet.of(films, subsets, options, pseudo_labels)
    within = options.validation == "within"
    validation_rows = training_set.rows if within else stating(films, subsets.rows("val"))
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
        for line in (*training_set.left_out, *not_of_random_weights(options)):
            listener.note(line)
        rows, patients = training_set.rows, subsets.patients(training_set.rows)
        how = (
            f"chooses by cross-validation in {folds_of(validation, options)} parts of them"
            if within
            else f"validates on {counted(len(validation.rows), 'film')} of {subsets.patients(validation.rows):,}"
        )
        listener.note(
            f"fine-tunes on {counted(len(rows), 'film')} with labels, of {counted(patients, 'patient')}, {how}"
        )
        if len(training_set.unlabelled):
            listener.note(
                f"learns from {counted(len(training_set.unlabelled), 'film')} without their labels, by soft targets"
            )
        warn_of_few_patients(subsets, training_set.columns, options.labels.unstated, listener)
        log_sampling(training_set, run, listener)
        if table is not None:
            log_pseudo_labels(training_set, run, listener, sha256(table))
        trained = fit(start.backbone, training_set, validation, options, size, run, team)
        more = trained.record
        if team.first:
            description = describe(start, size, films, "supervised", subsets.record())
            description = replace(description, unstated=options.labels.unstated)
            shown = np.union1d(rows, training_set.unlabelled)
            seen = joined(start.seen, seen_films(films.columns(FILMS, shown), key))
            model, evidence = concluded(
                trained.network, trained.validation, description, seen, size, calibrate=options.calibrate
            )  # fmt: skip
            for line in evidence.notes():
                listener.note(line)
            save_model(run.model, model)
            more["validation"] = evidence.to_json()
        result = TrainingResult.of(
            run, trained.outcome, len(rows), patients, trained.repeats, within
        )
        result = record_result(run, result, more)
        drop_folds(run)
        return result


@dataclass(frozen=True)
class Trained:
    """The network that was chosen, what chose it, and how the loop ended."""

    network: Classifier
    validation: Validation
    outcome: Outcome
    repeats: int
    record: dict[str, Any]
    """What was chosen, for metrics.json."""


def fit(
    backbone: Backbone,
    training_set: TrainingSet,
    validation: Validation,
    options: FinetuneOptions,
    size: int,
    run: RunFolder,
    team: Team,
) -> Trained:
    """Train on the training set; the validation films choose epoch and candidate, or folds of the set itself do.

    Raises:
        HilumError: The user can mend it; see the line.
        Interrupted: SIGINT or SIGTERM came; all is saved.
    """
    record: dict[str, Any] = {}
    if options.validation == "within":
        chosen, validation = cross_validated(
            backbone, training_set, validation, options, size, run, team
        )
        fitting = new_fitting(backbone, validation.films, training_set, options, size, run, team)
        outcome = fitting.trainer(last_epoch=chosen.epoch).train()
        outcome = replace(outcome, best=chosen.auroc, best_step=outcome.steps)
        candidate, record["within"] = chosen.candidate, chosen.to_json()
    else:
        fitting = new_fitting(backbone, validation.films, training_set, options, size, run, team)
        score = validation.score if len(validation.rows) else None
        outcome = fitting.trainer(score, options.patience).train()
        candidate = validation.best(fitting.learner) if team.first else TUNED
    candidates = fitting.learner.candidates()
    if len(candidates) > 1:
        team.listener.note(f"of the candidates, the {candidate} network is the model")
        record["candidate"] = candidate
    return Trained(candidates[candidate], validation, outcome, fitting.repeats, record)


def concluded(
    network: Classifier,
    validation: Validation,
    description: Description,
    seen: pd.DataFrame,
    size: int,
    *,
    calibrate: bool,
) -> tuple[Model, AboveChance]:
    """Return the calibrated model with its thresholds, and how its validation AUROC compares with chance.

    A finding whose AUROC is not shown to be above 0.5 gets no threshold.
    """
    final, fitted, probabilities = validation.calibrated(network, size, calibrate)
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
    return Model(description, final.backbone, final.head, seen), evidence
