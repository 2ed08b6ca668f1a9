"""Pretraining: a backbone learns from films without their labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from hilum.arrays import Rows
from hilum.bundle.initialization import seeded
from hilum.bundle.model_folder import Model, save_model
from hilum.bundle.training_manifest import FILMS, joined, seen_films
from hilum.counts import counted
from hilum.errors import OptionError
from hilum.group_key import made_key
from hilum.images.films import Films
from hilum.listener import SILENT, Listener
from hilum.methods import load_method, positives_of
from hilum.nn.backbones import Backbone, enlarged_size
from hilum.training.batches import Batches, shuffled
from hilum.training.distributed import Team, team_for
from hilum.training.loop import Trainer
from hilum.training.monitor import MonitorSettings, monitored_rows
from hilum.training.options import TrainOptions
from hilum.training.positive_pairs import PositivePairs, count_paired, pair_order
from hilum.training.run_folder import CROPS
from hilum.training.schedule import ProgressiveSizes
from hilum.training.tensorboard import mirrored, require_tensorboard
from hilum.workflows.data.subsets import Subsets
from hilum.workflows.train.crop_grid import write_crop_grid
from hilum.workflows.train.online_probe import online_probe
from hilum.workflows.train.options import PretrainOptions
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


def pretrain(
    method: str, method_options: Any, options: PretrainOptions, listener: Listener = SILENT
) -> TrainingResult:
    """Pretrain a backbone by a method into a run folder; an unfinished run continues, a finished one is left alone.

    Args:
        method: A name of METHODS.
        method_options: An instance of that method's ``Options``.
        options: Data, start and training.
        listener: Hears notes and progress.

    Raises:
        HilumError: The user can mend it; see the line.
        Interrupted: SIGINT or SIGTERM came; all is saved.
        SystemExit: In a process other than the first, which says what there is to say.
    """
    with team_for(("pretrain", method), options.out, options.devices, listener) as team:
        return _pretrain(method, method_options, options, team)


def _pretrain(
    method: str, method_options: Any, options: PretrainOptions, team: Team
) -> TrainingResult:
    listener, processes = team.listener, team.ranks.world_size
    if options.monitor.tensorboard:
        require_tensorboard()
    films = Films.open(options.data, listener=listener)
    subsets = Subsets.of(films)
    rows = pretraining_rows(subsets, with_validation=options.with_validation)
    method_options = method_options.for_films(len(rows))
    given = {**asdict(options), "method": asdict(method_options)}
    record = run_options(
        ("pretrain", method), given, RunRecord.of(subsets, processes, options.init)
    )
    with team.open_run(options.out, record) as run:
        if run.done:
            return finished(run, listener)
        if team.first:
            subsets.keep(run.path)
        size = input_size(options.train, films)
        # Before the first step: a key that cannot be had must not cost a training.
        key = made_key(films.stores[0].folder)
        start = begin(options, films, size, listener)
        with seeded(options.train.seed):
            learner = load_method(method)(start.backbone, method_options, size)
        refuse_small_sizes(start.backbone, options.train.sizes or ())
        train = fit_batch(options.train, len(rows), listener, processes)
        listener.note(
            f"pretrains {method} on {counted(len(rows), 'film')} of {counted(subsets.patients(rows), 'patient')}; "
            "test films stay out"
        )
        note_without_negatives(method_options, subsets.patients(rows), listener)
        positives = positive_pairs(positives_of(method_options), films, rows, train.seed, listener)
        batches = film_batches(films, shuffled(rows, train.seed), train, team, positives=positives)
        monitoring = monitor_settings(options, films, subsets, rows, size, listener)
        with mirrored(run, options.monitor.tensorboard and team.first) as log:
            trainer = Trainer(
                learner,
                batches,
                train,
                log,
                listener,
                f"pretrain {method}",
                team=team,
                monitoring=monitoring,
                total=steps_of_crops(train, learner.crops_per_film, batches, listener),
                sizes=progressive_sizes(train),
            )
            if team.first:
                write_crop_grid(run.path / CROPS, learner, batches, train.seed)
            outcome = trainer.train()
        if team.first:
            description = describe(start, size, films, method, subsets.record())
            seen = joined(start.seen, seen_films(films.columns(FILMS, rows), key))
            save_model(run.model, Model(description, start.backbone, None, seen))
        result = TrainingResult.of(run, outcome, len(rows), subsets.patients(rows))
        return record_result(run, result)


def pretraining_rows(subsets: Subsets, *, with_validation: bool) -> Rows:
    """Return the films that may be learnt from without labels: training films, validation films if wanted."""
    rows = subsets.needed("train")
    return np.union1d(rows, subsets.rows("val")).astype(np.int64) if with_validation else rows


def input_size(train: TrainOptions, films: Films) -> int:
    """Return the height and width of the network's input in pixels: that of the last crops where they increase."""
    return train.sizes[-1] if train.sizes else train.size or films.preparation.size


