"""Leaks and outliers on a card: copies, patients in several subsets, films of something else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hilum.arrays import BoolArray, Rows
from hilum.csv_files import write_csv
from hilum.duplicates.copies import Copies
from hilum.images.equal_pixels import differing_labels
from hilum.images.films import Films
from hilum.splits import PATIENT_PARTS
from hilum.workflows.card.pixels import keep_picture
from hilum.workflows.data.subsets import Subsets

LISTS = "lists"
"""Folder of the tables that name films; they are not in the page, for a path can name a patient."""
SHOWN, ALIKE = 12, 3
"""Films, or pairs of them, that the page shows of each kind, and of each finding."""
OUTSIDE = "in no part"
PARTS_SHOWN = (*PATIENT_PARTS, "official-test", OUTSIDE)


def part_of_each(subsets: Subsets) -> NDArray[np.object_]:
    """Return the split of every film, [N]; OUTSIDE where it is in none."""
    return subsets.split_of_each().fillna(OUTSIDE).to_numpy(object)


def store_of_each(films: Films) -> NDArray[np.int64]:
    """Return the index of every film's store, [N]."""
    return np.repeat(np.arange(len(films.stores)), np.diff(films.starts))


def named_films(films: Films, rows: Rows) -> pd.DataFrame:
    """Return store, row within the store, and path of films: by these a reader finds them."""
    stores = store_of_each(films)[rows]
    names = np.array(films.sources, dtype=object)[stores]
    paths = films.catalog["path"].iloc[rows].to_numpy(object)
    return pd.DataFrame({"store": names, "row": rows - films.starts[stores], "path": paths})


def write_list(out: Path, name: str, table: pd.DataFrame) -> None:
    """Write a table that names films as CSV below the card's folder."""
    (out / LISTS).mkdir(parents=True, exist_ok=True)
    rows = list(table.itertuples(index=False, name=None))
    write_csv(out / LISTS / f"{name}.csv", list(table.columns), rows, "{:.6g}")


def copy_facts(subsets: Subsets, copies: Copies) -> dict[str, Any]:
    """Return the number of copies in and between stores and splits."""
    films = subsets.films
    pairs, groups = copies.pairs, copies.groups()
    origin, placed = store_of_each(films), part_of_each(subsets)

    # Pairs within every store, and between every two that have any.
    sides = [origin[pairs[side].to_numpy(np.int64)] for side in ("first", "second")]
    ends = np.sort(np.stack(sides, axis=1), axis=1)  # [pairs, 2]
    within = [(store, store) for store in range(len(films.stores))]
    by_stores = []
    for first, second in sorted({*within, *map(tuple, ends.tolist())}):
        between = pairs[(ends == (first, second)).all(axis=1)]
        other = ~between["same_patient"].to_numpy(bool)
        exact = (between["kind"] == "exact").to_numpy(bool)
        by_stores.append({
            "stores": [films.sources[first], films.sources[second]],
            "exact": int(exact.sum()), "exact_other_patient": int((exact & other).sum()),
            "near": int((~exact).sum()), "near_other_patient": int((~exact & other).sum()),
        })  # fmt: skip
    exact_pairs = (pairs["kind"] == "exact").to_numpy(bool)
    return {
        "exact": int(exact_pairs.sum()),
        "near": int((pairs["kind"] == "near").sum()),
        "contradicting": int(_differing(films, pairs)[exact_pairs].any(axis=1).sum()),
        "groups": len(groups),
        "films": int(sum(map(len, groups))),
        "pairs": by_stores,
        "leaks": _leaks(groups, placed),
        "straddling": sum(len({*placed[group]} - {OUTSIDE}) > 1 for group in groups),
        "notes": list(copies.notes),
    }


def _differing(films: Films, pairs: pd.DataFrame) -> BoolArray:
    """Return which findings the two films of each pair state differently, [pairs, F]."""
    rows = pairs[["first", "second"]].to_numpy(np.int64)
    return differing_labels(np.asarray(films.labels), rows)


def _leaks(groups: Sequence[Rows], placed: NDArray[np.object_]) -> dict[str, dict[str, int]]:
    """Return for each split how many of its films have a copy in each split, itself included."""
    leaks = {part: dict.fromkeys(PARTS_SHOWN, 0) for part in PARTS_SHOWN}
    for group in groups:
        counts = Counter(placed[group].tolist())
        for part, count in counts.items():
            for other in counts:
                leaks[part][other] += count if other != part or count > 1 else 0
    return leaks


