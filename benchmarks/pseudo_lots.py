"""How often are pseudo-labels as right as asked for? Many validation sets, drawn by lot, for the model of one run.

One run of ``pseudo_precision.py`` has one validation set, and so one verdict. This takes the model
that it began with and what it says of all films that it did not learn from, draws validation
patients among them again and again, chooses thresholds on their films by the labels, as `hilum
pseudo-label` does, and applies them to all the other films, whose truth is what was drawn. Nothing
is trained. Of each level and side (called present, called absent) it gives how many findings are
called, how far their mean precision lies from what was wanted, how many sets lie more than 5 points
from it, and how many of the findings called miss it beyond their 95 % interval. Research use only,
not a medical device.

Run: ``python benchmarks/pseudo_lots.py pseudo [OTHER…] [--json]`` on folders that
    ``pseudo_precision.py --out`` wrote.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from hilum.arrays import BoolArray
from hilum.bundle.predictor import Predictor
from hilum.images.films import Films
from hilum.metrics.proportions import share_right
from hilum.workflows.data.subsets import Subsets, truth_of
from hilum.workflows.pseudo_label.starting_run import start_run
from hilum.workflows.train.labelling import called, cut_of
from hilum.workflows.train.labelling_options import PseudoOptions
from pseudo_precision import ENOUGH, FOLDERS, SIDES, WITHIN, drawn
from said import say


class UnseenPatients:
    """The films that a run's first model did not learn from: what it says, their labels and what was drawn."""

    def __init__(self, folder: Path) -> None:
        """Let the model say what it thinks of them."""
        phantoms, store, start, _ = (folder / name for name in FOLDERS)
        films, options = Films.open([store]), start_run(start, [store]).options
        learnt = Subsets.of(films).rows("train", options.fraction, options.subset_seed)
        rows = np.setdiff1d(np.arange(len(films)), learnt)
        predictor = Predictor.load(start, "cpu")
        columns = [films.findings.index(name) for name in predictor.findings]
        labels, counts = truth_of(films, rows, options.labels.unstated)
        self.findings = predictor.findings
        self.scores = predictor.score_films(films, rows)
        self.labels, self.counts = labels[:, columns] == 1, counts[:, columns]
        self.drawn = drawn(films, phantoms)[rows][:, columns] == 1
        self.patients = films.patient_codes[rows]

    def lot(
        self, rng: np.random.Generator, share: float, options: PseudoOptions
    ) -> list[dict[str, Any]]:
        """Draw validation patients; return a row for each finding and side that is called."""
        people = np.unique(self.patients)
        chosen = np.isin(
            self.patients, rng.choice(people, round(share * len(people)), replace=False)
        )
        return [
            row
            for column in range(len(self.findings))
            for row in self._finding(column, chosen, options)
        ]

    def _finding(
        self, column: int, chosen: BoolArray, options: PseudoOptions
    ) -> list[dict[str, Any]]:
        shown = chosen & self.counts[:, column]
        truth, scores = self.labels[shown, column], self.scores[:, column]
        cut = cut_of(truth, scores[shown], self.patients[shown], options)
        present, taken = called(scores, ~chosen, cut)
        rows = []
        for side, value in SIDES.items():
            films = taken & (present == value)
            real = share_right(self.drawn[films, column] == value, self.patients[films])
            if real.value is not None and real.interval is not None:
                asked = cut.present_side.wanted if value else cut.absent_side.wanted
                missed = bool(real.interval.high < asked and truth.sum() >= ENOUGH)
                rows.append({"side": side, "over": real.value - asked, "missed": missed})
        return rows


def summary(rows: pd.DataFrame, sets: int) -> dict[str, Any]:
    """Return what came of all sets of a level and side."""
    means = rows.groupby(["folder", "lot"])["over"].mean()
    return {
        "findings": len(rows) / sets,
        "over": float(means.mean()),
        "sets_out": int((means.abs() > WITHIN).sum()),
        "sets": sets,
        "missed": int(rows["missed"].sum()),
        "called": len(rows),
        "sets_with_a_miss": int(rows.groupby(["folder", "lot"])["missed"].any().sum()),
    }


def told(name: str, one: dict[str, Any]) -> str:
    """Return a line of text."""
    mean = f"{one['findings']:.1f} findings, {100 * one['over']:+.1f} points from what was wanted in the mean"
    out = f"{one['sets_out']} of {one['sets']} sets more than {100 * WITHIN:.0f} points from it"
    return f"{name}: {mean}; {out}; {one['missed']} of {one['called']} missed, in {one['sets_with_a_miss']} sets"


def main() -> None:
    """Measure and print; with ``--json`` the last line is JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--lots", type=int, default=40, help="validation sets a folder and level")
    parser.add_argument(
        "--share", type=float, default=0.2, help="of the patients that the model did not learn from"
    )
    parser.add_argument("--levels", type=float, nargs="+", default=[PseudoOptions.level])
    parser.add_argument("--precision", type=float, default=PseudoOptions.precision)
    parser.add_argument("--absent-precision", type=float, default=PseudoOptions.absent_precision)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    found: list[dict[str, Any]] = []
    for folder in chosen.folders:
        unseen = UnseenPatients(folder)
        for level in chosen.levels:
            options = PseudoOptions(
                precision=chosen.precision, absent_precision=chosen.absent_precision, level=level
            )
            rng = np.random.default_rng(chosen.seed)  # the same sets for every level
            for lot in range(chosen.lots):
                rows = unseen.lot(rng, chosen.share, options)
                found.extend(
                    {"folder": str(folder), "level": level, "lot": lot, **row} for row in rows
                )
    table, sets = pd.DataFrame(found), chosen.lots * len(chosen.folders)
    parts = table.groupby(["level", "side"])
    result = {f"level {level}, called {side}": summary(rows, sets) for (level, side), rows in parts}
    for name, one in result.items():
        say(told(name, one))
    if chosen.json:
        say(json.dumps(result, sort_keys=True))


if __name__ == "__main__":
    main()
