"""Of the labels that neighbours contradict, how many are truly wrong? On phantoms with labels flipped on purpose.

Takes the films of a store of drawn phantoms, flips the label of 5 % of all cells (present becomes
absent, absent present), and lists hints by the features of a network that never saw a label
(``--run``, as ``hilum pretrain`` leaves it; else random weights). Prints the share of truly flipped
cells among the first 50, 100, 200 and 500 of the list, beside chance: their share of all cells, and
of those that say the same (present cells are flipped ones more often, since most cells are absent).
Research use only, not a medical device.

Run: ``python benchmarks/label_issues_check.py --data STORE --run RUN [--seeds 5] [--json]``. A
    minute on one core.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hilum.bundle.initialization import initial_weights
from hilum.errors import DataError
from hilum.images.films import Films
from hilum.training.inference import over_films
from hilum.workflows.card.label_issues import label_issues
from hilum.workflows.data.subsets import truth_of

FLIPPED = 0.05
LENGTHS = (50, 100, 200, 500)


class Flipped:
    """The films with some of their labels turned round; what `label_hints` reads."""

    def __init__(self, films: Films, seed: int) -> None:
        """Flip FLIPPED of the cells that count; those not stated count as absent."""
        truth, counts = truth_of(films, np.arange(len(films)), "absent")
        self.flips = counts & (np.random.default_rng(seed).random(truth.shape) < FLIPPED)
        self.labels = np.where(counts, np.where(self.flips, 1 - truth, truth), np.nan).astype(
            np.float32
        )
        self.catalog, self.findings, self.patient_codes = (
            films.catalog,
            films.findings,
            films.patient_codes,
        )
        self.labelled_by_source = films.labelled_by_source

    def shares(self, hints: Any) -> dict[str, Any]:
        """Return the share of flipped cells among the first hints, and by chance."""
        columns = [self.findings.index(name) for name in hints["finding"]]
        wrong = self.flips[hints["row"].to_numpy(), columns]
        stated = ~np.isnan(self.labels)
        says = [float(self.flips[stated & (self.labels == label)].mean()) for label in (0, 1)]
        present = float((hints["label"] == 1).mean())
        return {
            "flipped": {str(length): float(wrong[:length].mean()) for length in LENGTHS},
            "chance": float(self.flips[stated].mean()),
            "chance_of_same_labels": present * says[1] + (1 - present) * says[0],
            "present": present,
        }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", default="random")
    parser.add_argument("--backbone", default=None)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    films = Films.open([chosen.data])
    if len(films) * len(films.findings) < LENGTHS[-1]:
        raise DataError(f"{chosen.data} has {len(films)} films: give a store of more.")
    rows, size = np.arange(len(films)), films.preparation.size
    start = initial_weights(
        chosen.run, chosen.backbone or ("resnet18" if chosen.run == "random" else None), size, 0
    )
    features = over_films(start.backbone, films, rows, size)
    found = []
    for seed in range(chosen.seeds):
        flipped = Flipped(films, seed)
        hints = label_issues(flipped, rows, features, count=LENGTHS[-1])  # type: ignore[arg-type]
        found.append(flipped.shares(hints))
        if not chosen.json:
            sys.stdout.write(f"seed {seed}: {json.dumps(found[-1])}\n")
    means = {
        length: float(np.mean([one["flipped"][length] for one in found]))
        for length in map(str, LENGTHS)
    }
    sys.stdout.write(json.dumps({"films": len(films), "mean": means, "seeds": found}) + "\n")


if __name__ == "__main__":
    main()
