"""Pretraining: a backbone learns from films without their labels."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hilum import __version__
from hilum.bundle.model_folder import Description, Model, save_model
from hilum.bundle.seen import joined, seen_films
from hilum.bundle.start import Start, seeded, start_from
from hilum.errors import DataError
from hilum.images.films import Films
from hilum.listener import SILENT, Listener
from hilum.methods import load_method
from hilum.training.batches import Batches, Rows, shuffled
from hilum.training.loop import Outcome, Trainer
from hilum.training.options import TrainOptions
from hilum.training.run_folder import RunFolder, open_run
from hilum.workflows.options import PretrainOptions, plain
from hilum.workflows.parts import Parts


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


def pretrain(method: str, method_options: Any, options: PretrainOptions, listener: Listener = SILENT) -> TrainingResult:
    """Pretrain a backbone by a method into a run folder; an unfinished run continues, a finished one is left alone.

    Args:
        method: A name of METHODS.
        method_options: An instance of that method's ``Options``.
        options: Data, start and training.
        listener: Hears notes and progress.

    Raises:
        HilumError: The user can mend it; see the line.
        Interrupted: SIGINT or SIGTERM came; all is saved.
    """
    films = Films.open(options.data)
    parts = Parts.of(films)
    rows = pretraining_rows(parts, with_validation=options.with_validation)
    method_options = method_options.for_films(len(rows))
    record = run_record(("pretrain", method), options, parts, {"method": asdict(method_options)})
    with open_run(options.out, record) as run:
        if run.done:
            return finished(run, listener)
        parts.keep(run.path)
        size = options.train.size or films.preparation.size
        start = begin(options, size, listener)
        with seeded(options.train.seed):
            learner = load_method(method)(start.backbone, method_options, size)
        train = fit_batch(options.train, len(rows), listener)
        listener.note(
            f"pretrains {method} on {len(rows)} films of {parts.patients(rows)} patients; test films stay out"
        )
        batches = Batches(films, shuffled(rows, train.seed), len(rows), train.batch_size, train.accumulate)
        outcome = Trainer(learner, batches, train, run, listener, stage=f"pretrain {method}").train()
        description = describe(start, size, films, method, parts.record())
        seen = joined(start.seen, seen_films(films.catalog.iloc[rows]))
        save_model(run.model, Model(description, start.backbone, None, seen))
        return record_result(run, outcome, len(rows), parts.patients(rows))


def pretraining_rows(parts: Parts, *, with_validation: bool) -> Rows:
    """Return the films that may be learnt from without labels: training films, validation films if wanted."""
    rows = parts.needed("train")
    return np.union1d(rows, parts.rows("val")).astype(np.int64) if with_validation else rows


def begin(options: Any, size: int, listener: Listener) -> Start:
    """Return the start that the options name, and say where it comes from."""
    start = start_from(options.init, options.backbone, size, options.train.seed)
    for note in start.notes:
        listener.note(note)
    return start


def fit_batch(train: TrainOptions, films: int, listener: Listener) -> TrainOptions:
    """Return the options with a batch that so few films can fill, saying so if it had to shrink.

    Raises:
        DataError: They do not fill batches of 2.
    """
    largest = films // train.accumulate
    if largest < 2:
        raise DataError(
            f"{films} films do not fill {train.accumulate} batches of 2: "
            "prepare more, or lower --train.accumulate or raise --fraction."
        )
    if train.batch_size <= largest:
        return train
    listener.note(f"{films} films do not fill a batch of {train.batch_size}: it is {largest} now")
    return replace(train, batch_size=largest)


def run_record(command: tuple[str, ...], options: Any, parts: Parts, more: dict[str, Any]) -> dict[str, Any]:
    """Return what options.yaml holds: a config file that repeats the run, and what it was made with."""
    block: dict[str, Any] = plain({**asdict(options), **more})
    del block["out"]
    for name in reversed(command):
        block = {name: block}
    return {**block, "record": {"hilum": __version__, "data": parts.record()}}


def describe(start: Start, size: int, films: Films, method: str, data: list[dict[str, Any]]) -> Description:
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
        run.path, outcome.steps, outcome.images_per_second, films, patients, outcome.best, outcome.best_step
    )
    run.finish(
        {"training": {key: value for key, value in result.to_json().items() if key not in ("run", "already_done")}}
    )
    return result


def finished(run: RunFolder, listener: Listener) -> TrainingResult:
    """Return the result of a run that reached its end before."""
    listener.note(f"{run.path} is already done")
    return TrainingResult(run=run.path, already_done=True, **run.metrics()["training"])
