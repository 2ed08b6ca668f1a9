"""One run of a study: trained, measured if chosen, its checkpoints removed."""

from __future__ import annotations

import shutil
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hilum.errors import HilumError
from hilum.listener import Listener
from hilum.training.interrupt import Interrupted
from hilum.training.run_folder import CHECKPOINTS
from hilum.workflows.evaluate.evaluate import evaluate
from hilum.workflows.evaluate.options import EvaluateOptions
from hilum.workflows.pseudo_label.pseudo_label import PseudoLabelOptions, pseudo_label
from hilum.workflows.train.finetune import finetune
from hilum.workflows.train.options import FinetuneOptions, PretrainOptions
from hilum.workflows.train.pretrain import pretrain

LONGEST = 400
"""Letters of a fault's line at most."""


@dataclass(frozen=True)
class Task:
    """A run to do."""

    run: str
    options: PretrainOptions | FinetuneOptions | PseudoLabelOptions
    method: str | None = None
    """Of a pretraining."""
    method_options: Any = None
    start: Path | None = None
    """Of pseudo-labels the run that begins."""
    measures: tuple[EvaluateOptions, ...] = ()
    reached: float | None = None
    """Validation AUROC of a run that is trained already, and is only to be measured."""
    faults: Path | None = None
    """Folder for the traceback of a fault that is not the user's."""


@dataclass(frozen=True)
class TaskEnd:
    """How a run ended."""

    run: str
    seconds: float
    validation_auroc: float | None = None
    error: str | None = None


def do(task: Task, listener: Listener) -> TaskEnd:
    """Do a run to its end, from where it was stopped.

    Raises:
        Interrupted: SIGINT or SIGTERM came; all is saved.
    """
    began = time.perf_counter()
    try:
        if isinstance(task.options, PretrainOptions):
            pretrain(str(task.method), task.method_options, task.options, listener)
            best = None
        elif task.reached is not None:
            best = task.reached
        elif isinstance(task.options, FinetuneOptions):
            best = finetune(task.options, listener).best
        elif task.start is None:
            raise ValueError(f"pseudo-labels {task.run} begin with no run")
        else:
            best = pseudo_label(task.start, task.options, listener).rounds.best
        drop_checkpoints(task.options.out)
        for how in task.measures:
            evaluate(task.options.out, how, listener)
    except Interrupted:
        raise
    except Exception as error:  # noqa: BLE001 - whatever ends one run, the others go on
        line = line_of(error, task.faults, Path(task.run).name)
        return TaskEnd(task.run, time.perf_counter() - began, error=line)
    return TaskEnd(task.run, time.perf_counter() - began, best)


def drop_checkpoints(run: Path) -> None:
    """Remove a finished run's checkpoints, which take ten times the space of its model."""
    shutil.rmtree(run / CHECKPOINTS, ignore_errors=True)


def line_of(error: Exception, faults: Path | None, name: str) -> str:
    """Return an error as one line; the traceback of a fault of the program goes to a file.

    Args:
        error: What ended the work.
        faults: Folder for the traceback, which is made if need be; None keeps none.
        name: Of the work, and so of the file.
    """
    message = " ".join(str(error).split())[:LONGEST]
    if isinstance(error, HilumError):
        return message
    line = f"{type(error).__name__}: {message}" if message else type(error).__name__
    if faults is None:
        return line
    faults.mkdir(exist_ok=True)
    path = faults / f"{name}.txt"
    path.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    return f"{line} (traceback in {path.parent.name}/{path.name})"
