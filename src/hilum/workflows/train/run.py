"""What pretraining and fine-tuning share: how a run begins, what it writes down, and how it ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch

from hilum.bundle.description import Description
from hilum.bundle.initialization import InitialWeights, initial_weights, weights_hash
from hilum.bundle.model_folder import age_notes, is_model
from hilum.counts import counted
from hilum.errors import DataError
from hilum.files import sha256
from hilum.images.films import Films
from hilum.listener import Listener
from hilum.options import plain
from hilum.training.batches import Batches, Labels, Order
from hilum.training.distributed import Team
from hilum.training.loop import Outcome
from hilum.training.options import LoopOptions
from hilum.training.positive_pairs import PositivePairs
from hilum.training.run_folder import RunFolder
from hilum.version import __version__
from hilum.workflows.data.subsets import StoreRecord, Subsets

Train = TypeVar("Train", bound=LoopOptions)


@dataclass(frozen=True)
class TrainingResult:
    """The result of a finished run, as metrics.json has it."""

    run: Path
    steps: int
    images_per_second: float | None
    films: int
    patients: int
    best: float | None = None
    """Best mean AUROC on validation films; None where nothing was validated."""
    best_step: int = 0
    repeats: int = 1
    """How often each epoch went over the films, for the sake of --train.min-steps."""
    already_done: bool = False
    within: bool = False
    """Whether ``best`` is of cross-validation within the labelled patients, and not of the split's val."""

    @staticmethod
    def of(
        run: RunFolder,
        outcome: Outcome,
        films: int,
        patients: int,
        repeats: int = 1,
        within: bool = False,
    ) -> TrainingResult:
        """Return the result of a training loop that reached its end."""
        return TrainingResult(
            run=run.path,
            steps=outcome.steps,
            images_per_second=outcome.images_per_second,
            films=films,
            patients=patients,
            best=outcome.best,
            best_step=outcome.best_step,
            repeats=repeats,
            within=within,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain values."""
        return {**asdict(self), "run": str(self.run)}


def begin(options: Any, films: Films, size: int, listener: Listener) -> InitialWeights:
    """Return the start that the options name, and say where it comes from and whether it knows other films."""
    start = initial_weights(
        options.init, options.backbone, size, options.train.seed, options.allow_partial
    )
    for note in start.notes:
        listener.note(note)
    if start.preparation not in (None, films.preparation):
        listener.note(
            f"{options.init} learnt from films prepared with {start.preparation.flags()}, "
            f"these were prepared with {films.preparation.flags()}"
        )
    return start


def fit_batch(train: Train, films: int, listener: Listener, processes: int = 1) -> Train:
    """Return the options with a batch that the films can fill in every process.

    Notes a smaller batch, the films of a step, and films left over in each epoch.

    Raises:
        DataError: They do not fill batches of 2.
    """
    batches = train.accumulate * processes
    largest = films // batches
    if largest < 2:
        lower = "--train.accumulate" if processes == 1 else "--train.accumulate or --devices"
        raise DataError(
            f"{counted(films, 'film is', 'films are')} too few for a step of {batches} x 2 "
            f"films: train on more films, or lower {lower}."
        )
    if train.batch_size > largest:
        listener.note(
            f"{counted(films, 'film does', 'films do')} not fill a batch of {train.batch_size}: it is {largest} now"
        )
        train = replace(train, batch_size=largest)
    step = train.batch_size * batches
    if step > train.batch_size:
        parts = [
            f"{counted(train.batch_size, 'film')}",
            f"{train.accumulate} batches" * (train.accumulate > 1),
            f"{processes} processes" * (processes > 1),
        ]
        listener.note(f"a step takes {counted(step, 'film')}: {' x '.join(filter(None, parts))}")
    left = films % step
    if left > films / 10:
        listener.note(
            f"{left} of the {counted(films, 'film')}, others each epoch, fill no whole batch of {train.batch_size}"
        )
    return train


@dataclass(frozen=True)
class RunRecord:
    """What a run was made with: the ``record`` block of options.yaml."""

    processes: int
    data: tuple[StoreRecord, ...]
    pseudo_labels: str | None = None
    """SHA-256 of the table given as --pseudo-labels."""
    init: str | None = None
    """SHA-256 of the weights given as --init; None where they are no file."""
    hilum: str = __version__

    @staticmethod
    def of(
        subsets: Subsets, processes: int, init: str, pseudo_labels: Path | None = None
    ) -> RunRecord:
        """Return the record of a run on these stores, from these weights."""
        digest = None if pseudo_labels is None else sha256(pseudo_labels)
        return RunRecord(processes, subsets.record(), digest, weights_hash(init))

    def to_json(self) -> dict[str, Any]:
        """Return plain values for YAML."""
        block = {
            "hilum": self.hilum,
            "processes": self.processes,
            "data": [asdict(store) for store in self.data],
        }
        hashes = {"pseudo_labels": self.pseudo_labels, "init": self.init}
        return block | {name: known for name, known in hashes.items() if known is not None}


def run_options(
    command: tuple[str, ...], options: Mapping[str, Any], record: RunRecord
) -> dict[str, Any]:
    """Return what options.yaml holds: a config file that repeats the run, and its record."""
    path = Path(options["init"])
    is_path = is_model(path) or (options["init"] not in ("random", "imagenet") and path.exists())
    # A path is written in full, so that the file repeats the run from every folder.
    init = str(path.resolve()) if is_path else options["init"]
    block: dict[str, Any] = plain({**options, "init": init, "devices": record.processes})
    del block["out"]
    for name in reversed(command):
        block = {name: block}
    return {**block, "record": record.to_json()}


def describe(
    start: InitialWeights, size: int, films: Films, method: str, data: Sequence[StoreRecord]
) -> Description:
    """Return the model's description without findings."""
    return Description(
        backbone=start.backbone.name,
        size=size,
        preparation=films.preparation.to_json(),
        method=method,
        training_data={"stores": [asdict(store) for store in data]},
    )


def record_result(
    run: RunFolder, result: TrainingResult, more: Mapping[str, Any] | None = None
) -> TrainingResult:
    """Write metrics.json, by which the run counts as done, and return the result."""
    training = result.to_json()
    del training["run"], training["already_done"]
    run.finish({"training": training, **(more or {})})
    return result


def finished(run: RunFolder, listener: Listener) -> TrainingResult:
    """Return the result of a run that reached its end before."""
    for note in (f"{run.path} is already done", *age_notes(run.path)):
        listener.note(note)
    return TrainingResult(run=run.path, already_done=True, **run.metrics()["training"])


def film_batches(
    films: Films,
    order: Order,
    train: LoopOptions,
    team: Team,
    labels: Labels | None = None,
    positives: PositivePairs | None = None,
) -> Batches:
    """Return this process's batches; in pinned memory where they go to a GPU."""
    return Batches(
        films,
        order,
        train.batch_size,
        train.accumulate,
        labels,
        team.ranks,
        pin=torch.cuda.is_available() and train.accelerator != "cpu",
        positives=positives,
    )
