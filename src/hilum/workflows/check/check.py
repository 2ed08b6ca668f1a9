"""``hilum check``: read every file of a store, a run or a model, and compare it with its hash."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hilum.bundle.model_folder import DESCRIPTION, age_notes, damages, is_model
from hilum.duplicates.stored import FILE_NAME as DUPLICATES
from hilum.duplicates.stored import read_duplicates
from hilum.errors import DataError, HilumError
from hilum.images.store import MANIFEST, Store
from hilum.options import as_path
from hilum.splits import Split
from hilum.training.checkpoint import damage
from hilum.training.run_folder import (
    CHECKPOINTS,
    LOG,
    METRICS,
    OPTIONS,
    PSEUDO_LABELS,
    SPLITS,
    read_log,
    read_metrics,
)
from hilum.workflows.data.pseudo_label_table import read_pseudo_labels
from hilum.workflows.evaluate.predictions import read_predictions


@dataclass(frozen=True)
class CheckResult:
    """What was read of a folder, and what of it is damaged."""

    path: Path
    checked: tuple[str, ...]
    """Files and folders that were compared, by their place below the folder."""
    damaged: tuple[str, ...]
    """A line for each that is not what was written."""
    notes: tuple[str, ...] = ()
    """What could not be checked, as earlier versions wrote no hash of it."""


def check(path: str | Path) -> CheckResult:
    """Read all of a store, a run or a model's folder, and compare it with its hashes.

    Raises:
        DataError: The folder is none of these.
    """
    path = as_path("path", path)
    if (path / MANIFEST).is_file() and not (path / DESCRIPTION).is_file():
        parts, notes = _of_store(path)
    elif (path / OPTIONS).is_file() or is_model(path):
        parts, notes = _of_run(path), age_notes(path) if is_model(path) else ()
    else:
        raise DataError(
            f"{path} is no store, run or model: give a folder that a command of hilum wrote."
        )
    checked, damaged = [], []
    for name, read in parts:
        checked.append(name)
        try:
            read()
        except (HilumError, OSError) as error:
            damaged.append(f"{name}: {error}")
    return CheckResult(path, tuple(checked), tuple(damaged), notes)


Reads = Iterator[tuple[str, Callable[[], object]]]


def _of_store(folder: Path) -> tuple[Reads, tuple[str, ...]]:
    try:
        store = Store.open(folder)
    except DataError as error:
        return iter([("manifest and table", _raising(str(error)))]), ()

    def parts() -> Reads:
        yield "manifest and table", lambda: store
        yield "films", store.verify
        yield "split.json", lambda: Split.load(folder)
        if (folder / DUPLICATES).exists():
            yield DUPLICATES, lambda: read_duplicates(store)

    return parts(), store.notes


def _of_run(folder: Path) -> Reads:
    """Yield the files of a run, or of a bare model."""
    if is_model(folder):
        yield "model", lambda: _refuse(folder, damages(folder))
    if (folder / METRICS).is_file():
        yield METRICS, lambda: read_metrics(folder)
    if (folder / LOG).is_file():
        yield f"{LOG} (has no hash, was only read)", lambda: read_log(folder)
    if (folder / PSEUDO_LABELS).is_file():
        yield PSEUDO_LABELS, lambda: read_pseudo_labels(folder / PSEUDO_LABELS)
    for split in sorted((folder / SPLITS).glob("*")):
        yield f"{SPLITS}/{split.name}", partial(Split.load, split)
    for file in sorted(folder.glob("predictions-*.parquet")):
        yield file.name, partial(read_predictions, file)
    for step in sorted((folder / CHECKPOINTS).glob("[!.]*")):
        fault = damage(step)
        yield (
            f"{CHECKPOINTS}/{step.name}",
            partial(_refuse, step, [fault] if fault else []),
        )


def _refuse(folder: Path, faults: list[str]) -> None:
    if faults:
        raise DataError(f"{folder} is not what was written: {', '.join(faults)}.")


def _raising(line: str) -> Callable[[], object]:
    def read() -> object:
        raise DataError(line)

    return read
