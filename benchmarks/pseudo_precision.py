"""Are pseudo-labels as right as asked for, and what do they gain? On phantoms, where every cell's truth is known.

Draws phantoms, lets a fifth of the patients of train.csv validate, fine-tunes on a tenth of the
other labels, and runs `hilum pseudo-label` from there: the rest of the labels is held back. Of
every round, finding and side (called present, called absent) it gives the precision that was
wanted, that of the validation films which chose the threshold, and that of the added labels by what
was drawn (truth.csv, which also knows the cells that a report leaves uncertain) and by the labels
held back. A miss is a 95 % interval over patients that lies below what was wanted, of a finding
with 50 or more validation positives. Then the mean AUROC on the patients of valid.csv, of the run
at the start, of each round and of what is kept, and the differences to the start on the same films.

Everything lies below ``--out``; finished work is left alone, unfinished work goes on where it was.
Research use only, not a medical device.

Run: ``python benchmarks/pseudo_precision.py --out pseudo [--init RUN] [--json]``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch

from hilum.arrays import FloatArray
from hilum.images.films import Films
from hilum.metrics.proportions import share_right
from hilum.phantoms import PhantomOptions, write_phantoms
from hilum.sources import read_source
from hilum.training.run_folder import PSEUDO_LABELS
from hilum.workflows.data.pseudo_label_table import read_pseudo_labels
from hilum.workflows.data.subsets import Subsets, truth_of
from hilum.workflows.evaluate.compare import compare
from hilum.workflows.evaluate.options import EvaluateOptions
from hilum.workflows.prepare.prepare import PrepareOptions, prepare
from hilum.workflows.prepare.split import SplitOptions, split
from hilum.workflows.pseudo_label.options import RoundTrainOptions
from hilum.workflows.pseudo_label.pseudo_label import PseudoLabelOptions, pseudo_label
from hilum.workflows.pseudo_label.record import FindingRound, Round, Rounds
from hilum.workflows.train.finetune import finetune
from hilum.workflows.train.options import FinetuneOptions, FinetuneTrainOptions
from said import say

ENOUGH = 50
"""Validation positives from which a finding that misses counts."""
WITHIN = 0.05
"""How far the mean over findings may lie from what was wanted."""
LAYOUT = "CheXpert-v1.0-small/"
SIDES = {"present": 1, "absent": 0}
FOLDERS = "phantoms", "store", "start", "more"
"""What lies below ``--out``."""


class Work:
    """The phantoms, their store, the run at the start and the rounds."""

    def __init__(self, chosen: argparse.Namespace) -> None:
        """Make all of it, as far as it is not made yet."""
        self.chosen, out = chosen, chosen.out
        self.phantoms, self.store, self.start, self.self_trained = (out / name for name in FOLDERS)
        how = PhantomOptions(
            chosen.films, chosen.size, seed=chosen.seed, prevalence=chosen.prevalence
        )
        write_phantoms(self.phantoms, how)
        if not (self.store / "manifest.json").is_file():
            prepare(
                read_source("chexpert", self.phantoms),
                self.store,
                PrepareOptions(chosen.size, workers=1),
            )
            split(
                self.store, SplitOptions(seed=chosen.seed, test=0.0, val=chosen.val)
            )  # valid.csv is official-test
        train = FinetuneTrainOptions(
            epochs=chosen.epochs,
            batch_size=chosen.batch,
            lr=chosen.lr,
            seed=chosen.seed,
            accelerator="cpu",
        )
        finetune(
            FinetuneOptions(
                data=(self.store,), out=self.start, init=chosen.init, fraction=chosen.fraction, patience=0, train=train,
                backbone=None if Path(chosen.init).exists() else chosen.backbone,
            )
        )  # fmt: skip
        say("the start is trained")
        self.rounds = pseudo_label(self.start, self.wanted()).rounds
        self.films = Films.open([self.store])

    def wanted(self) -> PseudoLabelOptions:
        """Return how the rounds are run."""
        chosen = self.chosen
        return PseudoLabelOptions(
            data=(self.store,), out=self.self_trained, rounds=chosen.rounds, device="cpu",
            precision=chosen.precision, absent_precision=chosen.absent_precision, level=chosen.level, cap=chosen.cap,
            train=RoundTrainOptions(epochs=chosen.round_epochs),
        )  # fmt: skip

    def validation_positives(self) -> dict[str, int]:
        """Return the validation films that have a finding, by finding."""
        truth, counts = truth_of(self.films, Subsets.of(self.films).rows("val"), "absent")
        return dict(
            zip(self.films.findings, ((truth == 1) & counts).sum(axis=0).tolist(), strict=True)
        )

    def rows(self) -> list[dict[str, Any]]:
        """Return one row a round, finding and side."""
        truth, positives = drawn(self.films, self.phantoms), self.validation_positives()
        rows = [
            {
                "round": one.number,
                "finding": name,
                "side": side,
                "validation_positives": positives[name],
                **found,
            }
            for one in self.rounds.rounds
            for name, finding, side, found in self._sides(one, truth)
        ]
        return sorted(
            rows, key=lambda row: (row["round"], self.films.findings.index(row["finding"]))
        )

    def _sides(
        self, one: Round, truth: FloatArray
    ) -> list[tuple[str, FindingRound, str, dict[str, Any]]]:
        labels = read_pseudo_labels(self.self_trained / one.run / PSEUDO_LABELS)
        called, _ = labels.on(self.films, self.films.findings)
        found = []
        for name, finding in one.findings.items():
            column = self.films.findings.index(name)
            for side, value in SIDES.items():
                rows = np.flatnonzero(called[:, column] == value)
                real = share_right(
                    truth[rows, column] == value,
                    self.films.patient_codes[rows],
                    nothing="none added",
                )
                found.append(
                    (name, finding, side, side_row(finding, side, len(rows), real.to_json()))
                )
        return found

    def gain(self) -> dict[str, Any]:
        """Return AUROC on the test patients of the start, each round and what was kept, and the paired differences."""
        chosen = self.chosen
        how = EvaluateOptions(
            data=self.store,
            split="official-test",
            resamples=chosen.resamples,
            min_positives=chosen.min_positives,
            device="cpu",
        )
        trained = [one for one in self.rounds.rounds if one.validation_auroc is not None]
        runs = {f"round {one.number}": self.self_trained / one.run for one in trained} | {
            "kept": self.self_trained
        }
        scores = {}
        for name, run in runs.items():
            found = compare(run, self.start, how)
            scores["start"] = found.second.evaluation.auroc_macro.to_json()
            scores[name] = found.first.evaluation.auroc_macro.to_json()
            scores[f"{name} minus start"] = found.difference.auroc_macro.to_json()
        return scores


def drawn(films: Films, phantoms: Path) -> FloatArray:
    """Return what was drawn on the films, [N, F]."""
    table = pd.read_csv(phantoms / "truth.csv").set_index("Path")
    truth = table.loc[LAYOUT + films.catalog["path"].astype(str), list(films.findings)]
    return np.asarray(truth.to_numpy(np.float32))


def side_row(finding: FindingRound, side: str, added: int, real: dict[str, Any]) -> dict[str, Any]:
    """Return what is told of one finding called one way."""
    held_back = getattr(finding.real_precision, side)
    wanted = getattr(finding.wanted, side)
    return {
        "wanted": wanted,
        "added": added,
        "validation": getattr(finding.validation_precision, side).value,
        "real": real["value"],
        "interval": real["interval"],
        "by_held_back_labels": None if held_back is None else held_back.to_json(),
        "missed": bool(real["interval"] and real["interval"][1] < wanted),
        "reason": None if added else finding.reason or "no film is beyond the threshold",
    }


def judged(rows: list[dict[str, Any]], rounds: Rounds) -> dict[str, Any]:
    """Return the means over findings, of each round and side and of all, and what missed."""
    added = [row for row in rows if row["added"]]
    means = {
        f"round {number} {side}": mean_row(
            [row for row in added if (row["round"], row["side"]) == (number, side)]
        )
        for number in range(1, len(rounds.rounds) + 1)
        for side in SIDES
    }
    missed = [row for row in added if row["missed"] and row["validation_positives"] >= ENOUGH]
    kept = [one.validation_auroc for one in rounds.rounds if one.kept]
    everything = mean_row(added)
    near = [
        mean["real"] is None or abs(mean["real"] - mean["wanted"]) <= WITHIN
        for mean in means.values()
    ]
    return {
        "means": means,
        "mean": everything,
        "missed": [f"round {row['round']} {row['finding']} {row['side']}" for row in missed],
        "kept_validation_auroc": [rounds.start_auroc, *kept],
        "reached": bool(added) and all(near) and not missed,
    }


def mean_row(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the means over findings of what was wanted and of what the labels are."""
    if not rows:
        return {"findings": 0, "wanted": None, "real": None}
    return {
        "findings": len(rows),
        **{key: float(np.mean([row[key] for row in rows])) for key in ("wanted", "real")},
    }


