"""Does the policy win that fits what uncertain labels really are? On phantoms, where that is planted.

Draws two sets of phantoms (``--prevalence doubtful``: a finding is stated present on a tenth of the
films and uncertain on four tenths), alike but for the share of uncertain cells that are truly
present: 0.2 in one, 0.8 in the other. A ResNet-10t learns from scratch on each, under each policy
and with each training seed, which also draws another half of the patients. It is measured on the
patients of valid.csv, whose every cell is the truth: mean AUROC over the 13 findings that have
uncertain cells, and the difference of two policies on the same films with 95 % intervals over
patients.

AUROC does not see that all probabilities are too high or too low; a wrong policy costs it only as
false labels do, by blurring what is learnt. Hence the many uncertain cells: at CheXpert's own
rates, or with many more films, less is lost.

Everything lies below ``--out``: phantoms, stores, a run folder and scores a row. Finished rows are
skipped, an unfinished one goes on where it was. Research use only, not a medical device.

Run: ``python benchmarks/uncertain_policies.py --out policies [--seeds 3] [--json]``.
"""

from __future__ import annotations

import argparse
import json
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from hilum.arrays import FloatArray
from hilum.bundle.model_folder import load_model
from hilum.findings import CHEXPERT
from hilum.images.films import Films
from hilum.labels import POLICIES, LabelOptions
from hilum.metrics.comparisons import compare_models
from hilum.metrics.interval_options import IntervalOptions
from hilum.metrics.resampling import EvaluationLabels
from hilum.metrics.results import Estimate
from hilum.metrics.summary import evaluate_findings
from hilum.phantoms import PhantomOptions, write_phantoms
from hilum.sources import read_source
from hilum.training.inference import over_films
from hilum.workflows.data.subsets import Subsets, truth_of
from hilum.workflows.prepare.prepare import PrepareOptions, prepare
from hilum.workflows.train.finetune import finetune
from hilum.workflows.train.options import FinetuneOptions, FinetuneTrainOptions
from said import say

FINDINGS = CHEXPERT[1:]
"""Those with uncertain cells: all but No Finding."""
SCORES = "scores.npy"
RESAMPLES = 1000


class Cohort:
    """One set of phantoms, prepared, and the films that are measured on."""

    def __init__(self, out: Path, share: float, films: int, size: int, min_positives: int) -> None:
        """Draw and prepare it, unless that was done before."""
        self.share, self.folder, self.min_positives = share, out / f"truth-{share:g}", min_positives
        phantoms, self.store = self.folder / "phantoms", self.folder / "store"
        planted = dict.fromkeys(FINDINGS, share)
        write_phantoms(
            phantoms, PhantomOptions(films, size, prevalence="doubtful", uncertain_truth=planted)
        )
        if not (self.store / "manifest.json").is_file():
            prepare(read_source("chexpert", phantoms), self.store, PrepareOptions(size, workers=1))
        self.films = Films.open([self.store])
        self.rows = Subsets.of(self.films).rows("test")
        self.columns = [self.films.findings.index(name) for name in FINDINGS]
        truth, counts = truth_of(self.films, self.rows, "absent")
        self.truth, self.counts = truth[:, self.columns], counts[:, self.columns]
        self.patients = self.films.patient_codes[self.rows]

    def scores(self, policy: str, seed: int, chosen: argparse.Namespace) -> FloatArray:
        """Return the scores [n, 13] of one row: train it first, unless that was done before."""
        run = self.folder / f"{policy}-{seed}"
        if not (run / SCORES).is_file():
            finetune(self.plan(run, policy, seed, chosen))
            model = load_model(run)
            logits = over_films(model.classifier, self.films, self.rows, model.description.size)
            places = [model.description.findings.index(name) for name in FINDINGS]
            np.save(run / SCORES, logits[:, places])
        return np.asarray(np.load(run / SCORES), np.float32)

    def plan(
        self, run: Path, policy: str, seed: int, chosen: argparse.Namespace
    ) -> FinetuneOptions:
        """Return how one row is trained."""
        train = FinetuneTrainOptions(
            epochs=chosen.epochs,
            batch_size=32,
            lr=chosen.lr,
            seed=seed,
            accelerator="cpu",
            schedule="onecycle",
        )
        return FinetuneOptions(
            data=(self.store,), out=run, backbone=chosen.backbone, fraction=chosen.fraction,
            subset_seed=seed, patience=0,
            labels=LabelOptions(uncertain=policy), train=train,
        )  # fmt: skip

    def mean_auroc(self, scores: FloatArray, seed: int) -> Estimate:
        """Return the mean AUROC with its interval."""
        return evaluate_findings(
            EvaluationLabels.of(self.truth, self.counts, self.patients),
            scores,
            FINDINGS,
            options=IntervalOptions(
                resamples=RESAMPLES, seed=seed, min_positives=self.min_positives
            ),
        ).auroc_macro

    def difference(self, first: FloatArray, second: FloatArray, seed: int) -> Estimate:
        """Return the mean AUROC of the first less that of the second, paired."""
        return compare_models(
            EvaluationLabels.of(self.truth, self.counts, self.patients),
            first,
            second,
            FINDINGS,
            IntervalOptions(resamples=RESAMPLES, seed=seed, min_positives=self.min_positives),
        ).auroc_macro


