"""Reads a run's folder for its page, and JSON and pictures for all pages."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hilum.bundle.model_folder import DESCRIPTION, description_content
from hilum.errors import DataError, RunError
from hilum.files import inside, read_hashed_json
from hilum.records import read_record
from hilum.training.options_file import OPTIONS, read_options_file
from hilum.training.run_folder import (
    CROPS,
    LOG,
    METRICS,
    MODEL,
    changed_files,
    own_file,
    read_log,
    read_metrics,
)
from hilum.training.run_record import TrainingRecord
from hilum.workflows.evaluate.record import ComparisonRecord, EvaluationRecord, Evaluations
from hilum.workflows.pseudo_label.record import ROUNDS, Rounds, read_rounds

NOT_A_REPORT = (
    "holds no study, run or data card: give what `hilum study`, demo, finetune, pretrain, "
    "pseudo-label or card wrote."
)
AGAIN = "make the folder's content again"
FOLDER_OF_RUN = "finish the command that made it, or give another folder"


@dataclass(frozen=True)
class ModelRecord:
    """What the pages show of ``model.json``."""

    backbone: str = ""
    findings: tuple[str, ...] = ()
    unstated: str = "absent"
    weights_sha256: str = ""
    thresholds: Mapping[str, float | None] = field(default_factory=dict)
    learnt: bool | None = None
    """Whether validation films show that it learnt anything; None where that was not tested."""
    not_called: Mapping[str, str] = field(default_factory=dict)
    """Finding -> why it has no threshold."""

    @property
    def never_called(self) -> dict[str, str]:
        """Findings without a threshold, which the model calls on no film, and why."""
        reason = "validation films could not choose a threshold"
        return {
            name: self.not_called.get(name, reason)
            for name in self.findings
            if self.thresholds.get(name) is None
        }


@dataclass(frozen=True)
class Run:
    """One run as its files have it, finished or not."""

    path: Path
    command: tuple[str, ...]
    """``("finetune",)`` or ``("pretrain", METHOD)``."""
    options: Mapping[str, Any]
    record: Mapping[str, Any]
    """Version and data of the run, by hash."""
    events: tuple[Mapping[str, Any], ...]
    """Lines of log.jsonl, see ``curve`` and ``named``."""
    training: TrainingRecord | None
    """None before the end of the training."""
    evaluations: Mapping[str, EvaluationRecord] = field(default_factory=dict)
    comparisons: Mapping[str, Mapping[str, ComparisonRecord]] = field(default_factory=dict)
    """With other runs, by evaluation and the other run's name."""
    model: ModelRecord = ModelRecord()
    """Empty before the end of the training."""
    crops: bytes | None = None
    """The picture of the crops that a method sees; None where the run has none."""
    rounds: Rounds | None = None
    """Rounds of pseudo-labels, where the run is such."""

    @property
    def finished(self) -> bool:
        """Whether the run reached its end."""
        return self.training is not None

    @property
    def step(self) -> int:
        """The last step of the log."""
        return max(
            (event["step"] for event in self.events if _number(event.get("step"))), default=0
        )

    @property
    def total(self) -> int | None:
        """Steps of the run unless it stops early; None where the log does not say."""
        return next((int(value) for _, value in self.curve("total", "begun")), None)

    @property
    def chance(self) -> float | None:
        """The loss in nats of chance; None where the log has none."""
        return next((value for _, value in self.curve("value", "chance")), None)

    def named(self, kind: str) -> list[Mapping[str, Any]]:
        """Return the log's events of a kind by step; ``step`` is the kind of the lines of losses."""
        events = [
            event
            for event in self.events
            if event.get("event", "step") == kind and _number(event.get("step"))
        ]
        return sorted(events, key=lambda event: event["step"])

    def curve(self, value: str, kind: str = "step") -> list[tuple[float, float]]:
        """Return (step, value) of the events of a kind, leaving out those that lack the value or have none."""
        events = self.named(kind)
        return [(event["step"], event[value]) for event in events if _number(event.get(value))]


def read_run(folder: Path) -> Run:
    """Read a run, finished or not.

    Raises:
        RunError: There is none, it has not begun, or a file of it is damaged.
    """
    if not (folder / OPTIONS).is_file():
        raise RunError(f"{folder} {NOT_A_REPORT}")
    metrics, (options, _) = read_metrics(folder), read_options_file(folder)
    if changed := changed_files(folder, metrics):
        raise RunError(
            f"{folder / changed[0]} is not what was written: put back what it was, or train it again."
        )
    try:
        record = options.pop("record", {})
        command, block = _command(options)
        events = tuple(read_log(folder))
        training = metrics.get("training") or None
        if training is None and not events:
            raise RunError(
                f"{folder} holds a run that has not begun to train: build its page once it has."
            )
        measured = Evaluations.from_json(metrics)
        return Run(
            path=folder,
            command=command,
            options=block,
            record=record,
            events=events,
            training=training and read_record(TrainingRecord, training),
            evaluations=measured.evaluations,
            comparisons=measured.comparisons,
            model=_model(folder) if training else ModelRecord(),
            crops=bytes_of(folder / CROPS) if (folder / CROPS).is_file() else None,
            rounds=read_rounds(folder) if (folder / ROUNDS).is_file() else None,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        line = " ".join(str(error).split())
        raise RunError(
            f"{folder} has a damaged {OPTIONS}, {LOG} or {METRICS} ({line:.80}): train it again."
        ) from error


def _model(folder: Path) -> ModelRecord:
    place = own_file(folder, MODEL)
    try:
        return read_record(ModelRecord, description_content(place))
    except OSError as error:
        raise RunError(
            f"{place / DESCRIPTION} cannot be read ({error.strerror}): {FOLDER_OF_RUN}."
        ) from error
    except ValueError as error:
        raise RunError(
            f"{place / DESCRIPTION} is damaged ({error!s:.80}): train it again."
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object and compare it with its hash, where it has one.

    Raises:
        RunError: The file is missing, outside of its folder, or not what was written.
    """
    try:
        return read_hashed_json(inside(path.parent, path.name))[0]
    except OSError as error:
        raise RunError(f"{path} cannot be read ({error.strerror}): {FOLDER_OF_RUN}.") from error
    except ValueError as error:
        raise RunError(f"{path} is damaged ({error!s:.160}): {FOLDER_OF_RUN}.") from error


def bytes_of(path: Path, hashes: Mapping[str, str] | None = None) -> bytes:
    """Return a picture's bytes.

    Args:
        path: The picture's.
        hashes: SHA-256 of the folder's pictures by name; None where the folder has none.

    Raises:
        DataError: It is missing, outside of its folder, or not what was written.
    """
    try:
        content = inside(path.parent, path.name).read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): {AGAIN}.") from error
    except ValueError as error:
        raise DataError(f"{error}: {AGAIN}.") from error
    if hashes is not None and hashes.get(path.name) != hashlib.sha256(content).hexdigest():
        raise DataError(f"{path} is not what was written: {AGAIN}.")
    return content


def _number(value: Any) -> bool:
    """Whether a value of the log is a number that can be drawn."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _command(options: Mapping[str, Any]) -> tuple[tuple[str, ...], Mapping[str, Any]]:
    """Return what the record repeats, as words, and its options."""
    (name, block), *_ = options.items()
    if name == "pretrain":
        (method, block), *_ = block.items()
        return ("pretrain", method), block
    return (name,), block
