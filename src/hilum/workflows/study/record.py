"""A study on disk: its plan, its runs and the state of each."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from hilum.errors import RunError
from hilum.files import inside, read_hashed_json, write_hashed_json
from hilum.options import with_new_names

FORMAT = 1
STUDY, PLAN, RUNS = "study.json", "study.yaml", "runs"
ANALYSIS, LOCALISATION, EXPLAINED, TABLES = (
    "analysis.json",
    "localisation.json",
    "explained",
    "tables",
)
DATA = "data.json"

Kind = Literal["pretrain", "finetune", "pseudo-label"]
Group = Literal["main", "policies"]
State = Literal["waiting", "running", "done", "failed"]


@dataclass(frozen=True, kw_only=True)
class StudyCell:
    """One run of a study; a cell of the policies may share its run with one of the main table."""

    id: str
    kind: Kind
    model: str
    method: str | None = None
    """Of a pretraining."""
    start: str | None = None
    """Of pseudo-labels the model that self-training starts from."""
    backbone: str
    fraction: float | None = None
    """Fraction of the labels; None of a pretraining, as the policy."""
    policy: str | None = None
    seed: int
    """Index of the training seed, which is also the seed of the labelled subset."""
    lr: float | None = None
    """Peak learning rate; None for a seed that waits for the choice."""
    chosen: bool = False
    """Whether it counts for its model: the best rate on validation films, and all later seeds at
    that rate."""
    group: Group = "main"
    run: str
    """Run folder below the study's."""
    state: State = "waiting"
    error: str | None = None
    seconds: float | None = None
    validation_auroc: float | None = None


@dataclass(frozen=True)
class StudyStore:
    """A store that a study learns from and is measured on."""

    path: Path
    source: str
    fingerprint: str
    split: str | None = None
    """Hash of its split; None in records of before this was kept."""


@dataclass(frozen=True, kw_only=True)
class StudyRecord:
    """Content of ``study.json``."""

    folder: Path
    hilum: str
    versions: dict[str, str]
    machine: dict[str, Any]
    stores: tuple[StudyStore, ...]
    plan: dict[str, Any]
    reference: str
    """Model that every other is compared with."""
    finished: bool
    """Whether every cell is done or failed."""
    cells: tuple[StudyCell, ...]
    faults: tuple[str, ...] = ()
    """A line for each section of the page that could not be computed when the runs had ended."""

    @property
    def analysis(self) -> Path:
        """Numbers across runs."""
        return self.folder / ANALYSIS

    @property
    def data(self) -> Path:
        """Results of the data checks."""
        return self.folder / DATA

    @property
    def localisation(self) -> Path:
        """Numbers of where the models look."""
        return self.folder / LOCALISATION

    @property
    def explained(self) -> Path:
        """Folder of heatmaps."""
        return self.folder / EXPLAINED

    @property
    def tables(self) -> Path:
        """Folder of CSV files."""
        return self.folder / TABLES

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models in the plan's order."""
        return tuple(dict.fromkeys(cell.model for cell in self.cells if cell.kind != "pretrain"))

    @property
    def failed(self) -> tuple[StudyCell, ...]:
        """Cells that ended with an error."""
        return tuple(cell for cell in self.cells if cell.state == "failed")

    def path(self, cell: StudyCell) -> Path:
        """Return a cell's run folder."""
        return self.folder / cell.run

    def chosen(
        self,
        model: str | None = None,
        fraction: float | None = None,
        policy: str | None = None,
        group: Group | None = None,
    ) -> tuple[StudyCell, ...]:
        """Return the finished classifiers that count, in the plan's order; None does not narrow."""
        given = {"model": model, "fraction": fraction, "policy": policy, "group": group}
        narrow = {name: value for name, value in given.items() if value is not None}
        return tuple(
            cell
            for cell in self.cells
            if cell.kind != "pretrain"
            and cell.chosen
            and cell.state == "done"
            and all(getattr(cell, name) == value for name, value in narrow.items())
        )

    def pretraining(self, model: str) -> StudyCell | None:
        """Return the pretraining of a model within the study, None where it has none."""
        own = (cell for cell in self.cells if cell.kind == "pretrain" and cell.model == model)
        return next(own, None)


def is_study(folder: Path) -> bool:
    """Whether a folder holds a study."""
    return (folder / STUDY).is_file()


def read_study(folder: Path) -> StudyRecord:
    """Return the study in a folder.

    Raises:
        RunError: There is none, it is damaged, or another version wrote it.
    """
    path = folder / STUDY
    try:
        content, _ = read_hashed_json(inside(folder, STUDY))
    except FileNotFoundError as error:
        raise RunError(f"{folder} holds no study: there is no {STUDY}.") from error
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error
    if content.get("format") != FORMAT:
        raise RunError(
            f"{path} is of format {content.get('format')!r}: this version reads {FORMAT}."
        )
    try:
        cells = tuple(StudyCell(**row) for row in content["cells"])
        for cell in cells:
            typed = ((cell.kind, Kind), (cell.group, Group), (cell.state, State))
            if any(value not in get_args(allowed) for value, allowed in typed):
                raise ValueError(f"cell {cell.id!r} is of no known kind, group or state")
            inside(folder, cell.run)
        return StudyRecord(
            folder=folder,
            hilum=str(content["hilum"]),
            versions=dict(content["versions"]),
            machine=dict(content["machine"]),
            stores=tuple(
                StudyStore(**{**store, "path": _store_path(folder, store["path"])})
                for store in content["stores"]
            ),
            plan=with_new_names("study", dict(content["plan"])),
            reference=str(content["reference"]),
            finished=bool(content["finished"]),
            cells=cells,
            faults=tuple(str(line) for line in content.get("faults", ())),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> RunError:
    fault = f"no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
    return RunError(
        f"{path} is damaged ({fault:.160}): delete it and run the study again, which keeps its finished runs."
    )


def _store_path(folder: Path, name: str) -> Path:
    """Return where a store is: anywhere, or below the study's own folder.

    Raises:
        ValueError: It is a relative path that is not below.
    """
    return Path(name) if Path(name).is_absolute() else inside(folder, name)


def write_study(record: StudyRecord) -> None:
    """Write ``study.json``, whole or not at all."""
    content = {
        field.name: getattr(record, field.name)
        for field in fields(record)
        if field.name != "folder"
    }
    folder = record.folder.resolve()
    stores = []
    for store in record.stores:
        path = store.path.resolve()
        if path.is_relative_to(folder):  # so that both can be moved together
            path = path.relative_to(folder)
        stores.append({**asdict(store), "path": str(path)})
    content |= {
        "format": FORMAT,
        "stores": stores,
        "cells": [asdict(cell) for cell in record.cells],
    }
    write_hashed_json(record.folder / STUDY, content)
