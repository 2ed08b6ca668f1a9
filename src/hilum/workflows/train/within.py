"""Cross-validation within the labelled patients: what chooses is taken out of the fraction itself.

The patients of the training set are divided into folds. A network is trained without each fold and
scores its films after every epoch; all films so have scores of networks that never saw their
patient. They choose the epoch and the candidate, then calibration and thresholds. A last network
is trained on all films for the chosen number of epochs.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hilum.arrays import FloatArray
from hilum.classifier.folding import fold as fold_into
from hilum.classifier.learner import MEAN, PROBE, TUNED, SupervisedLearner
from hilum.classifier.network import Classifier
from hilum.counts import counted
from hilum.errors import DataError, OptionError
from hilum.metrics.calibration import Calibration, fit_calibrations
from hilum.metrics.ranking import mean_auroc_within_folds
from hilum.nn.backbones import Backbone
from hilum.stratify import folds
from hilum.training import checkpoint
from hilum.training.distributed import Team
from hilum.training.inference import as_probabilities
from hilum.training.learner import Learner
from hilum.training.run_folder import FOLDS, SCORES, RunFolder
from hilum.workflows.train.fitting import new_fitting
from hilum.workflows.train.options import FinetuneOptions
from hilum.workflows.train.training_set import TrainingSet
from hilum.workflows.train.validation_set import Validation

ORDER = (PROBE, MEAN, TUNED)
"""Of candidates that are equally good the first is taken, and of epochs the earliest."""


@dataclass(frozen=True)
class Chosen:
    """What cross-validation chose."""

    folds: int
    epoch: int
    """Epochs of the last fit; 0 where the probe was the best."""
    candidate: str
    auroc: float | None
    """Its mean AUROC over findings, of pairs of films of one fold; None where no fold has both kinds."""
    scores: Mapping[str, Sequence[float | None]]
    """The same of every candidate, by epoch."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


class OutOfFold(Validation):
    """The training films with scores of networks that never saw their patient."""

    def __init__(self, validation: Validation, logits: FloatArray) -> None:
        super().__init__(
            validation.films,
            validation.rows,
            validation.findings,
            validation.truth,
            validation.counts,
        )
        self._logits = logits

    def calibrated(
        self, classifier: Classifier, size: int, calibrate: bool
    ) -> tuple[Classifier, list[Calibration | None], FloatArray]:
        """Return as ``Validation.calibrated`` does, with the probabilities of the folds' networks."""
        del size  # no film goes through the last network, which has seen them all
        fitted: list[Calibration | None] = [None] * len(self.findings)
        if calibrate:
            fitted = fit_calibrations(self.truth, self.counts, self._logits)
        logits = self._logits.copy()
        for column, calibration in enumerate(fitted):
            if calibration is not None:
                logits[:, column] = logits[:, column] / calibration.temperature + calibration.shift
        final = Classifier(classifier.backbone, fold_into(classifier.head, fitted))
        return final, fitted, as_probabilities(logits)


class FoldScores:
    """The logits that each candidate of each epoch gives for the films held out, kept beside the fold's run.

    It is the score of that fold's loop, and chooses nothing there.
    """

    def __init__(self, folder: Path, held_out: Validation) -> None:
        self.folder, self.held_out = folder / SCORES, held_out
        self.epoch: Callable[[], int] = lambda: 0  # of the loop, which is made with these scores
        saved, _ = checkpoint.load_newest(self.folder)
        self.logits: dict[str, FloatArray] = (
            {} if saved is None else {name: t.numpy() for name, t in saved.tensors.items()}
        )

    def __call__(self, learner: Learner) -> None:
        """Score the films held out; called once at the end of each epoch."""
        if not isinstance(learner, SupervisedLearner):
            raise TypeError(f"a supervised learner is expected, not {type(learner).__name__}")
        now = self.epoch()
        for name, candidate in learner.candidates().items():
            place = key(name, 0 if name == PROBE else now)
            if name != PROBE or place not in self.logits:  # the probe stays as it was
                self.logits[place] = self.held_out.logits(candidate, learner.size)
        tensors = {name: torch.from_numpy(logits) for name, logits in self.logits.items()}
        checkpoint.save(self.folder, checkpoint.Checkpoint(now, tensors, {}))


def key(candidate: str, epoch: int) -> str:
    """Return the name of a candidate's logits; the probe's are those of epoch 0."""
    return f"{candidate}/{epoch}"


