"""Reads a study's folder for its page: the record, the numbers across runs, the runs, the stores and their splits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

from hilum.errors import DataError, RunError
from hilum.images.store import Store
from hilum.pages.read import Run, read_json, read_run
from hilum.records import read_record
from hilum.splits import Split
from hilum.workflows.evaluate.record import EvaluationRecord
from hilum.workflows.pseudo_label.record import Round, Rounds, read_rounds
from hilum.workflows.study.analysis import SELF_TRAINED
from hilum.workflows.study.analysis_record import Analysis, ModelComparison, ModelResult
from hilum.workflows.study.data_checks import DataChecks
from hilum.workflows.study.record import PLAN, StudyCell, StudyRecord, read_study

T = TypeVar("T")


@dataclass(frozen=True)
class SelfTrained:
    """A run that was self-trained with pseudo-labels, and its rounds."""

    cell: StudyCell
    rounds: Rounds

    @property
    def shown_round(self) -> Round:
        """The round whose labels stand for the run: the one that was kept, else the first."""
        return self.rounds.rounds[max(self.rounds.kept - 1, 0)]


@dataclass(frozen=True)
class Study:
    """A study, finished or not, as its files tell it."""

    record: StudyRecord
    analysis: Analysis | None
    """The numbers across runs; None where nothing has been compared yet."""
    runs: Mapping[str, Run]
    """The runs that stand for a result, by their cells' ids: pretrainings and chosen
    fine-tunings."""
    stores: tuple[Store, ...]
    splits: tuple[Split, ...]
    checks: DataChecks | None = None
    """What data.json holds; None where the data was not checked yet."""
    self_trained: tuple[SelfTrained, ...] = ()
    """The finished runs that were self-trained with pseudo-labels, in the plan's order."""

    @property
    def folder(self) -> Path:
        """Where the study lies."""
        return self.record.folder

    @property
    def reference(self) -> str:
        """The model that every other is compared with."""
        return self.record.reference

    @property
    def store(self) -> Store:
        """The store that is measured on: the first."""
        return self.stores[0]

    @property
    def split(self) -> Split:
        """The split of the first store."""
        return self.splits[0]

    @property
    def is_drawn(self) -> bool:
        """Whether the films are phantoms."""
        return self.store.source.startswith("phantoms")

    @cached_property
    def names(self) -> list[str]:
        """The models that gave numbers, in the plan's order; a name's place gives its colour."""
        known = {row.model for row in self.group("main")} or {
            cell.model for cell in self.record.chosen()
        }
        return [name for name in self.record.models if name in known]

    @cached_property
    def unmeasured(self) -> list[str]:
        """The models that gave no numbers, in the plan's order."""
        return [name for name in self.record.models if name not in self.names]

    @cached_property
    def rows(self) -> list[ModelResult]:
        """The models of the main comparison, by fraction of the labels and then in the plan's order."""
        return sorted(
            self.group("main"), key=lambda row: (row.fraction, self.names.index(row.model))
        )

    @cached_property
    def fractions(self) -> list[float]:
        """The fractions of the labels that something was measured at; before that, that something was fine-tuned at."""
        known = {row.fraction for row in self.rows}
        return sorted(
            known or {cell.fraction for cell in self.record.chosen(group="main") if cell.fraction}
        )

    @property
    def self_trained_rows(self) -> list[ModelResult]:
        """The models of the main comparison that were self-trained with pseudo-labels, as ``rows``."""
        ids = {one.cell.id for one in self.self_trained}
        return [row for row in self.rows if ids & set(row.cells)]

    def is_its_start(self, row: ModelResult) -> bool:
        """Whether a row of numbers is of a self-trained model of which no round was kept: it is what it began with."""
        own = [one for one in self.self_trained if one.cell.id in row.cells]
        return bool(own) and not any(one.rounds.kept for one in own)

    def group(self, name: str) -> list[ModelResult]:
        """Return the numbers of a group of the study, in the order of the file."""
        return [row for row in (self.analysis.models if self.analysis else ()) if row.group == name]

    def compared(self, row: ModelResult) -> ModelComparison | None:
        """Return a model's comparison with the reference of its group; None for the reference."""
        policies = row.group == "policies"
        for one in self.analysis.comparisons if self.analysis else ():
            if (one.group, one.fraction) == (row.group, row.fraction):
                same_policy = policies or one.policy == row.policy
                if one.first == (row.policy if policies else row.model) and same_policy:
                    return one
        return None

    def compared_with_start(self, row: ModelResult) -> ModelComparison | None:
        """Return a self-trained model's comparison with its initial model, None where there is none."""
        key = (SELF_TRAINED, row.model, row.fraction, row.policy)
        for one in self.analysis.comparisons if self.analysis else ():
            if (one.group, one.first, one.fraction, one.policy) == key:
                return one
        return None

    def cells(self, row: ModelResult) -> list[StudyCell]:
        """Return the fine-tunings behind a row of numbers."""
        known = {cell.id: cell for cell in self.record.cells}
        return [known[name] for name in row.cells if name in known]

    def run(self, cell: StudyCell) -> Run | None:
        """Return a cell's run, None where it has none to show."""
        return self.runs.get(cell.id)

    def evaluation(self, cell: StudyCell, part: str = "test") -> EvaluationRecord | None:
        """Return a run's evaluation on a split of the first store, None where it was not made."""
        run = self.run(cell)
        evaluations = run.evaluations if run else {}
        return evaluations.get(part) or evaluations.get(f"{self.store.source}-{part}")

    @cached_property
    def best(self) -> StudyCell | None:
        """The fine-tuning with the best validation AUROC at the largest fraction of the labels."""
        known = [
            cell for cell in self.record.chosen(group="main") if cell.validation_auroc is not None
        ]
        return max(
            known,
            key=lambda cell: (cell.fraction or 0.0, cell.validation_auroc or 0.0),
            default=None,
        )


