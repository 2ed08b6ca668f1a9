"""One fit of a classifier: the network as it starts, its films, and the loop."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from hilum.augment.presets import FINETUNE
from hilum.bundle.initialization import initial_weights
from hilum.classifier.learner import SupervisedLearner
from hilum.classifier.objective import Objective, class_weights
from hilum.classifier.options import Tuning
from hilum.counts import counted
from hilum.images.films import Films
from hilum.nn.backbones import Backbone
from hilum.training.batches import Batches, Labels, joined_with, repeating
from hilum.training.distributed import Team
from hilum.training.inference import as_probabilities
from hilum.training.loop import Score, Trainer
from hilum.training.run_folder import RunFolder
from hilum.workflows.train.options import FinetuneOptions, FinetuneTrainOptions
from hilum.workflows.train.probe_start import embedded, fit_probe, start_at_probe
from hilum.workflows.train.run import film_batches, fit_batch
from hilum.workflows.train.training_set import TrainingSet


@dataclass(frozen=True)
class Fitting:
    """A classifier before its first step, and all that the loop needs."""

    learner: SupervisedLearner
    batches: Batches
    train: FinetuneTrainOptions
    repeats: int
    """How often an epoch goes over the films."""
    run: RunFolder
    team: Team

    def trainer(
        self,
        score: Score | None = None,
        patience: int = 0,
        last_epoch: int | None = None,
        stage: str = "finetune",
    ) -> Trainer:
        """Return the loop, ready to train."""
        return Trainer(
            self.learner,
            self.batches,
            self.train,
            self.run,
            self.team.listener,
            stage,
            score,
            patience,
            self.team,
            last_epoch=last_epoch,
        )


def new_fitting(
    backbone: Backbone,
    films: Films,
    training_set: TrainingSet,
    options: FinetuneOptions,
    size: int,
    run: RunFolder,
    team: Team,
) -> Fitting:
    """Return a fit of a copy of the backbone to a training set; its checkpoints and log lie in ``run``.

    Raises:
        DataError: The films do not fill batches of 2.
    """
    listener, processes = team.listener, team.ranks.world_size
    train = fit_batch(options.train, len(training_set.rows), listener, processes)
    further = train.batch_size * options.soft_targets.ratio if len(training_set.unlabelled) else 0
    learner = new_learner(copy.deepcopy(backbone), training_set, options, size, further)
    device = device_before_training(train.accelerator, team.ranks.local_rank)
    if learner.tuning.probe_first:
        penalty = start_at_probe(
            learner, films, training_set, train.seed, device, by_patient=options.by_patient
        )
        listener.note(f"starts at a linear probe of the initial weights (penalty {penalty:g})")
    learner.begin_copies()
    repeats = epoch_repeats(train, len(training_set.rows), processes)
    if repeats > 1:
        listener.note(few_steps_note(train, len(training_set.rows), processes, repeats))
    order, labels = repeating(training_set.order(train.seed), repeats), training_set.labels
    if further:
        order = joined_with(order, train.batch_size, training_set.unlabelled, further, train.seed)
        train = replace(train, batch_size=train.batch_size + further)
        labels = with_soft_targets(films, training_set, options, size, device)
    batches = film_batches(films, order, train, team, labels)
    return Fitting(learner, batches, train, repeats, run, team)


def device_before_training(accelerator: str, local_rank: int) -> torch.device:
    """Return where films are embedded before the loop has taken its device."""
    if accelerator == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", min(local_rank, torch.cuda.device_count() - 1))


def with_soft_targets(
    films: Films,
    training_set: TrainingSet,
    options: FinetuneOptions,
    size: int,
    device: torch.device,
) -> Labels:
    """Return the labels with the mean probability of the further starts as targets of the unlabelled films.

    Each start gives those of a linear probe that is fitted to the labels of this training set.
    """
    labels, rows = training_set.labels, training_set.unlabelled
    if not options.soft_targets.starts:
        return labels
    total = np.zeros((len(rows), labels.targets.shape[1]), np.float32)
    for path in options.soft_targets.starts:
        start = initial_weights(str(path), None, size, options.train.seed, options.allow_partial)
        if start.preparation is not None:
            films.refuse_other_preparation(start.preparation)
        probe, _ = fit_probe(
            start.backbone, films, training_set, size, options.train.seed, device,
            by_patient=options.by_patient,
        )  # fmt: skip
        features = torch.from_numpy(embedded(start.backbone, films, rows, size, device))
        total += as_probabilities(probe(features).numpy())
    targets = labels.targets.copy()
    targets[rows] = total / len(options.soft_targets.starts)
    return Labels(targets, labels.weights)


def new_learner(
    backbone: Backbone,
    training_set: TrainingSet,
    options: FinetuneOptions,
    size: int,
    unlabelled: int = 0,
) -> SupervisedLearner:
    """Return the backbone with a head that begins at the findings' prevalences, and its loss.

    ``unlabelled`` films of each batch, its last, have soft targets.
    """
    counts = training_set.class_counts()
    weights = class_weights(options.loss, counts)  # [F, 3], or None where all weigh alike
    objective = Objective(
        len(training_set.findings), training_set.multiclass, options.loss, weights
    )
    learner = SupervisedLearner(
        backbone,
        objective,
        FINETUNE,
        size,
        freeze=options.freeze,
        tuning=tuning_of(options, unlabelled),
    )
    learner.initialise_head(counts if weights is None else counts * weights, options.train.seed)
    return learner


def tuning_of(options: FinetuneOptions, unlabelled: int = 0) -> Tuning:
    """Return how far the network may move; random weights have nothing to stay near."""
    train, soft = options.train, options.soft_targets
    whatever_start = Tuning(
        average=train.average,
        unlabelled=unlabelled,
        soft_weight=soft.weight,
        starts=len(soft.starts),
    )
    if options.init == "random":
        return whatever_start
    return replace(
        whatever_start,
        backbone_rate=train.backbone_rate,
        layer_decay=train.layer_decay,
        keep_norm=train.keep_norm,
        probe_first=options.probe_first,
    )


def not_of_random_weights(options: FinetuneOptions) -> Iterator[str]:
    """Yield a line on the options that change nothing where the network starts from random weights."""
    if options.init != "random":
        return
    usual, train = FinetuneTrainOptions(), options.train
    names = [
        f"--train.{name.replace('_', '-')}"
        for name in ("backbone_rate", "layer_decay", "keep_norm")
        if getattr(train, name) != getattr(usual, name)
    ]
    names += ["--probe-first"] * options.probe_first
    if names:
        yield f"of pretrained weights only, so without effect on random ones: {', '.join(names)}"


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
