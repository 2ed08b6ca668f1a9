"""Are planted shortcuts flagged, and clean films left alone? On phantoms, where it is known.

Draws one set of phantoms a seed, at even prevalence, and judges it three times by
``hilum.workflows.card.shortcuts``:

* ``planted``: a small bright token stands near a corner of 90 % of the films that show one finding,
  and of no other film; the corner and the place in it are drawn a film, the finding a seed. It must
  be flagged by a probe that sees no chest.
* ``decoy``: as many films have the token, drawn without regard to any finding. Nothing may be
flagged.
* ``clean``: no token. Nothing may be flagged.

The token is drawn into the JPEG files; they are then prepared and split as users do. Research use
only, not a medical device.

Run: ``python benchmarks/shortcut_check.py [--seeds 20] [--json]``. About 15 minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from hilum.arrays import BoolArray
from hilum.findings import CHEXPERT
from hilum.images.films import Films
from hilum.images.read import read_grey
from hilum.phantoms import PhantomOptions, write_phantoms
from hilum.sources import read_source
from hilum.workflows.card.shortcuts import Shortcuts, shortcut_probes
from hilum.workflows.data.subsets import Subsets
from hilum.workflows.prepare.prepare import PrepareOptions, prepare
from said import say

FINDINGS = CHEXPERT[1:]
"""Those that a token is planted for, in turn: all but No Finding."""
SHARE = 0.9
"""Of the positives that get the token."""
TOKEN, CORNER = 3 / 64, 8 / 64
"""Sides of the token and of the corner that it stands in, as shares of the film's."""
BRIGHTNESS = (200, 256)
"""Grey values of a token."""
SETS = ("planted", "decoy", "clean")


@dataclass(frozen=True)
class Verdict:
    """What was flagged in one set of one seed."""

    seed: int
    kind: str
    finding: str
    """The one that a token was planted for."""
    films: int
    tokens: int
    found: Shortcuts

    @property
    def hit(self) -> bool:
        """Whether that finding is flagged."""
        return any(flag.finding == self.finding for flag in self.found.flags)

    @property
    def others(self) -> list[str]:
        """Every other finding that is flagged."""
        return sorted({flag.finding for flag in self.found.flags} - {self.finding})

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "seed": self.seed, "set": self.kind, "finding": self.finding, "films": self.films, "tokens": self.tokens,
            "flagged": self.hit, "others": self.others,
            "auroc": {probe: areas[self.finding].value for probe, areas in self.found.auroc.items()},
        }  # fmt: skip


def judge(folder: Path, seed: int, chosen: argparse.Namespace) -> list[Verdict]:
    """Draw the films of one seed and judge all sets."""
    finding = FINDINGS[seed % len(FINDINGS)]
    phantoms = folder / "phantoms"
    write_phantoms(phantoms, PhantomOptions(chosen.films, chosen.size, seed, "even"))
    catalog = read_source("chexpert", phantoms)
    shows = catalog.labels()[:, catalog.findings.index(finding)] == 1
    rng = np.random.default_rng([seed, 1])
    verdicts = []
    for kind in SETS:
        films = folder / kind
        shutil.copytree(phantoms, films)
        marked = token_rows(kind, shows, rng)
        for path in catalog.table["path"].iloc[marked]:
            draw_token(films / path, rng)
        prepare(
            read_source("chexpert", films),
            folder / f"{kind}-store",
            PrepareOptions(chosen.size, workers=1),
        )
        stored = Films.open([folder / f"{kind}-store"])
        found = shortcut_probes(
            stored, Subsets.of(stored), min_positives=chosen.min_positives, seed=seed
        )
        verdicts.append(Verdict(seed, kind, finding, len(stored), len(marked), found))
    return verdicts


def token_rows(kind: str, shows: BoolArray, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the films that get a token in a set, of films that show the finding or not [n]."""
    wanted = round(SHARE * int(shows.sum()))
    if kind == "clean":
        return np.empty(0, np.int64)
    among = np.flatnonzero(shows) if kind == "planted" else np.arange(len(shows))
    return rng.choice(among, wanted, replace=False)


def draw_token(path: Path, rng: np.random.Generator) -> None:
    """Draw a bright square somewhere in one of the four corners of a film."""
    film = read_grey(path)
    side, corner = (max(round(share * len(film)), 1) for share in (TOKEN, CORNER))
    top, left = rng.integers(0, corner - side + 1, 2)
    down, right = rng.integers(0, 2, 2)
    top, left = (
        (len(film) - side - top if down else top),
        (len(film) - side - left if right else left),
    )
    film[top : top + side, left : left + side] = rng.integers(*BRIGHTNESS)
    cv2.imwrite(str(path), film, (cv2.IMWRITE_JPEG_QUALITY, 95))


def summary(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Return the counts by set, and whether they are as wanted: every token found, at most one false alarm in 20."""
    by_set = {kind: [verdict for verdict in verdicts if verdict.kind == kind] for kind in SETS}
    false = max(
        sum(bool(verdict.found.flags) for verdict in by_set[kind]) for kind in ("decoy", "clean")
    )
    planted = by_set["planted"]
    reached = all(verdict.hit for verdict in planted) and false <= len(planted) / 20
    return {**{kind: counted(chosen) for kind, chosen in by_set.items()}, "reached": reached}


def counted(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Return how often the finding is flagged, and how often any other, with the others' names."""
    return {
        "sets": len(verdicts),
        "flagged": sum(verdict.hit for verdict in verdicts),
        "any_other_flagged": sum(bool(verdict.others) for verdict in verdicts),
        "others": sorted({name for verdict in verdicts for name in verdict.others}),
    }


def main() -> None:
    """Judge every seed, print a line a set, then the counts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--films", type=int, default=2000)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--min-positives", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    cv2.setNumThreads(chosen.threads)
    verdicts: list[Verdict] = []
    for seed in range(chosen.first_seed, chosen.first_seed + chosen.seeds):
        with tempfile.TemporaryDirectory() as folder:
            for verdict in judge(Path(folder), seed, chosen):
                verdicts.append(verdict)
                areas = ", ".join(
                    f"{name} {area:.3f}"
                    for name, area in verdict.to_json()["auroc"].items()
                    if area
                )
                say(
                    f"seed {seed:3} {verdict.kind:<8} {verdict.finding:<27} "
                    f"{'flagged' if verdict.hit else 'not flagged':<12} {areas}; others: {verdict.others}"
                )
    found = summary(verdicts)
    if chosen.json:
        say(json.dumps({**found, "runs": [verdict.to_json() for verdict in verdicts]}))
    else:
        say(json.dumps(found))


if __name__ == "__main__":
    main()
