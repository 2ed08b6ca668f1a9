"""``card.json`` as typed records; the keys are those of the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hilum.metrics.results import Estimate
from hilum.records import read_record
from hilum.workflows.card.column_record import StoreColumn

Areas = Mapping[str, Estimate]
"""AUROC by finding."""


@dataclass(frozen=True)
class Enhancement:
    """How films were prepared."""

    enhance: str
    fit: str
    size: int


@dataclass(frozen=True)
class SampleFilm:
    """A sample film of a store with its labels."""

    picture: str
    view: str | None
    present: tuple[str, ...]
    uncertain: tuple[str, ...]


@dataclass(frozen=True)
class EnhancementStep:
    """One picture of a film, and how it is enhanced there."""

    picture: str
    enhance: str


@dataclass(frozen=True)
class StorePictures:
    """A store's sample films, and films before and after enhancement."""

    source: str
    preparation: Enhancement
    samples: tuple[SampleFilm, ...]
    enhancement: tuple[tuple[EnhancementStep, ...], ...]


@dataclass(frozen=True)
class PatientOverlap:
    """Patients in several splits or stores."""

    in_several_parts: int
    in_several_stores: int
    in_several_of_the_source: int
    left_out: int


@dataclass(frozen=True)
class PairCounts:
    """Pairs of copies in one store or between two."""

    stores: tuple[str, str]
    exact: int
    exact_other_patient: int
    near: int
    near_other_patient: int


@dataclass(frozen=True)
class CopyFilm:
    """Where a film of a pair of copies is."""

    store: str
    row: int
    part: str


@dataclass(frozen=True)
class CopyPair:
    """A pair of copies that the page shows."""

    pictures: tuple[str, str]
    films: tuple[CopyFilm, CopyFilm]
    kind: str
    correlation: float
    same_patient: bool


@dataclass(frozen=True)
class CopyCounts:
    """Films that occur more than once."""

    exact: int
    near: int
    groups: int
    films: int
    pairs: tuple[PairCounts, ...]
    leaks: Mapping[str, Mapping[str, int]]
    straddling: int
    notes: tuple[str, ...]
    """Where the search was cut short or is uncertain."""
    shown: tuple[CopyPair, ...] = ()
    contradicting: int = 0
    """Pairs of equal pixels of which a finding is stated differently."""


@dataclass(frozen=True)
class Outlier:
    """A film that looks unlike its store's others."""

    picture: str
    store: str
    row: int
    score: float
    reason: str


@dataclass(frozen=True)
class Outliers:
    """Films that look unlike their store's others, and the first of them."""

    films: int
    by_store: Mapping[str, int]
    shown: tuple[Outlier, ...]


@dataclass(frozen=True)
class LabelIssue:
    """A label that the film's neighbours contradict."""

    picture: str
    store: str
    row: int
    finding: str
    label: float | None
    expected: float
    score: float


@dataclass(frozen=True)
class LabelIssues:
    """Labels to read again, and the first of them."""

    labels: int
    neighbours: int
    shown: tuple[LabelIssue, ...]


@dataclass(frozen=True)
class ShortcutFlag:
    """A finding that a probe without sight of the chest predicts too well."""

    finding: str
    probe: str
    words: str


@dataclass(frozen=True)
class ProbeResult:
    """What one shortcut probe sees and reaches."""

    sees: str
    blind: bool
    auroc: Areas


@dataclass(frozen=True)
class ShortcutCheck:
    """Result of the shortcut probes on one column, or the reason why there is none."""

    name: str
    reason: str | None
    split: str = "test"
    films: int = 0
    patients: int = 0
    training_films: int = 0
    findings: tuple[str, ...] = ()
    findings_judged: tuple[str, ...] = ()
    """Those with enough patients to be flagged."""
    min_positives: int = 0
    rule: str = ""
    probes: Mapping[str, ProbeResult] = field(default_factory=dict)
    model: Areas | None = None
    flags: tuple[ShortcutFlag, ...] = ()
    seen: int = 0
    """Films of the split that the run was trained on: it is not shown then."""
    beside: str | None = None
    """Of a study, the run that is shown beside the probes."""

    @property
    def why_untested(self) -> str | None:
        """Why no finding could be flagged at all; None where one could."""
        if self.reason:
            return self.reason
        if not self.findings:
            return "the probes could learn no finding"
        return None if self.findings_judged else f"no finding has {self.needed}"

    @property
    def untested(self) -> tuple[str, ...]:
        """Findings that the probes learned but that have too few patients to be flagged."""
        return tuple(name for name in self.findings if name not in self.findings_judged)

    @property
    def needed(self) -> str:
        """What a finding needs to be tested."""
        patients = "patient" if self.min_positives == 1 else "patients"
        return f"{max(self.min_positives, 2)} {patients} with it and 2 without in the {self.split} split"


@dataclass(frozen=True)
class RunReader:
    """The run whose features were used."""

    kind: str
    backbone: str
    says: str


@dataclass(frozen=True)
class StoreIdentity:
    """What identifies a store, by hash."""

    source: str
    fingerprint: str
    split: str


@dataclass(frozen=True)
class MadeOf:
    """What a card was made of: version, stores, options, and the hash of the run's weights."""

    hilum: str
    stores: tuple[StoreIdentity, ...]
    options: Mapping[str, Any]
    run: str | None = field(metadata={"key": "from"})


@dataclass(frozen=True)
class CardRecord:
    """What ``card.json`` holds."""

    made_of: MadeOf
    columns: tuple[StoreColumn, ...]
    """One for each store and, of several, one for all."""
    stores: tuple[StorePictures, ...]
    patients: PatientOverlap
    copies: CopyCounts
    outliers: Outliers = field(metadata={"key": "strangers"})
    label_issues: LabelIssues | None = field(metadata={"key": "hints"})
    shortcuts: tuple[ShortcutCheck, ...]
    reader: RunReader | None

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> CardRecord:
        """Return the record of a card's JSON.

        Raises:
            ValueError: A key is missing or holds something else.
        """
        record = read_record(cls, content)
        if len(record.columns) != len(record.stores) + (len(record.stores) > 1):
            raise ValueError("columns do not fit the stores")
        return record

    @property
    def own(self) -> tuple[StoreColumn, ...]:
        """The columns of single stores."""
        return self.columns[: len(self.stores)]

    @property
    def whole(self) -> StoreColumn:
        """The column of all stores, which of one store is its own."""
        return self.columns[-1]
