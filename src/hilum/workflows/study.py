"""The study: every model on every share of the labels, run, measured and written down; continued where it was left."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import yaml

from hilum import __version__
from hilum.errors import OptionError, RunError
from hilum.files import clear_leftovers, write_bytes
from hilum.images.films import Films
from hilum.listener import SILENT, Listener
from hilum.training.interrupt import Interrupted
from hilum.training.processes import place_in
from hilum.training.run_folder import difference, hold
from hilum.workflows.study_analysis import analyse
from hilum.workflows.study_board import Board
from hilum.workflows.study_cell import Task, TaskEnd
from hilum.workflows.study_explain import explain_study
from hilum.workflows.study_options import StudyPlan
from hilum.workflows.study_plan import (
    cells_of,
    finetune_options,
    measuring,
    pretrain_options,
    refuse_unworkable,
    study_block,
)
from hilum.workflows.study_pool import Pool, jobs_for, pool_of
from hilum.workflows.study_record import (
    PLAN,
    RUNS,
    STUDY,
    StudyCell,
    StudyRecord,
    StudyStore,
    is_study,
    read_study,
    write_study,
)
from hilum.workflows.study_schedule import begun_again, ended, ready, settled, start_of

PACKAGES = ("torch", "timm", "numpy", "lightning-fabric")
FAULTS = "faults"
"""Folder of tracebacks of runs that a fault of the program ended."""
LOCK = ".lock"


@dataclass(frozen=True)
class ModelResult:
    """One row of a study's table: what a model reached on the test films, over its seeds."""

    model: str
    fraction: float
    policy: str
    group: str
    lr: float
    seeds: int
    auroc_macro: float | None
    """Mean over the findings, then over the seeds."""
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class StudyResult:
    """A study that came to its end, what its models reached, and whether there was nothing left to do."""

    record: StudyRecord
    models: tuple[ModelResult, ...]
    already_done: bool

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain values."""
        record = self.record
        return {
            "study": str(record.folder),
            "finished": record.finished,
            "models": [asdict(model) for model in self.models],
            "cells": [asdict(cell) for cell in record.cells],
            "failed": [cell.id for cell in record.failed],
            "already_done": self.already_done,
        }


def study(plan: StudyPlan, listener: Listener = SILENT, beside: Sequence[str] = ()) -> StudyResult:
    """Run what a study plans into its folder; what an earlier call finished is left alone, what failed is tried again.

    A run that fails costs itself and what starts from it; the others go on.

    Args:
        plan: Models, shares, seeds, budget, and where to.
        listener: Hears notes and the table.
        beside: Names of what else may lie in the folder.

    Raises:
        HilumError: The plan cannot work, or the folder holds something else; nothing was run.
        Interrupted: SIGINT or SIGTERM came; all is saved.
    """
    if place_in(os.environ).count > 1:
        raise OptionError("a study starts its own processes: give --jobs, and start it once.")
    films = refuse_unworkable(plan)
    cells, folder, jobs = cells_of(plan), plan.options.out, jobs_for(plan.options.jobs)
    with _claimed(folder, plan, beside):
        record = _record(plan, films, cells, jobs)
        already = record.finished and not record.failed
        if already:
            listener.note(f"{folder}: all runs are done already")
        else:
            record = Study(plan, replace(record, cells=begun_again(record.cells), finished=False), listener, jobs).run()
        conclude(record, listener)
        return StudyResult(record, results(record), already)


def conclude(record: StudyRecord, listener: Listener) -> None:
    """Work out the numbers across runs, and where the models look, unless that was done since the last run ended."""
    if not record.analysis.is_file():
        analyse(record.folder, listener)
    if not record.localisation.is_file():
        explain_study(record.folder, listener)


def results(record: StudyRecord) -> tuple[ModelResult, ...]:
    """Return the rows of a study's table from its analysis.

    Raises:
        RunError: The analysis is damaged.
    """
    try:
        rows = json.loads(record.analysis.read_bytes())["models"]
        return tuple(
            ModelResult(
                **{key: row[key] for key in ("model", "fraction", "policy", "group", "lr")},
                seeds=len(row["seeds"]),
                auroc_macro=row["auroc_macro"]["value"],
                interval=tuple(row["auroc_macro"]["interval"]) if row["auroc_macro"]["interval"] else None,
            )
            for row in rows
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{record.analysis} is damaged: delete it and run the study again.") from error


class Study:
    """A study at work: its record, kept on disk after each change, and the pool that its runs take place in."""

    def __init__(self, plan: StudyPlan, record: StudyRecord, listener: Listener, jobs: int) -> None:
        self.plan, self.record = plan, record
        self.jobs = jobs
        self.board = Board(plan, jobs, listener)

    def run(self) -> StudyRecord:
        """Bring every cell to its end.

        Raises:
            Interrupted: SIGINT or SIGTERM came; all is saved.
        """
        self._keep(self.record.cells)
        for path in (self.record.analysis, self.record.localisation):
            path.unlink(missing_ok=True)  # of the runs that there were before
        try:
            with pool_of(self.jobs, self.board.hearing) as pool:
                while self._begin(pool):
                    self._end(pool.wait())
        except Interrupted as error:
            self._keep(begun_again(self.record.cells))
            done = sum(cell.state == "done" for cell in self.record.cells)
            raise Interrupted(f"stopped with {done} of {len(self.record.cells)} runs done; all is saved") from error
        finally:
            self.board.close()
        self._keep(self.record.cells, finished=True)
        return self.record

    def _begin(self, pool: Pool) -> bool:
        """Start what can start; return whether anything is at work."""
        for cell in ready(self.record.cells)[: pool.room]:
            pool.start(self._task(cell))
            self._keep(ended(self.record.cells, cell.run, state="running"))
        return any(cell.state == "running" for cell in self.record.cells)

    def _end(self, end: TaskEnd) -> None:
        """Take the end of a run, and what follows from it."""
        before = next(cell for cell in self.record.cells if cell.run == end.run)
        news = {
            "state": "failed" if end.error else "done",
            "error": end.error,
            "seconds": round((before.seconds or 0.0) + end.seconds, 1),
            "validation_auroc": end.validation_auroc,
        }
        cells = ended(self.record.cells, end.run, **news)
        self.board.ended(next(cell for cell in cells if cell.run == end.run), again=before.seconds is not None)
        self._keep(cells)

    def _keep(self, cells: tuple[StudyCell, ...], *, finished: bool = False) -> None:
        self.record = replace(self.record, cells=settled(cells), finished=finished)
        write_study(self.record)
        self.board.show(self.record.cells)

    def _task(self, cell: StudyCell) -> Task:
        folder, faults = self.record.folder, self.record.folder / FAULTS
        if cell.kind == "pretrain":
            method = str(cell.method)
            options = pretrain_options(self.plan, cell, folder)
            return Task(cell.run, options, method, self.plan.pretrain[method].method, faults=faults)
        start = start_of(cell, self.record.cells)
        measures = measuring(self.plan) if cell.chosen else ()
        return Task(cell.run, finetune_options(self.plan, cell, folder, start), measures=measures, faults=faults)


@contextmanager
def _claimed(folder: Path, plan: StudyPlan, beside: Sequence[str]) -> Iterator[None]:
    """Make the folder this study's, or see that it is, and hold it against other processes.

    Raises:
        RunError: It holds something else, a study with another plan, or a study that is going on.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{folder} cannot be a study's folder ({error.strerror}): choose another --out.") from error
    ours = {LOCK, STUDY, PLAN, RUNS, FAULTS, *beside}
    others = (
        [] if (folder / PLAN).is_file() else sorted(path.name for path in folder.iterdir() if path.name not in ours)
    )
    if others:
        raise RunError(f"{folder} holds {others[0]!r} and is no study: choose an empty or new folder as --out.")
    with (folder / LOCK).open("w", encoding="utf-8") as lock:
        hold(lock.fileno(), folder)
        clear_leftovers(folder)
        _same_plan(folder / PLAN, plan)
        yield