def read_study_folder(folder: Path) -> Study:
    """Read a study.

    Raises:
        RunError: A file of it is missing or damaged.
        DataError: A store is gone.
    """
    record = read_study(folder)
    for named in record.stores:
        if not named.path.is_dir():
            raise DataError(
                f"{named.path}, which the study in {folder} was made with, is not there: if it was moved, run `hilum "
                f"study --config {folder / PLAN} --out {folder} --data WHERE-IT-IS`, which goes on by its hashes."
            )
    stores = tuple(Store.open(store.path) for store in record.stores)
    if not stores:
        raise RunError(f"{folder / 'study.json'} names no store: run the study again.")
    for store, recorded in zip(stores, record.stores, strict=True):
        if store.fingerprint != recorded.fingerprint:
            raise RunError(
                f"{store.folder} holds other films than the study in {folder} was made with."
            )
    pretrained = [cell for cell in record.cells if cell.kind == "pretrain" and cell.state == "done"]
    shown = [*pretrained, *record.chosen()]
    return Study(
        record=record,
        analysis=_read(record.analysis, Analysis.from_json),
        runs={cell.id: read_run(record.path(cell)) for cell in shown},
        stores=stores,
        splits=tuple(Split.load(store.folder) for store in stores),
        checks=_read(record.data, partial(read_record, DataChecks)),
        self_trained=tuple(_self_trained(record, stores[0].findings)),
    )


def _read(path: Path, parse: Callable[[Any], T]) -> T | None:
    """Return what a file of the study holds, None where it is not there."""
    if not path.is_file():
        return None
    try:
        return parse(read_json(path))
    except ValueError as error:
        raise RunError(
            f"{path} is damaged ({error!s:.80}): delete it and run the study again, which keeps its runs."
        ) from error


def _self_trained(record: StudyRecord, findings: Sequence[str]) -> Iterator[SelfTrained]:
    """Yield the finished runs that were self-trained; of one that labelled no film there is a round that says so."""
    for cell in record.chosen():
        rounds = read_rounds(record.path(cell)) if cell.kind == "pseudo-label" else None
        if rounds is not None and rounds.rounds:
            # Findings in the store's order; on file they are sorted by name.
            ordered = tuple(
                replace(
                    each,
                    findings={
                        name: each.findings[name] for name in findings if name in each.findings
                    },
                )
                for each in rounds.rounds
            )
            yield SelfTrained(cell, replace(rounds, rounds=ordered))
