"""A study's data, checked as a data card does: copies, patients in several parts, odd films, and shortcuts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hilum.arrays import DoubleArray
from hilum.duplicates.stored import known_and_found
from hilum.files import write_json
from hilum.images.films import Films
from hilum.listener import SILENT, Listener
from hilum.splits import Split
from hilum.workflows.card.leakage import copy_facts, patient_facts
from hilum.workflows.card.outliers import outliers
from hilum.workflows.card.record import CopyCounts, PatientOverlap, ShortcutCheck
from hilum.workflows.card.shortcut_check import probed
from hilum.workflows.card.statistics import Column
from hilum.workflows.data.subsets import Subsets
from hilum.workflows.evaluate.evaluate import saved_scores
from hilum.workflows.study.record import StudyCell, StudyRecord, read_study

FORMAT = 1
PART = "test"
RESAMPLES = 1000
"""Behind a probe's interval, at most: what is flagged hangs on tests, not on them."""


@dataclass(frozen=True)
class DataChecks:
    """What ``data.json`` holds."""

    copies: CopyCounts
    patients: PatientOverlap
    strangers: Mapping[str, int]
    """Outlier images by store."""
    shortcuts: ShortcutCheck


def study_facts(folder: Path, listener: Listener = SILENT) -> dict[str, Any]:
    """Check the stores of a study and write ``data.json``.

    Copies and patients are looked for in all its stores, odd films in each; the shortcut probes
    learn from the training part of the first and are measured on its test part, beside the model
    that validation films like best.

    Args:
        folder: The study's.
        listener: Hears progress.

    Raises:
        RunError: The study or a run's predictions are damaged or missing.
        DataError: A store is gone.
    """
    record = read_study(folder)
    films = Films.open([store.path for store in record.stores])
    subsets = Subsets(films, tuple(Split.load(store.folder) for store in films.stores))
    content = {
        "format": FORMAT,
        "stores": list(films.sources),
        "copies": copy_facts(subsets, known_and_found(films, listener)),
        "patients": patient_facts(subsets),
        "strangers": _outliers(films),
        "shortcuts": _shortcuts(record, subsets, listener),
    }
    write_json(record.data, content)
    return content


def _outliers(films: Films) -> dict[str, int]:
    """Return how many films of each store look like no chest film."""
    spans = zip(films.starts[:-1].tolist(), films.starts[1:].tolist(), strict=True)
    return {
        name: len(outliers(films, np.arange(*span)))
        for name, span in zip(films.sources, spans, strict=True)
    }


def _shortcuts(record: StudyRecord, subsets: Subsets, listener: Listener) -> dict[str, Any]:
    """Return what the shortcut probes know of the store that is measured on, and which model stands beside them."""
    store = subsets.films.stores[0]
    here = Subsets(Films([store]), subsets.splits[:1])
    column = Column(subsets.films.sources[0], np.arange(len(store)), (0,))
    how, best = record.plan["evaluation"], _best(record)
    scores = None if best is None else _scores(record.path(best), here)
    resamples = min(int(how["resamples"]), RESAMPLES)
    found = probed(
        here,
        column.name,
        PART,
        int(how["min_positives"]),
        resamples,
        int(how["seed"]),
        scores,
        listener,
    )
    return {**found, "beside": None if best is None else best.id}


def _best(record: StudyRecord) -> StudyCell | None:
    """Return the fine-tuning with the best validation score at the largest share of the labels."""
    known = [cell for cell in record.chosen(group="main") if cell.validation_auroc is not None]
    return max(
        known, key=lambda cell: (cell.fraction or 0.0, cell.validation_auroc or 0.0), default=None
    )


def _scores(run: Path, subsets: Subsets) -> tuple[DoubleArray, list[str]]:
    table = saved_scores(run, subsets.films, subsets.rows(PART), PART)
    names = [name for name in subsets.films.findings if name in table]
    return table[names].to_numpy(np.float64), names
