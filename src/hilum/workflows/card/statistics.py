"""Counts from the tables of stores: people, labels, co-occurrence, splits, sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hilum.arrays import DoubleArray, FloatArray, Rows
from hilum.catalog import ABSENT, PRESENT, UNCERTAIN
from hilum.images.films import Films
from hilum.labels import POLICIES, UNCERTAIN_CLASS, apply_policy
from hilum.splits import PARTS
from hilum.workflows.data.subsets import Subsets

TOGETHER = "together"
"""Name of the column that has all stores."""
KINDS = {"present": PRESENT, "uncertain": UNCERTAIN, "absent": ABSENT}
FILM_COUNTS = ((1, 1), (2, 2), (3, 3), (4, 5), (6, 10), (11, 20), (21, 50), (51, None))
"""Films of a patient, from and to, of each bar."""
DECADES = 10
"""Bars of ages: 0 to 9 years, ..., 90 and older."""
OLDEST = 120
"""Years above which an age is taken for a slip."""
COMMON_SIZES = 8


@dataclass(frozen=True)
class Column:
    """One store, or all of them: a column of the card's tables."""

    name: str
    rows: Rows
    """Its films among all."""
    stores: tuple[int, ...]
    """Places of its stores."""


def columns_of(films: Films) -> list[Column]:
    """Return a column for each store and, of several stores, one for all."""
    spans = zip(films.starts[:-1].tolist(), films.starts[1:].tolist(), strict=True)
    columns = [
        Column(name, np.arange(*span), (n,))
        for n, (name, span) in enumerate(zip(films.sources, spans, strict=True))
    ]
    if len(columns) > 1:
        columns.append(Column(TOGETHER, np.arange(len(films)), tuple(range(len(columns)))))
    return columns


def column_facts(films: Films, subsets: Subsets, column: Column) -> dict[str, Any]:
    """Return what the tables say of a column's films, as plain values; no name of a patient."""
    table = films.catalog.iloc[column.rows]
    patients = films.named_patients[column.rows]
    studies = table["study"].dropna()
    manifests = [films.stores[store].manifest for store in column.stores]
    return {
        "name": column.name,
        "films": len(table),
        "patients": len(np.unique(patients)),
        "studies": int(studies.nunique()) if len(studies) == len(table) else None,
        "rows": {
            "read": sum(manifest["rows_read"] for manifest in manifests),
            "excluded": _added(manifest["rows_excluded"] for manifest in manifests),
            "failed": _added(manifest["rows_failed"] for manifest in manifests),
        },
        "labels": label_facts(films, column.rows),
        "together": together(films, column.rows),
        "parts": part_facts(films, subsets, column),
        "films_per_patient": films_per_patient(patients),
        "ages": age_facts(table["age"].to_numpy(np.float64, na_value=np.nan)),
        "sexes": _tally(table["sex"], ("F", "M")),
        "views": _tally(table["view_position"], ("PA", "AP", "LATERAL")),
        "sizes": size_facts(table),
    }


def label_facts(films: Films, rows: Rows) -> dict[str, dict[str, Any]]:
    """Return for each finding that a source of these films states how often it is what, and how often by policy.

    ``prevalence`` has the share of films that training takes as having the finding, by what an
    uncertain label becomes; what is not stated counts as absent there, and nowhere under ``stated
    only``.
    """
    labels, labelled, patients = (
        films.labels[rows],
        films.labelled_by_source[rows],
        films.named_patients[rows],
    )
    facts = {}
    for index, name in enumerate(films.findings):
        cells = labels[labelled[:, index], index]
        if not len(cells):
            continue
        labelled_patients = patients[labelled[:, index]]
        facts[name] = {
            **{kind: int((cells == value).sum()) for kind, value in KINDS.items()},
            "not_stated": int(np.isnan(cells).sum()),
            "not_labelled": len(rows) - len(cells),
            "patients_present": len(np.unique(labelled_patients[cells == PRESENT])),
            "prevalence": prevalences(cells),
        }
    return facts


def prevalences(cells: FloatArray) -> dict[str, float | None]:
    """Return the share of films [n] that has a finding by each policy; an own class does not count as having it."""
    fractions: dict[str, float | None] = {}
    for policy in POLICIES:
        targets, weights = apply_policy(cells[:, None], policy, "absent", np.ones(1, np.bool_))
        fractions[policy] = _share(np.where(targets == UNCERTAIN_CLASS, ABSENT, targets), weights)
    targets, weights = apply_policy(cells[:, None], "ignore", "ignore", np.ones(1, np.bool_))
    return {**fractions, "stated only": _share(targets, weights)}