def copy_list(subsets: Subsets, copies: Copies) -> pd.DataFrame:
    """Return every pair with its films' names and splits; between splits and patients first."""
    placed, pairs = part_of_each(subsets), copies.pairs
    sides = []
    for name in ("first", "second"):
        rows = pairs[name].to_numpy(np.int64)
        sides.append(
            named_films(subsets.films, rows).assign(part=placed[rows]).add_suffix(f"_{name}")
        )
    facts = pairs[["kind", "correlation", "same_patient"]].reset_index(drop=True)
    table = pd.concat([*sides, facts], axis=1)
    names = np.array(subsets.films.findings, dtype=object)
    differing = _differing(subsets.films, pairs)
    table["contradicting"] = ["; ".join(names[cells]) for cells in differing]
    return table.iloc[_worst_first(subsets, copies)].reset_index(drop=True)


def _worst_first(subsets: Subsets, copies: Copies) -> NDArray[np.int64]:
    """Return the order of pairs: between splits, of different patients, then by correlation."""
    placed, pairs = part_of_each(subsets), copies.pairs
    first, second = (placed[pairs[name].to_numpy(np.int64)] for name in ("first", "second"))
    between = (first != second) & (first != OUTSIDE) & (second != OUTSIDE)
    same = pairs["same_patient"].to_numpy(bool)
    return np.lexsort((-pairs["correlation"].to_numpy(np.float64), same, ~between)).astype(np.int64)


def shown_copies(subsets: Subsets, copies: Copies, out: Path) -> list[dict[str, Any]]:
    """Write the pictures of some pairs, the worst first; return each pair's facts without paths."""
    placed, films = part_of_each(subsets), subsets.films
    shown = []
    for number, index in enumerate(_worst_first(subsets, copies)[:SHOWN].tolist()):
        pair = copies.pairs.iloc[index]
        rows = np.array([pair["first"], pair["second"]], np.int64)
        names = named_films(films, rows)
        pictures = films.read(rows)
        shown.append({
            "pictures": [keep_picture(out, f"copy-{number}-{side}", pictures[side]) for side in (0, 1)],
            "films": [
                {"store": names["store"][side], "row": int(names["row"][side]), "part": str(placed[rows[side]])}
                for side in (0, 1)
            ],
            "kind": str(pair["kind"]), "correlation": float(pair["correlation"]),
            "same_patient": bool(pair["same_patient"]),
        })  # fmt: skip
    return shown


def patient_facts(subsets: Subsets) -> dict[str, Any]:
    """Return how many patients are in several subsets or stores, also by the source's own split."""
    films, placed = subsets.films, part_of_each(subsets)
    table = pd.DataFrame({
        "patient": films.named_patients, "part": placed, "store": store_of_each(films),
        "own": films.catalog["part"].astype(object),
    })  # fmt: skip
    inside = table[table["part"] != OUTSIDE]
    return {
        "in_several_parts": _in_several(inside, "part"),
        "in_several_stores": _in_several(table, "store"),
        "in_several_of_the_source": _in_several(table.dropna(subset="own"), "own"),
        "left_out": int((placed == OUTSIDE).sum()),
    }


def _in_several(table: pd.DataFrame, column: str) -> int:
    return int((table.groupby("patient")[column].nunique() > 1).sum()) if len(table) else 0


def shown_films(films: Films, table: pd.DataFrame, out: Path, kind: str) -> list[dict[str, Any]]:
    """Write the pictures of a list's first films by its column ``row``; return lines without paths.

    Of a list by finding no more than ALIKE of each are shown, so that one finding does not fill the
    page.
    """
    if "finding" in table:
        table = table[table.groupby("finding").cumcount() < ALIKE]
    first = table.head(SHOWN)
    rows = first["row"].to_numpy(np.int64)
    names, pictures = named_films(films, rows), films.read(rows)
    lines = []
    for number, line in enumerate(first.drop(columns=["row", "source", "path"]).to_dict("records")):
        picture = keep_picture(out, f"{kind}-{number}", pictures[number])
        facts = {"store": names["store"][number], "row": int(names["row"][number])}
        for name, value in line.items():  # as plain values, None for NaN
            if isinstance(value, (float, np.floating)):
                facts[str(name)] = None if np.isnan(value) else float(value)
            else:
                facts[str(name)] = value.item() if isinstance(value, np.generic) else value
        lines.append({"picture": picture, **facts})
    return lines