def measure(chosen: argparse.Namespace) -> list[dict[str, Any]]:
    """Train and measure every row; print each as it comes."""
    rows = []
    cohorts = [
        Cohort(chosen.out, share, chosen.films, chosen.size, chosen.min_positives)
        for share in chosen.truth
    ]
    for seed, policy, cohort in product(range(chosen.seeds), chosen.policies, cohorts):
        found = cohort.mean_auroc(cohort.scores(policy, seed, chosen), seed).to_json()
        rows.append({"truth": cohort.share, "policy": policy, "seed": seed, "auroc": found})
        say(f"truth {cohort.share:g}  {policy:<10} seed {seed}  {shown(found)}")
    for cohort, (first, second), seed in product(
        cohorts, pairs(chosen.policies), range(chosen.seeds)
    ):
        both = [cohort.scores(policy, seed, chosen) for policy in (first, second)]
        found = cohort.difference(both[0], both[1], seed).to_json()
        rows.append(
            {"truth": cohort.share, "policy": first, "minus": second, "seed": seed, "auroc": found}
        )
        say(f"truth {cohort.share:g}  {first} minus {second}  seed {seed}  {shown(found)}")
    return rows


def pairs(policies: list[str]) -> list[tuple[str, str]]:
    """Return which policies are compared: each with ones."""
    return [(policy, "ones") for policy in policies if policy != "ones" and "ones" in policies]


def shown(found: dict[str, Any]) -> str:
    """Return an estimate in words."""
    if found["value"] is None:
        return f"not available: {found['reason']}"
    low, high = found["interval"] or (float("nan"), float("nan"))
    return f"{found['value']:+.4f} ({low:+.4f} to {high:+.4f})"


def as_planted(rows: list[dict[str, Any]]) -> dict[str, bool]:
    """Return by planted share whether the fitting one of zeros and ones wins, for every seed with its interval."""
    verdicts = {}
    for share in sorted({row["truth"] for row in rows}):
        sign = 1 if share < 0.5 else -1
        ends = [
            [sign * end for end in row["auroc"]["interval"] or (0, 0)]
            for row in rows
            if row["truth"] == share and (row["policy"], row.get("minus")) == ("zeros", "ones")
        ]
        verdicts[f"{share:g}"] = bool(ends) and all(min(pair) > 0 for pair in ends)
    return verdicts


def main() -> None:
    """Measure and print; with ``--json`` the last line is JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--policies", nargs="+", choices=list(POLICIES), default=list(POLICIES))
    parser.add_argument("--truth", nargs="+", type=float, default=[0.2, 0.8])
    parser.add_argument("--films", type=int, default=4000)
    parser.add_argument("--fraction", type=float, default=0.5)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--min-positives", type=int, default=20)
    parser.add_argument("--backbone", default="resnet10t")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    cv2.setNumThreads(chosen.threads)
    rows = measure(chosen)
    verdicts = as_planted(rows)
    for share, won in verdicts.items():
        say(
            f"truth {share}: the fitting one of zeros and ones wins for every seed, with its interval: {won}"
        )
    if chosen.json:
        say(json.dumps({"rows": rows, "as_planted": verdicts}))


if __name__ == "__main__":
    main()