def tell(
    rows: list[dict[str, Any]], verdict: dict[str, Any], gain: dict[str, Any], rounds: Rounds
) -> None:
    """Print everything as text."""
    say(
        f"{'round':<6}{'finding':<28}{'called':<9}{'positives':>9}{'wanted':>8}{'added':>8}{'valid.':>8}  real"
    )
    for row in rows:
        begin = (
            f"{row['round']:<6}{row['finding']:<28}{row['side']:<9}{row['validation_positives']:>9}"
        )
        validation = "" if row["validation"] is None else f"{row['validation']:.3f}"
        say(f"{begin}{row['wanted']:>8.3f}{row['added']:>8,}{validation:>8}  {shown(row)}")
    for name, mean in verdict["means"].items():
        if mean["findings"]:
            say(
                f"{name}: wanted {mean['wanted']:.3f}, real {mean['real']:.3f} over {mean['findings']} findings"
            )
    for one in rounds.rounds:
        say(f"round {one.number}: validation AUROC {one.validation_auroc}, kept: {one.kept}")
    for name, found in gain.items():
        low, high = found["interval"] or (found["value"], found["value"])
        say(f"test AUROC {name}: {found['value']:+.4f} ({low:+.4f} to {high:+.4f})")
    say(f"missed: {', '.join(verdict['missed']) or 'none'}; reached: {verdict['reached']}")