def refuse_small_sizes(backbone: Backbone, sizes: Sequence[int]) -> None:
    """Check that the network takes crops of every size.

    Raises:
        OptionError: One is too small for it.
    """
    for size in sizes:
        # Where films themselves are enlarged for the network, so are crops.
        needed = (
            enlarged_size(backbone.network, backbone.name, size)
            if backbone.input_size is None
            else None
        )
        if needed is not None:
            raise OptionError(
                f"--train.sizes has {size}, too small for backbone {backbone.name!r}: allowed is {needed} or more."
            )


def progressive_sizes(train: TrainOptions) -> ProgressiveSizes | None:
    """Return the sizes of the crops, None where they stay the same."""
    return None if train.sizes is None else ProgressiveSizes(train.sizes, train.size_shares)


def steps_of_crops(
    train: TrainOptions, crops_per_film: int, batches: Batches, listener: Listener
) -> int:
    """Return the optimiser steps that --train.crops asks for, rounded up, and note them; 0 where epochs give them."""
    if train.crops is None:
        return 0
    films = train.batch_size * batches.ranks.world_size * train.accumulate
    steps = math.ceil(train.crops / (films * crops_per_film))
    epochs = steps * train.accumulate / batches.per_epoch
    listener.note(
        f"{counted(train.crops, 'crop')} (augmented views), {crops_per_film} of each film: "
        f"{counted(steps, 'step')} of {counted(films, 'film')}, {epochs:.1f} epochs"
    )
    return steps


def note_without_negatives(method_options: Any, patients: int, listener: Listener) -> None:
    """Say so where films of one patient are left without negatives: the loss is 0 then, which looks like learning."""
    if patients == 1 and getattr(method_options, "mask_same_patient", False):
        listener.note(
            "all films show one patient, whose own films are no negatives: little is learnt; "
            "give --method.no-mask-same-patient, or a store that tells patients apart"
        )


def monitor_settings(
    options: PretrainOptions,
    films: Films,
    subsets: Subsets,
    rows: Rows,
    size: int,
    listener: Listener,
) -> MonitorSettings | None:
    """Return what is monitored, None where nothing is; the online probe uses training films only."""
    monitor, seed = options.monitor, options.train.seed
    if monitor.every == 0:
        return None
    probe = None
    if monitor.probe_films > 0:
        training = subsets.rows("train")
        probe = online_probe(films, training, monitor.probe_films, size, seed, listener)
    monitored = monitored_rows(rows, monitor.films, seed)
    return MonitorSettings(films, monitored, size, monitor.every, probe, options.stop_on_collapse)


def positive_pairs(
    positives: str, films: Films, rows: Rows, seed: int, listener: Listener
) -> PositivePairs | None:
    """Return what names the film beside each as ``--method.positives`` asks, and say how many have one; None for crop.

    Raises:
        OptionError: No film has another of its study or patient.
    """
    if positives == "crop":
        return None
    groups = {"study": films.study_codes, "patient": films.patient_codes}[positives]
    count = count_paired(rows, groups)
    if count == 0:
        raise OptionError(
            f"--method.positives is {positives}, and none of the {len(rows)} films has another of its {positives}: "
            "allowed for them is crop."
        )
    listener.note(
        f"{count} of {counted(len(rows), 'film')} {'has' if count == 1 else 'have'} another of "
        f"the same {positives}, which one crop is cut from"
    )
    return pair_order(rows, groups, seed)
