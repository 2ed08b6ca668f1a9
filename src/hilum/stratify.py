"""Stratified division of patients: each subset, and each fraction of one, has the findings in proportion.

Patients who are linked, as by a picture in common, count as one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from hilum.arrays import BoolArray, DoubleArray, Rows
from hilum.catalog import PRESENT

GOLDEN = (5**0.5 - 1) / 2
"""The golden ratio's fractional part: its multiples fill a circle more evenly than any other
number's."""


def spread(
    positives: BoolArray, films: npt.NDArray[np.int64], rng: np.random.Generator
) -> DoubleArray:
    """Return a position on a circle [0, 1) for each patient; every arc has the findings in proportion.

    Patients are sorted by their findings, the rarest first, then by their number of films, then at
    random; the r-th gets the fractional part of r times the golden ratio. Any arc of the circle then
    holds its proportion of neighbours in that order, who are alike, to within one or two: also of
    three patients with a hernia.

    Args:
        positives: [P, F], whether any film of the patient shows the finding.
        films: [P], how many films the patient has.
        rng: Breaks ties and turns the circle.

    Source: the golden ratio's multiples have the lowest discrepancy of their kind (Knuth, TAOCP 3,
        section 6.4).
    """
    rarest_first = np.argsort(positives.sum(axis=0), kind="stable")
    keys = [rng.random(len(films)), np.floor(np.log2(np.maximum(films, 1)))]
    order = np.lexsort([*keys, *(~positives[:, column] for column in rarest_first[::-1])])
    positions = np.empty(len(films))
    positions[order] = (np.arange(len(films)) * GOLDEN + rng.random()) % 1
    return positions


def by_patient(
    table: pd.DataFrame, findings: Sequence[str], patients: Sequence[str]
) -> pd.DataFrame:
    """Return one row a patient, sorted: whether any film shows each finding, and how many ``films`` there are."""
    chosen = table[table["patient"].isin(patients)]
    shows = (chosen[list(findings)] == PRESENT).groupby(chosen["patient"].astype(str)).any()
    return shows.assign(films=chosen.groupby(chosen["patient"].astype(str)).size())


def divide(pool: pd.DataFrame, shares: Sequence[float], seed: int) -> tuple[tuple[str, ...], ...]:
    """Return subsets of a pool of patients, one for each fraction, then the rest; in the circle's order.

    Args:
        pool: What ``by_patient`` returns.
        shares: Of the patients, each from 0 to 1, together at most 1.
        seed: Of the draw.
    """
    positives = pool.drop(columns="films").to_numpy(bool)
    positions = spread(positives, pool["films"].to_numpy(np.int64), np.random.default_rng(seed))
    order = pool.index.to_numpy()[np.argsort(positions, kind="stable")]
    ends = np.cumsum([_size(share, len(pool)) for share in shares])
    return tuple(tuple(map(str, part)) for part in np.split(order, np.minimum(ends, len(pool))))


def folds(
    positives: BoolArray, patients: npt.NDArray[np.int64], count: int, seed: int
) -> npt.NDArray[np.int64]:
    """Return for each film the fold of its patient, [n], from 0; each fold has the findings in proportion.

    Args:
        positives: [n, F], whether the film shows the finding.
        patients: [n], one number a patient.
        count: How many folds; with fewer patients there is one for each.
        seed: Of the draw.
    """
    names, codes = np.unique(patients, return_inverse=True)
    shows = np.zeros((len(names), positives.shape[1]), np.bool_)
    np.logical_or.at(shows, codes, positives)
    positions = spread(shows, np.bincount(codes), np.random.default_rng(seed))
    ranks = np.empty(len(names), np.int64)
    ranks[np.argsort(positions, kind="stable")] = np.arange(len(names))
    return np.asarray(ranks * min(count, len(names)) // max(len(names), 1))[codes]


def _size(share: float, patients: int) -> int:
    """Return a part's patients: at least one if any share was asked for and there are enough for three parts."""
    return max(round(share * patients), int(share > 0 and patients >= 3))


def first_of_group(count: int, links: Rows) -> Rows:
    """Return for each of ``count`` things the first of its group, [count]."""
    named = np.arange(count, dtype=np.int64)
    first, second = links[:, 0], links[:, 1]
    while (
        True
    ):  # each pass gives both ends of a link, and whom they were named after, the lower name
        before, lower = named.copy(), np.minimum(named[first], named[second])
        for renamed in (before[first], before[second], first, second):
            np.minimum.at(named, renamed, lower)
        named = named[named]  # and chains halve by following names
        if np.array_equal(named, before):
            return named
