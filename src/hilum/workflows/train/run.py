"""What pretraining and fine-tuning share: how a run begins, what it writes down, and how it ends."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from hilum.arrays import FloatArray, Rows
from hilum.bundle.initialization import InitialWeights, initial_weights
from hilum.bundle.model_folder import Description, is_model
from hilum.errors import DataError
from hilum.images.films import Films
from hilum.listener import Listener
from hilum.options import plain
from hilum.training.batches import Batches, Order, shuffled
from hilum.training.distributed import ALONE, Team
from hilum.training.loop import Outcome
from hilum.training.options import TrainOptions
from hilum.training.positive_pairs import PositivePairs
from hilum.training.run_folder import RunFolder
from hilum.version import __version__
from hilum.workflows.data.subsets import Subsets


@dataclass(frozen=True)
class TrainingResult:
    """What a finished run says of itself."""

    run: Path
    steps: int
    images_per_second: float | None
    films: int
    patients: int
    best: float | None = None
    """Best mean AUROC on validation films; None where nothing was validated."""
    best_step: int = 0
    already_done: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain values."""
        return {**asdict(self), "run": str(self.run)}


def begin(options: Any, films: Films, size: int, listener: Listener) -> InitialWeights:
    """Return the start that the options name, and say where it comes from and whether it knows other films."""
    start = initial_weights(options.init, options.backbone, size, options.train.seed)
    for note in start.notes:
        listener.note(note)
    if start.preparation not in (None, films.preparation):
        listener.note(
            f"{options.init} learnt from films prepared with {start.preparation.flags()}, "
            f"these were prepared with {films.preparation.flags()}"
        )
    return start


def fit_batch(
    train: TrainOptions, films: int, listener: Listener, processes: int = 1
) -> TrainOptions:
    """Return the options with a batch that so few films can fill in every process, saying so if it had to shrink.

    Raises:
        DataError: They do not fill batches of 2.
    """
    batches = train.accumulate * processes
    largest = films // batches
    if largest < 2:
        lower = "--train.accumulate" if processes == 1 else "--train.accumulate or --devices"
        raise DataError(
            f"{films} films are too few for a step of {batches} x 2 films: train on more films, or lower {lower}."
        )
    if train.batch_size > largest:
        listener.note(
            f"{films} films do not fill a batch of {train.batch_size}: it is {largest} now"
        )
        train = replace(train, batch_size=largest)
    _note_step(train, films, listener, processes)
    return train


def _note_step(train: TrainOptions, films: int, listener: Listener, processes: int) -> None:
    """Say how many films make a step where that is not plain, and how many fill none."""
    step = train.batch_size * train.accumulate * processes
    if step > train.batch_size:
        parts = [
            f"{train.batch_size} films",
            f"{train.accumulate} batches" * (train.accumulate > 1),
        ]
        parts.append(f"{processes} processes" * (processes > 1))
        listener.note(f"a step takes {step} films: {' x '.join(filter(None, parts))}")
    left = films % step
    if left > films / 10:
        listener.note(
            f"{left} of the {films} films, others each epoch, fill no whole batch of {train.batch_size}"
        )


def run_record(
    command: tuple[str, ...],
    options: Any,
    subsets: Subsets,
    more: dict[str, Any],
    processes: int = 1,
) -> dict[str, Any]:
    """Return what options.yaml holds: a config file that repeats the run, and what it was made with."""
    given = {**asdict(options), **more, "init": _anywhere(options.init), "devices": processes}
    block: dict[str, Any] = plain(given)
    del block["out"]
    for name in reversed(command):
        block = {name: block}
    return {
        **block,
        "record": {"hilum": __version__, "processes": processes, "data": subsets.record()},
    }


def _anywhere(init: str) -> str:
    """Return ``--init`` as it is understood from every folder: a run's or a file's whole path, else the word."""
    path = Path(init)
    named = is_model(path) or (init not in ("random", "imagenet") and path.exists())
    return str(path.resolve()) if named else init


def describe(
    start: InitialWeights, size: int, films: Films, method: str, data: list[dict[str, Any]]
) -> Description:
    """Return the model's description without findings."""
    return Description(
        backbone=start.backbone.name,
        size=size,
        preparation=films.preparation.to_json(),
        method=method,
        training_data={"stores": data},
    )


def record_result(run: RunFolder, outcome: Outcome, films: int, patients: int) -> TrainingResult:
    """Write metrics.json, by which the run counts as done, and return the result."""
    result = TrainingResult(
        run.path,
        outcome.steps,
        outcome.images_per_second,
        films,
        patients,
        outcome.best,
        outcome.best_step,
    )
    run.finish(
        {
            "training": {
                key: value
                for key, value in result.to_json().items()
                if key not in ("run", "already_done")
            }
        }
    )
    return result


def finished(run: RunFolder, listener: Listener) -> TrainingResult:
    """Return the result of a run that reached its end before."""
    listener.note(f"{run.path} is already done")
    return TrainingResult(run=run.path, already_done=True, **run.metrics()["training"])


def film_batches(
    films: Films,
    rows: Rows,
    train: TrainOptions,
    targets: FloatArray | None = None,
    weights: FloatArray | None = None,
    positives: PositivePairs | None = None,
    team: Team = ALONE,
    order: Order | None = None,
) -> Batches:
    """Return this process's batches of these rows; in pinned memory where they go to a GPU.

    ``order`` is that of an epoch's rows; shuffled unless given.
    """
    pin = torch.cuda.is_available() and train.accelerator != "cpu"
    order = order or shuffled(rows, train.seed)
    size, accumulate, place = train.batch_size, train.accumulate, team.place
    labels = targets, weights
    return Batches(
        films, order, len(rows), size, accumulate, *labels, place.rank, place.count, pin, positives
    )
