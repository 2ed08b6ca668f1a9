"""The policy self-train: a first model, trained without the uncertain cells, labels them for the one that is wanted."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from hilum.arrays import BoolArray, Rows
from hilum.bundle.model_folder import WEIGHTS
from hilum.bundle.predictor import Predictor
from hilum.catalog import UNCERTAIN
from hilum.files import sha256
from hilum.findings import positions
from hilum.images.films import Films
from hilum.labels import SELF_TRAIN, LabelOptions, policies
from hilum.listener import Listener
from hilum.training.distributed import place_in
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
from hilum.workflows.train.labelling import class_counts_of, cuts_of, label_films
from hilum.workflows.train.labelling_options import PseudoOptions
from hilum.workflows.train.options import FinetuneOptions
from hilum.workflows.train.run import TrainingResult, run_record
from hilum.workflows.train.validation_set import stating

Training = Callable[[FinetuneOptions, Listener], TrainingResult]


def self_trains(options: LabelOptions) -> bool:
    """Return whether a finding has the policy self-train."""
    return SELF_TRAIN in (options.uncertain, *options.per_finding.values())


def taught_table(options: FinetuneOptions, train: Training, listener: Listener) -> Path | None:
    """Return the table of pseudo-labels to learn from, made by a first model where the policy is self-train.

    That model is an ordinary run in the folder ``teacher`` of the run's own. What is done already
    is not done again: a call after a kill goes on where that came.

    Args:
        options: Of the fine-tuning.
        train: The fine-tuning itself, for the first model.
        listener: Hears notes.

    Returns:
        The table's path; None without one, or where the run is done and needs none.

    Raises:
        HilumError: As ``finetune``.
    """
    trains_itself = self_trains(options.labels)
    if options.self_train != PseudoOptions() and not trains_itself:
        listener.note(
            "--self-train.* changes nothing here: no finding has --labels.uncertain self-train"
        )
    if options.pseudo_labels is not None or not trains_itself or RunFolder(options.out).done:
        return options.pseudo_labels
    table = options.out / PSEUDO_LABELS
    if table.is_file():
        return table
    if place_in(
        os.environ
    ).rank:  # the first process labels; the others meet it again in the training
        train(teacher_options(options), listener)
        return table
    films = Films.open(options.data, options.unlabelled)
    refuse_two_of_a_name(films.catalog)
    subsets = Subsets.of(films)
    processes = max(place_in(os.environ).count, options.devices)
    with open_run(options.out, run_record(("finetune",), options, subsets, {}, processes)):
        listener.note("trains a first model, which will label the uncertain cells")
        train(teacher_options(options), listener)
        labels = label_uncertain(films, subsets, options, listener)
        labels.write(table)
        shutil.rmtree(
            options.out / TEACHER / CHECKPOINTS, ignore_errors=True
        )  # nothing is left to continue
        listener.note(f"the first model labels {len(labels.cells)} uncertain cells")
    return table


def teacher_options(options: FinetuneOptions) -> FinetuneOptions:
    """Return how the first model is trained: alike, but for the cells that it is to label, which it ignores."""
    given = options.labels
    ignoring = {finding: _ignoring(policy) for finding, policy in given.per_finding.items()}
    labels = replace(given, uncertain=_ignoring(given.uncertain), per_finding=ignoring)
    return replace(options, out=options.out / TEACHER, labels=labels, self_train=PseudoOptions())


def label_uncertain(
    films: Films, subsets: Subsets, options: FinetuneOptions, listener: Listener
) -> PseudoLabels:
    """Return what the first model says of the uncertain cells of its training films, where it is sure."""
    teacher = options.out / TEACHER
    predictor = Predictor.load(teacher, "cpu" if options.train.accelerator == "cpu" else "auto")
    validation = stating(films, subsets.rows("val"))
    cuts = cuts_of(
        predictor, films, validation, options.labels.unstated, options.self_train, listener
    )
    rows = subsets.rows("train", options.fraction, options.subset_seed)
    columns = [
        place for place in positions(predictor.findings, films.findings) if place is not None
    ]
    targets, weights = training_labels(films, options.labels)
    had = class_counts_of(targets[rows][:, columns], weights[rows][:, columns], predictor.findings)
    single = once(films, rows)
    open_cells = _self_trained(films, single, options.labels)[:, columns]
    for column, name in enumerate(predictor.findings):
        if open_cells[:, column].any() and cuts[name].present is None and cuts[name].absent is None:
            listener.note(f"no uncertain cell of {name} is labelled: {cuts[name].reason}")
    chosen = open_cells.any(axis=1)
    told, record = single[chosen], {"teacher": sha256(teacher / MODEL / WEIGHTS), "round": 0}
    return label_films(
        predictor,
        films,
        told,
        open_cells[chosen],
        cuts,
        options.self_train,
        had,
        "uncertain",
        record,
        listener,
    )


def _self_trained(films: Films, rows: Rows, options: LabelOptions) -> BoolArray:
    """Return which cells [n, F] are uncertain and of a finding with the policy."""
    names = policies(films.findings, options.uncertain, options.per_finding)
    return np.asarray(
        (films.labels[rows] == UNCERTAIN) & np.array([name == SELF_TRAIN for name in names])
    )


def _ignoring(policy: str) -> str:
    return "ignore" if policy == SELF_TRAIN else policy
