"""The policy self-train: a first model, trained without the uncertain cells, labels them for a second."""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict, replace

import numpy as np

from hilum.bundle.model_folder import WEIGHTS
from hilum.bundle.predictor import Predictor
from hilum.catalog import UNCERTAIN
from hilum.files import sha256
from hilum.findings import positions
from hilum.images.films import Films
from hilum.labels import SELF_TRAIN, LabelOptions, policies
from hilum.listener import Listener
from hilum.training.distributed import rank_info
from hilum.training.run_folder import (
    CHECKPOINTS,
    MODEL,
    PSEUDO_LABELS,
    TEACHER,
    RunFolder,
    open_run,
)
from hilum.workflows.data.pseudo_label_table import PseudoLabels, once, refuse_two_of_a_name
from hilum.workflows.data.subsets import Subsets
from hilum.workflows.data.targets import training_labels
from hilum.workflows.train.classifier import train_classifier
from hilum.workflows.train.labelling import class_counts_of, cuts_of, label_films
from hilum.workflows.train.labelling_options import PseudoOptions
from hilum.workflows.train.options import FinetuneOptions
from hilum.workflows.train.run import RunRecord, TrainingResult, run_options
from hilum.workflows.train.validation_set import stating


def self_trains(options: LabelOptions) -> bool:
    """Return whether a finding has the policy self-train."""
    return SELF_TRAIN in (options.uncertain, *options.per_finding.values())


def self_train(options: FinetuneOptions, listener: Listener) -> TrainingResult:
    """Train a first model, let it label the uncertain cells, and train the second model on those too.

    The first model is an ordinary run in the folder ``teacher`` below the run's own. After a kill
    each of the three steps continues where it was; what is done is not done again.

    Raises:
        HilumError: As ``finetune``.
    """
    table = options.out / PSEUDO_LABELS
    if RunFolder(options.out).done:
        return train_classifier(options, None, listener)  # reports the finished run
    if table.is_file():
        return train_classifier(options, table, listener)
    ranks = rank_info(os.environ)
    if ranks.rank == 0:
        films = Films.open(options.data, options.unlabelled)
        refuse_two_of_a_name(films.catalog)
        subsets = Subsets.of(films)
        record = RunRecord.of(subsets, max(ranks.world_size, options.devices), options.init)
        with open_run(options.out, run_options(("finetune",), asdict(options), record)):
            listener.note("trains a first model, which will label the uncertain cells")
            train_classifier(first_options(options), None, listener)
            labels = label_uncertain(films, subsets, options, listener)
            labels.write(table)
            # The first model is finished: its checkpoints are of no more use.
            shutil.rmtree(options.out / TEACHER / CHECKPOINTS, ignore_errors=True)
            listener.note(f"the first model labels {len(labels.cells)} uncertain cells")
    else:  # rank 0 labels; the other ranks join it again in the second training
        train_classifier(first_options(options), None, listener)
    return train_classifier(options, table, listener)


def first_options(options: FinetuneOptions) -> FinetuneOptions:
    """Return the options of the first model: it ignores the cells that it is to label."""

    def ignoring(policy: str) -> str:
        return "ignore" if policy == SELF_TRAIN else policy

    given = options.labels
    per_finding = {finding: ignoring(policy) for finding, policy in given.per_finding.items()}
    labels = replace(given, uncertain=ignoring(given.uncertain), per_finding=per_finding)
    return replace(options, out=options.out / TEACHER, labels=labels, self_train=PseudoOptions())


def label_uncertain(
    films: Films, subsets: Subsets, options: FinetuneOptions, listener: Listener
) -> PseudoLabels:
    """Return the first model's labels of uncertain cells of its training films, where it is confident."""
    teacher, policy = options.out / TEACHER, options.labels
    predictor = Predictor.load(teacher, "cpu" if options.train.accelerator == "cpu" else "auto")
    validation = stating(films, subsets.rows("val"))
    cuts = cuts_of(predictor, films, validation, policy.unstated, options.self_train, listener)
    columns = [c for c in positions(predictor.findings, films.findings) if c is not None]
    rows = subsets.rows("train", options.fraction, options.subset_seed)
    targets, weights = training_labels(films, policy)
    counts = class_counts_of(
        targets[rows][:, columns], weights[rows][:, columns], predictor.findings
    )
    rows = once(films, rows)
    self_trained = np.array(
        [
            name == SELF_TRAIN
            for name in policies(films.findings, policy.uncertain, policy.per_finding)
        ]
    )
    open_cells = ((films.labels[rows] == UNCERTAIN) & self_trained)[:, columns]  # [n, F]
    for column, name in enumerate(predictor.findings):
        if open_cells[:, column].any() and cuts[name].present is None and cuts[name].absent is None:
            listener.note(f"no uncertain cell of {name} is labelled: {cuts[name].reason}")
    chosen = open_cells.any(axis=1)
    return label_films(
        predictor,
        films,
        rows[chosen],
        open_cells[chosen],
        cuts,
        options.self_train,
        counts,
        "uncertain",
        {"teacher": sha256(teacher / MODEL / WEIGHTS), "round": 0},
        listener,
    )