def shown(row: dict[str, Any]) -> str:
    """Return a row's real precision in words."""
    if not row["added"]:
        return f"none: {row['reason']}"
    low, high = row["interval"]
    return f"{row['real']:.3f} ({low:.3f} to {high:.3f})" + (" MISSED" if row["missed"] else "")


def main() -> None:
    """Measure and print; with ``--json`` the last line is JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--films", type=int, default=24000)
    parser.add_argument(
        "--val", type=float, default=0.2, help="share of the patients of train.csv that validate"
    )
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--prevalence", default="even")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fraction", type=float, default=0.1)
    parser.add_argument("--init", default="random")
    parser.add_argument("--backbone", default="resnet10t")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--round-epochs", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--precision", type=float, default=PseudoLabelOptions.precision)
    parser.add_argument(
        "--absent-precision", type=float, default=PseudoLabelOptions.absent_precision
    )
    parser.add_argument("--level", type=float, default=PseudoLabelOptions.level)
    parser.add_argument("--cap", type=float, default=PseudoLabelOptions.cap)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--min-positives", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    cv2.setNumThreads(chosen.threads)
    work = Work(chosen)
    rows, gain = work.rows(), work.gain()
    verdict = judged(rows, work.rounds)
    tell(rows, verdict, gain, work.rounds)
    if chosen.json:
        say(
            json.dumps(
                {"rows": rows, "auroc": gain, "rounds": work.rounds.to_json(), **verdict},
                sort_keys=True,
            )
        )


if __name__ == "__main__":
    main()
