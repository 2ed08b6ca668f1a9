"""The study: train and evaluate every model at every fraction of the labels; resumable."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from hilum.counts import counted
from hilum.errors import OptionError, RunError
from hilum.files import age_line, inside, read_hashed_json, unhashed
from hilum.listener import SILENT, Listener
from hilum.training.distributed import rank_info
from hilum.training.interrupt import Interrupted
from hilum.workflows.study.analysis import analyse
from hilum.workflows.study.cells import (
    cells_of,
    finetune_options,
    measuring,
    pretrain_options,
    refuse_unworkable,
    self_training_options,
)
from hilum.workflows.study.data_checks import study_facts
from hilum.workflows.study.folder import FAULTS, claimed, recorded
from hilum.workflows.study.localisation import explain_study
from hilum.workflows.study.plan import StudyPlan
from hilum.workflows.study.pool import jobs_for, pool_of
from hilum.workflows.study.progress_table import Board
from hilum.workflows.study.record import ANALYSIS, STUDY, StudyCell, StudyRecord, write_study
from hilum.workflows.study.schedule import begun_again, ended, ready, settled, start_of
from hilum.workflows.study.task import Task, line_of


@dataclass(frozen=True)
class ModelResult:
    """One row of a study's table: a model's AUROC on the test films, over its seeds."""

    model: str
    fraction: float
    policy: str
    group: str
    lr: float
    seeds: int
    seeds_planned: int
    """More than there are where some failed."""
    auroc_macro: float | None
    """Mean over the findings, then over the seeds."""
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class StudyResult:
    """A study at its end, its models' results, and whether all was done before."""

    record: StudyRecord
    models: tuple[ModelResult, ...]
    already_done: bool

    @property
    def faults(self) -> tuple[str, ...]:
        """A line for each section of the page that could not be computed."""
        return self.record.faults

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain values."""
        record = self.record
        return {
            "study": str(record.folder),
            "finished": record.finished,
            "models": [asdict(model) for model in self.models],
            "cells": [asdict(cell) for cell in record.cells],
            "failed": [cell.id for cell in record.failed],
            "faults": list(record.faults),
            "already_done": self.already_done,
        }


def study(plan: StudyPlan, listener: Listener = SILENT, beside: Sequence[str] = ()) -> StudyResult:
    """Run a study's plan into its folder; finished runs are kept, failed ones repeated.

    A run that fails costs itself and what starts from it; the others go on. A result across runs
    that cannot be computed is a line of ``faults``, and the next call tries it again.

    Args:
        plan: Models, fractions, seeds, budget and output folder.
        listener: Hears notes and the table.
        beside: Names of other files that the folder may hold.

    Raises:
        HilumError: The plan cannot work, or the folder holds something else; nothing was run.
        Interrupted: SIGINT or SIGTERM came; all is saved.
    """
    if rank_info(os.environ).world_size > 1:
        raise OptionError("a study starts its own processes: give --jobs, and start it once.")
    films = refuse_unworkable(plan)
    cells, folder, jobs = cells_of(plan), plan.options.out, jobs_for(plan.options.jobs)
    with claimed(folder, plan, beside):
        for note in age_line(folder, unhashed(folder, [STUDY])):
            listener.note(note)
        record = recorded(plan, films, cells, jobs)
        already = record.finished and not record.failed
        if already:
            listener.note(f"{folder}: all runs are done already")
        else:
            record = Study(
                plan,
                replace(record, cells=begun_again(record.cells), finished=False),
                listener,
                jobs,
            ).run()
        record = conclude(record, listener)
        return StudyResult(record, results(record), already)


def conclude(record: StudyRecord, listener: Listener) -> StudyRecord:
    """Compute the numbers across runs, the heatmaps and the data checks.

    Results that are newer than the last run are kept.

    Returns:
        The record, as on disk, with a line for each of them that ended in an error.
    """
    works = (
        ("numbers across runs", record.analysis, analyse),
        ("where the models look", record.localisation, explain_study),
        ("what is wrong with the data", record.data, study_facts),
    )
    faults = []
    for what, path, work in works:
        if path.is_file():
            continue
        try:
            work(record.folder, listener)
        except Interrupted:
            raise
        except Exception as error:  # noqa: BLE001 - the runs are done: the page shows them anyway
            line = line_of(error, record.folder / FAULTS, path.stem)
            if line:
                faults.append(f"{what}: {line}")
    if tuple(faults) != record.faults:
        record = replace(record, faults=tuple(faults))
        write_study(record)
    return record


def results(record: StudyRecord) -> tuple[ModelResult, ...]:
    """Return the rows of a study's table from its analysis, none where that could not be made.

    Raises:
        RunError: The analysis is damaged.
    """
    if not record.analysis.is_file():
        return ()
    try:
        rows = read_hashed_json(inside(record.folder, ANALYSIS))[0]["models"]
        return tuple(
            ModelResult(
                **{key: row[key] for key in ("model", "fraction", "policy", "group", "lr")},
                seeds=len(row["seeds"]),
                seeds_planned=row.get("seeds_planned", len(row["seeds"])),
                auroc_macro=row["auroc_macro"]["value"],
                interval=tuple(row["auroc_macro"]["interval"])
                if row["auroc_macro"]["interval"]
                else None,
            )
            for row in rows
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{record.analysis} is damaged: delete it and run the study again."
        ) from error


class Study:
    """A running study: its record, saved after each change, and the pool of its runs."""

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
        for path in (self.record.analysis, self.record.localisation, self.record.data):
            path.unlink(missing_ok=True)  # of earlier runs
        try:
            with pool_of(self.jobs, self.board.hearing) as pool:
                while True:
                    for cell in ready(self.record.cells)[: pool.room]:
                        pool.start(self._task(cell))
                        self._keep(ended(self.record.cells, cell.run, state="running"))
                    if not any(cell.state == "running" for cell in self.record.cells):
                        break
                    end = pool.wait()
                    before = next(cell for cell in self.record.cells if cell.run == end.run)
                    cells = ended(
                        self.record.cells,
                        end.run,
                        state="failed" if end.error else "done",
                        error=end.error,
                        seconds=round((before.seconds or 0.0) + end.seconds, 1),
                        validation_auroc=end.validation_auroc,
                    )
                    after = next(cell for cell in cells if cell.run == end.run)
                    self.board.ended(after, again=before.seconds is not None)
                    self._keep(cells)
        except Interrupted as error:
            self._keep(begun_again(self.record.cells))
            done = sum(cell.state == "done" for cell in self.record.cells)
            raise Interrupted(
                f"stopped with {done} of {counted(len(self.record.cells), 'run')} done; all is saved"
            ) from error
        finally:
            self.board.close()
        self._keep(self.record.cells, finished=True)
        return self.record

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
        measures, reached = measuring(self.plan) if cell.chosen else (), cell.validation_auroc
        if cell.kind == "pseudo-label":
            return Task(
                cell.run,
                self_training_options(self.plan, cell, folder),
                start=None if start is None else folder / start.run,
                measures=measures,
                reached=reached,
                faults=faults,
            )
        training = finetune_options(self.plan, cell, folder, start)
        return Task(cell.run, training, measures=measures, reached=reached, faults=faults)
