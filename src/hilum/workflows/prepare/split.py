"""`hilum split`: a new split of a store's patients, in place of the one that ``prepare`` wrote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from hilum.catalog import PRESENT
from hilum.duplicates.stored import known_copies
from hilum.images.films import Films
from hilum.images.store import Store
from hilum.metrics.few_patients import PatientCounts, few_patients_line
from hilum.options import as_path
from hilum.splits import Split, patient_split
from hilum.workflows.prepare.split_options import SplitOptions

__all__ = ["PartCounts", "SplitOptions", "SplitResult", "describe", "split"]


@dataclass(frozen=True)
class PartCounts:
    """Counts of one split of a store."""

    films: int
    patients: int
    positives: Mapping[str, int]
    """Films that show each finding."""
    positive_patients: Mapping[str, int]
    """Patients with a film that shows it."""


@dataclass(frozen=True)
class SplitResult:
    """The new split of a store."""

    store: Path
    kind: str
    seed: int
    sha256: str
    parts: Mapping[str, PartCounts]
    """train, val, test and official-test."""
    fractions: Mapping[str, PartCounts]
    """The labelled fractions of the training patients."""
    notes: tuple[str, ...] = ()


def split(store: str | Path, options: SplitOptions) -> SplitResult:
    """Split a store by whole patients, stratified by finding, and replace its ``split.json``.

    Films of the source's official test never enter train, val or test, but become
    ``official-test``. Patients with a picture in common, by equal pixels or by
    ``duplicates.parquet``, count as one. Existing runs keep their copy of the split that they were
    trained on.

    Raises:
        DataError: The folder is no store, or its ``duplicates.parquet`` is damaged or stale.
        OptionError: A fraction is out of range.
    """
    opened = Store.open(as_path("store", store))
    fractions = (options.test, options.val, options.fractions)
    made = patient_split(
        opened.catalog, opened.findings, options.seed, *fractions, known_copies(opened)
    )
    made.save(opened.folder)
    described = describe(opened, made)
    notes = list(described.notes)
    for name in ("val", "test"):
        part = described.parts[name]
        counts = {
            finding: PatientCounts(present, part.patients - present)
            for finding, present in part.positive_patients.items()
        }
        line = few_patients_line(name, counts) if part.films else None
        if line is not None:
            notes.append(line)
    return replace(described, notes=tuple(notes))


def describe(store: Store, made: Split) -> SplitResult:
    """Return the counts of each split of a store."""
    films = Films([store])
    parts = {part: _count(films, made, part) for part in made.parts}
    fractions = {
        f"{fraction:g}": _count(films, made, "train", fraction) for fraction in made.fractions
    }
    return SplitResult(store.folder, made.kind, made.seed, made.hash, parts, fractions, made.notes)


def _count(of: Films, made: Split, part: str, fraction: float = 1.0) -> PartCounts:
    (store,) = of.stores
    rows = made.rows(store.catalog, part, fraction, people=of.people())
    shows = store.catalog.iloc[rows][list(store.findings)] == PRESENT
    patients = shows.groupby(of.patient_codes[rows]).any()
    return PartCounts(
        films=len(rows),
        patients=len(patients),
        positives={finding: int(shows[finding].sum()) for finding in store.findings},
        positive_patients={finding: int(patients[finding].sum()) for finding in store.findings},
    )
