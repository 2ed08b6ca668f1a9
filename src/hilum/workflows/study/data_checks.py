"""Data checks of a study: copies, patients in several splits, outlier images, shortcuts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hilum.duplicates.stored import known_and_found
from hilum.files import write_hashed_json
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
from hilum.workflows.study.record import StudyRecord, read_study

FORMAT = 1
PART = "test"
RESAMPLES = 1000
"""Resamples of a probe's interval, at most; flags depend on tests, not on intervals."""


@dataclass(frozen=True)
class DataChecks:
    """Content of ``data.json``."""

    copies: CopyCounts
    patients: PatientOverlap
    outliers: Mapping[str, int] = field(metadata={"key": "strangers"})
    """Their number by store."""
    shortcuts: ShortcutCheck


def study_facts(folder: Path, listener: Listener = SILENT) -> dict[str, Any]:
    """Check the stores of a study and write ``data.json``.

    Copies and patients are searched in all its stores, outlier images in each; the shortcut probes
    learn from the training split of the first and are measured on its test split, compared with
    the model of the best validation AUROC.

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
    spans = zip(films.starts[:-1].tolist(), films.starts[1:].tolist(), strict=True)
    content = {
        "format": FORMAT,
        "stores": list(films.sources),
        "copies": copy_facts(subsets, known_and_found(films, listener)),
        "patients": patient_facts(subsets),
        "strangers": {  # outlier images by store
            name: len(outliers(films, np.arange(*span)))
            for name, span in zip(films.sources, spans, strict=True)
        },
        "shortcuts": _shortcuts(record, subsets, listener),
    }
    write_hashed_json(record.data, content)
    return content


def _shortcuts(record: StudyRecord, subsets: Subsets, listener: Listener) -> dict[str, Any]:
    """Return the shortcut probes' results on the first store, compared with the best model's."""
    store = subsets.films.stores[0]
    first = Subsets(Films([store]), subsets.splits[:1])
    column = Column(subsets.films.sources[0], np.arange(len(store)), (0,))
    evaluation = record.plan["evaluation"]
    best = max(  # the fine-tuning with the best validation score at the largest fraction
        (cell for cell in record.chosen(group="main") if cell.validation_auroc is not None),
        key=lambda cell: (cell.fraction or 0.0, cell.validation_auroc or 0.0),
        default=None,
    )
    scores = None
    if best is not None:
        table = saved_scores(record.path(best), first.films, first.rows(PART), PART)
        names = [name for name in first.films.findings if name in table]
        scores = (table[names].to_numpy(np.float64), names)
    checked = probed(
        first,
        column.name,
        PART,
        int(evaluation["min_positives"]),
        min(int(evaluation["resamples"]), RESAMPLES),
        int(evaluation["seed"]),
        scores,
        listener,
    )
    return {**checked, "beside": None if best is None else best.id}