def _same_plan(path: Path, plan: StudyPlan) -> None:
    text = yaml.safe_dump({"study": study_block(plan)}, sort_keys=False, allow_unicode=True)
    if path.is_file():
        try:
            known = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise RunError(f"{path} is damaged: start again in another --out.") from error
        differing = difference(known, yaml.safe_load(text))
        if differing:
            raise RunError(f"{path.parent} holds another study ({differing}): give the same, or another --out.")
        return
    write_bytes(path, text.encode())


def _record(plan: StudyPlan, films: Films, cells: tuple[StudyCell, ...], jobs: int) -> StudyRecord:
    """Return what is recorded of the study, or a new record."""
    folder = plan.options.out
    if is_study(folder):
        record = read_study(folder)
        if record.stores[0].fingerprint != films.stores[0].fingerprint:
            raise RunError(f"{plan.options.data[0]} holds other films than when {folder} began: choose another --out.")
        return record
    stores = [films.stores[0], *(Films.open([path]).stores[0] for path in plan.options.data[1:])]
    return StudyRecord(
        folder=folder,
        hilum=__version__,
        versions={"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        machine=_machine(jobs),
        stores=tuple(StudyStore(store.folder, store.source, store.fingerprint) for store in stores),
        plan=study_block(plan),
        reference=plan.reference,
        finished=False,
        cells=cells,
    )


def _machine(jobs: int) -> dict[str, Any]:
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    return {
        "system": platform.system(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "jobs": jobs,
        "gpu": gpu,
    }
