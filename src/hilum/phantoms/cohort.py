"""Who is filmed, when, how, with what findings and what the report says of them: everything but the picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import count, islice
from statistics import NormalDist

import numpy as np

from hilum.catalog import UNCERTAIN
from hilum.findings import CHEXPERT
from hilum.phantoms.options import COHORT, PhantomOptions, stream
from hilum.phantoms.rates import BEDSIDE, ERECT, Rates, counts, rates

MOST_STUDIES = 10
"""CheXpert's long tail of studies per patient is cut here: in a small phantom set one patient would
fill a part."""

PERSISTENCE = 0.3
"""Share of the variance of the latent findings that belongs to the patient rather than to the
study."""

# Projections of a study by its number of films, and how often: with CheXpert's films per study they
# give its 161,590 AP, 29,420 PA and 32,387 lateral films to within 1 %.
_PROJECTIONS: dict[int, tuple[tuple[float, tuple[str, ...]], ...]] = {
    1: ((1.0, ("AP",)),),
    2: ((0.86, ("PA", "LATERAL")), (0.09, ("AP", "LATERAL")), (0.05, ("AP", "AP"))),
    3: ((0.5, ("PA", "PA", "LATERAL")), (0.5, ("AP", "AP", "LATERAL"))),
}


@dataclass(frozen=True)
class Film:
    """One film to draw. ``truth`` and ``stated`` follow ``findings.CHEXPERT``; ``stated`` has -1 and NaN too."""

    patient: int
    study: int
    view: int
    position: str
    sex: str
    age: int
    truth: tuple[float, ...]
    stated: tuple[float, ...]

    @property
    def part(self) -> str:
        """``valid`` for every fifth patient, else ``train``."""
        return "valid" if self.patient % 5 == 3 else "train"

    @property
    def name(self) -> str:
        """Where the film lies below the root, without its ending."""
        direction = "lateral" if self.position == "LATERAL" else "frontal"
        return (
            f"{self.part}/patient{self.patient:05d}/study{self.study}/view{self.view}_{direction}"
        )

    @property
    def present(self) -> tuple[str, ...]:
        """The findings truly on the film, No Finding aside."""
        return tuple(
            name for name, value in zip(CHEXPERT[1:], self.truth[1:], strict=True) if value
        )


def cohort(options: PhantomOptions) -> list[Film]:
    """Return the films to draw, patient by patient."""
    films = (film for patient in count(1) for film in _patient(patient, options))
    return list(islice(films, options.count))


def _patient(patient: int, options: PhantomOptions) -> Iterator[Film]:
    rng = stream(options.seed, patient, 0, 0, COHORT)
    studies = min(MOST_STUDIES, int(_pick(rng, "studies_per_patient")))
    decade = int(_pick(rng, "age_decades"))
    age = 90 if decade == 90 else decade + int(rng.integers(10))
    sex = "Male" if rng.random() < 132_636 / 223_413 else "Female"
    tendency = rng.standard_normal(len(CHEXPERT))
    for study in range(1, studies + 1):
        yield from _study(patient, study, sex, age, tendency, options)


def _study(
    patient: int, study: int, sex: str, age: int, tendency: np.ndarray, options: PhantomOptions
) -> Iterator[Film]:
    rng = stream(options.seed, patient, study, 0, COHORT)
    positions = _positions(rng)
    kind = ERECT if "PA" in positions else BEDSIDE
    latent = np.sqrt(PERSISTENCE) * tendency + np.sqrt(1 - PERSISTENCE) * rng.standard_normal(
        len(CHEXPERT)
    )
    stated = _stated(rng, latent, kind, rates(options.prevalence))
    truth = _truth(rng, stated, options.truth_shares())
    for view, position in enumerate(positions, start=1):
        yield Film(
            patient, study, view, position, sex, age, tuple(truth.tolist()), tuple(stated.tolist())
        )


def _stated(rng: np.random.Generator, latent: np.ndarray, kind: int, table: Rates) -> np.ndarray:
    """Return what a study's report says, float64 [14]: 1, 0, -1 or NaN."""
    chance = rng.random((2, len(table.uncertain)))
    if latent[0] > _threshold(float(table.no_finding[kind])):
        present = np.zeros(len(table.uncertain), bool)
        present[-1] = latent[-1] > _threshold(float(table.devices_alone[kind]))
        uncertain = np.zeros_like(present)
        clear = 1.0
    else:
        present = np.asarray(table.mixing @ latent[1:] > table.thresholds[kind])
        uncertain = ~present & (chance[0] < table.uncertain)
        clear = np.nan
    silent = np.where(chance[1] < table.absent, 0.0, np.nan)
    cells = np.where(present, 1.0, np.where(uncertain, UNCERTAIN, silent))
    return np.asarray(np.concatenate([[clear], cells]), float)


def _truth(rng: np.random.Generator, stated: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return what is so, float64 [14] of 0 and 1: what is not stated is absent; an uncertain finding may be either."""
    truth = np.asarray(stated == 1) | ((stated == UNCERTAIN) & (rng.random(len(stated)) < shares))
    truth[0] = not truth[1:-1].any()
    return np.asarray(truth, float)


@lru_cache
def _threshold(share: float) -> float:
    return -NormalDist().inv_cdf(share)


def _positions(rng: np.random.Generator) -> tuple[str, ...]:
    patterns = _PROJECTIONS[int(_pick(rng, "films_per_study"))]
    ends = np.cumsum([share for share, _ in patterns])
    return patterns[int(np.searchsorted(ends, rng.random() * ends[-1], side="right"))][1]


def _pick(rng: np.random.Generator, name: str) -> str:
    """Return a key of one of CheXpert's tables of counts, as often as it occurs there."""
    keys, ends = _cumulated(name)
    return keys[int(np.searchsorted(ends, rng.random() * ends[-1], side="right"))]


@lru_cache
def _cumulated(name: str) -> tuple[tuple[str, ...], np.ndarray]:
    table: Mapping[str, int] = counts()[name]
    return tuple(table), np.cumsum(list(table.values()))
