"""The columns of ``card.json``, one for a store or for all, as typed records with the file's keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class RowsRead:
    """Rows of the source's tables, and those that gave no film, by reason."""

    read: int
    excluded: Mapping[str, int]
    failed: Mapping[str, int]


@dataclass(frozen=True)
class LabelCounts:
    """A finding's labels in one column, in films."""

    present: int
    uncertain: int
    absent: int
    not_stated: int
    not_labelled: int
    """Films whose source never states the finding."""
    patients_present: int
    prevalence: Mapping[str, float | None]
    """Fraction of the films that training takes as having the finding, by policy."""

    def of(self, kind: str) -> int:
        """Return a count by its name, such as ``not_stated``."""
        return int(getattr(self, kind))


@dataclass(frozen=True)
class CoOccurrence:
    """Films on which two findings are both present, [F, F]."""

    findings: tuple[str, ...]
    films: tuple[tuple[int, ...], ...]
    of: tuple[tuple[int, ...], ...]
    """[F, F], films with the row's finding whose source states the column's."""
    none_present: int


@dataclass(frozen=True)
class SplitCounts:
    """Films, patients and findings of one split; of films in no split only their number is known."""

    films: int
    patients: int | None = None
    present: Mapping[str, int] = field(default_factory=dict)
    labelled: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class FilmsBar:
    """Patients that have so many films."""

    films: str
    patients: int


@dataclass(frozen=True)
class FilmsPerPatient:
    """How many films patients have."""

    median: float
    most: int
    bars: tuple[FilmsBar, ...]


@dataclass(frozen=True)
class AgeBar:
    """Films of people of one decade."""

    years: str
    films: int


@dataclass(frozen=True)
class Ages:
    """Ages of the people on the films; the percentiles are None where none is stated."""

    stated: int
    unlikely: int
    p5: float | None
    median: float | None
    p95: float | None
    bars: tuple[AgeBar, ...]


@dataclass(frozen=True)
class ImageSize:
    """A size in pixels that films came in."""

    height: int
    width: int
    films: int


@dataclass(frozen=True)
class Sizes:
    """Sizes that films came in."""

    known: int
    different: int
    common: tuple[ImageSize, ...]
    shortest_side: tuple[int | None, int | None]
    square: int


@dataclass(frozen=True)
class Percentiles:
    """5th, 50th and 95th percentile over films."""

    p5: float
    median: float
    p95: float


@dataclass(frozen=True)
class Greys:
    """Grey values of stored films."""

    films: int
    shares: tuple[float, ...]
    black: float
    white: float
    mean: Percentiles
    contrast: Percentiles


@dataclass(frozen=True)
class StoreColumn:
    """What is counted of one store, or of all together."""

    name: str
    films: int
    patients: int
    studies: int | None
    rows: RowsRead
    labels: Mapping[str, LabelCounts]
    together: CoOccurrence
    parts: Mapping[str, SplitCounts]
    films_per_patient: FilmsPerPatient
    ages: Ages
    sexes: Mapping[str, int]
    views: Mapping[str, int]
    sizes: Sizes
    greys: Greys
    mean_film: str