def cross_validated(
    backbone: Backbone,
    training_set: TrainingSet,
    validation: Validation,
    options: FinetuneOptions,
    size: int,
    run: RunFolder,
    team: Team,
) -> tuple[Chosen, OutOfFold]:
    """Train a network without each fold, and return what their scores of it choose, and the scores chosen.

    An interrupted fold continues where it was; finished ones are not trained again.

    Args:
        backbone: Initial weights, which are left alone.
        training_set: What to divide.
        validation: The truth of its films, row by row.
        options: Of the whole run.
        size: Height and width in pixels of the network's input.
        run: The whole run's folder.
        team: This process, which must be the only one.

    Raises:
        DataError: The films are of one patient.
        OptionError: There are several processes.
    """
    if team.ranks.world_size > 1:
        raise OptionError(
            f"--validation within trains in one process, and there are {team.ranks.world_size}: start one."
        )
    parts = folds_of_films(validation, options)
    count = int(parts.max()) + 1
    logits: dict[str, FloatArray] = {}
    for number in range(count):
        held_out = validation.only(parts == number)
        rest = training_set.only(training_set.rows[parts != number])
        of_fold = fold_logits(
            backbone, rest, held_out, options, size, RunFolder(run.path / FOLDS / f"fold-{number + 1}"),
            team, f"fold {number + 1} of {count}",
        )  # fmt: skip
        for name, values in of_fold.items():
            logits.setdefault(name, np.empty((len(parts), values.shape[1]), np.float32))
            logits[name][parts == number] = values
    chosen = choose(logits, validation, parts)
    auroc = "unknown" if chosen.auroc is None else f"{chosen.auroc:.3f}"
    team.listener.note(
        f"cross-validation over {counted(len(np.unique(validation.patients)), 'patient')} in {count} folds chooses "
        f"the {chosen.candidate} network of epoch {chosen.epoch} (mean AUROC {auroc}); trains on all of them now"
    )
    return chosen, OutOfFold(validation, logits[key(chosen.candidate, chosen.epoch)])


def fold_logits(
    backbone: Backbone,
    training_set: TrainingSet,
    held_out: Validation,
    options: FinetuneOptions,
    size: int,
    run: RunFolder,
    team: Team,
    stage: str,
) -> dict[str, FloatArray]:
    """Train without a fold and return the logits of its films by candidate and epoch."""
    run.path.mkdir(parents=True, exist_ok=True)
    scores = FoldScores(run.path, held_out)
    if key(TUNED, options.train.epochs) not in scores.logits:
        fitting = new_fitting(backbone, held_out.films, training_set, options, size, run, team)
        trainer = fitting.trainer(scores, stage=stage)
        scores.epoch = lambda: trainer.epoch
        trainer.train()
        shutil.rmtree(run.checkpoints, ignore_errors=True)
    return scores.logits


def choose(
    logits: Mapping[str, FloatArray], validation: Validation, parts: NDArray[np.int64]
) -> Chosen:
    """Return the best candidate and epoch by AUROC within folds; of equals see ``ORDER``."""
    by_epoch = sorted(
        (int(epoch), ORDER.index(candidate), candidate)
        for candidate, epoch in (name.split("/") for name in logits)
    )
    scores: dict[str, list[float | None]] = {}
    best, epoch, candidate = None, by_epoch[-1][0], TUNED  # where no fold has both kinds
    for number, _, name in by_epoch:
        score = mean_auroc_within_folds(
            validation.truth, validation.counts, logits[key(name, number)], parts
        )
        scores.setdefault(name, []).append(score)
        if score is not None and (best is None or score > best):
            best, epoch, candidate = score, number, name
    return Chosen(int(parts.max()) + 1, epoch, candidate, best, scores)


def folds_of_films(validation: Validation, options: FinetuneOptions) -> NDArray[np.int64]:
    """Return the fold of each training film, [n].

    Raises:
        DataError: They are of one patient.
    """
    shows = (validation.truth > 0.5) & validation.counts
    parts = folds(shows, validation.patients, options.folds, options.train.seed)
    if parts.max() < 1:
        raise DataError(
            "--validation within divides the labelled patients, and there is one: give a larger --fraction, "
            "or --validation split."
        )
    return parts


def folds_of(validation: Validation, options: FinetuneOptions) -> int:
    """Return the number of folds: with fewer patients there is one for each."""
    return int(folds_of_films(validation, options).max()) + 1


def drop_folds(run: RunFolder) -> None:
    """Remove what the folds left: a finished run reads it no more."""
    shutil.rmtree(run.path / FOLDS, ignore_errors=True)