def _share(targets: FloatArray, weights: FloatArray) -> float | None:
    total = float(weights.sum(dtype=np.float64))
    return float((targets * weights).sum(dtype=np.float64)) / total if total else None


def together(films: Films, rows: Rows) -> dict[str, Any]:
    """Return on how many films two findings are stated as present both, [F, F]; the diagonal has each alone.

    ``of`` has, [F, F], on how many films the row's finding is present whose source states the
    column's at all.
    """
    present = (films.labels[rows] == PRESENT).astype(np.float64)
    labelled = films.labelled_by_source[rows]
    columns = [index for index in range(len(films.findings)) if labelled[:, index].any()]
    counts = {
        "films": present[:, columns].T @ present[:, columns],
        "of": present[:, columns].T @ labelled[:, columns],
    }
    tables = {name: counted.astype(int).tolist() for name, counted in counts.items()}
    names = [films.findings[index] for index in columns]
    return {"findings": names, **tables, "none_present": int((~present.any(axis=1)).sum())}


def part_facts(films: Films, subsets: Subsets, column: Column) -> dict[str, Any]:
    """Return films, patients and of each finding the films that have it, and whose source states it, of every part.

    Films in none are ``left_out``.
    """
    facts: dict[str, Any] = {}
    placed = 0
    for part in [name for name in PARTS if name != "all"]:
        rows = np.intersect1d(subsets.rows(part), column.rows)
        placed += len(rows)
        counted = {
            "present": films.labels[rows] == PRESENT,
            "labelled": films.labelled_by_source[rows],
        }
        facts[part] = {
            "films": len(rows), "patients": subsets.patients(rows),
            **{kind: dict(zip(films.findings, cells.sum(axis=0).tolist(), strict=True))
               for kind, cells in counted.items()},
        }  # fmt: skip
    return {**facts, "left_out": {"films": len(column.rows) - placed}}


def films_per_patient(patients: NDArray[np.int64]) -> dict[str, Any]:
    """Return how many films patients [n] have: median, most, and a bar for each of FILM_COUNTS."""
    counts = np.unique(patients, return_counts=True)[1]
    bars = []
    for low, high in FILM_COUNTS:
        span = str(low) if low == high else f"{low} to {high}"
        if high is None:
            span = f"{low} or more"
        within = (counts >= low) & (counts <= (high or counts.max()))
        bars.append({"films": span, "patients": int(within.sum())})
    return {"median": float(np.median(counts)), "most": int(counts.max()), "bars": bars}


def age_facts(ages: DoubleArray) -> dict[str, Any]:
    """Return how old the people on films [n] are; ages above OLDEST are counted and otherwise left out."""
    stated = ages[~np.isnan(ages)]
    likely = stated[(stated >= 0) & (stated <= OLDEST)]
    decades = np.bincount(np.minimum(likely // 10, DECADES - 1).astype(int), minlength=DECADES)
    names = [f"{10 * decade} to {10 * decade + 9}" for decade in range(DECADES - 1)] + [
        f"{10 * (DECADES - 1)} or older"
    ]
    ends = np.percentile(likely, (5, 50, 95)).tolist() if len(likely) else [None] * 3
    return {
        "stated": len(stated),
        "unlikely": len(stated) - len(likely),
        "p5": ends[0], "median": ends[1], "p95": ends[2],
        "bars": [{"years": name, "films": int(count)} for name, count in zip(names, decades, strict=True)],
    }  # fmt: skip


def size_facts(table: pd.DataFrame) -> dict[str, Any]:
    """Return the sizes that films came in: how many are known, how many differ, and the commonest."""
    known = table[["height", "width"]].dropna().astype(int)
    counts = (
        known.value_counts()
        .reset_index()
        .sort_values(["count", "height", "width"], ascending=[False, True, True])
    )
    sides = known.min(axis=1).tolist() or [None]
    return {
        "known": len(known),
        "different": len(counts),
        "common": counts.head(COMMON_SIZES)
        .rename(columns={"count": "films"})
        .astype(int)
        .to_dict("records"),
        "shortest_side": [min(sides), max(sides)],
        "square": int((known["height"] == known["width"]).sum()),
    }


def _added(counts: Any) -> dict[str, int]:
    sums: dict[str, int] = {}
    for by_reason in counts:
        for reason, count in by_reason.items():
            sums[reason] = sums.get(reason, 0) + count
    return sums


def _tally(values: pd.Series, first: Sequence[str]) -> dict[str, int]:
    """Return how often each value occurs: the usual ones first, then others, then what is not stated."""
    counts: Mapping[Any, int] = values.value_counts().to_dict()
    names = [*first, *sorted(str(name) for name in counts if name not in first)]
    return {
        **{name: int(counts.get(name, 0)) for name in names},
        "not stated": int(values.isna().sum()),
    }
