"""Whether probabilities come true: the calibration error on phantoms before and after a temperature and a shift.

Draws phantoms at even prevalence, prepares and splits them by patient (about 3,300 films to train,
700 to validate, 4,000 to test), fine-tunes a ResNet-10t from random weights at 64 px as users do,
and measures it on test films. What is reported is the mean over findings of the expected
calibration error over 15 bins of equal mass (target: below 0.03 on 2,000 films or more), as the
network gave its probabilities and as the finished model gives them; beside them what perfect
probabilities would show on as many films, which is far from 0.

Run: ``python benchmarks/calibration_check.py --json``, with ``--data STORE`` on a store with a
split of your own, with ``--sampler weighted`` or ``--positive-weight balanced`` to train on other
prevalences than there are, which is what the shift is for. About ten minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import torch

from hilum.classifier.options import LossOptions
from hilum.phantoms import PhantomOptions, write_phantoms
from hilum.sources import read_source
from hilum.workflows.evaluate.evaluate import evaluate
from hilum.workflows.evaluate.options import EvaluateOptions
from hilum.workflows.prepare.prepare import PrepareOptions, prepare
from hilum.workflows.prepare.split import SplitOptions, split
from hilum.workflows.train.finetune import finetune
from hilum.workflows.train.options import FinetuneOptions, FinetuneTrainOptions

LIMIT, FILMS = 0.03, 2000


def draw_store(folder: Path, count: int, size: int, seed: int) -> Path:
    """Draw phantoms and prepare them: half of those to train on are kept to test."""
    write_phantoms(folder / "phantoms", PhantomOptions(count, max(size, 64), seed, "even"))
    store = folder / "store"
    prepare(
        read_source("chexpert", folder / "phantoms"), store, PrepareOptions(size=size, workers=1)
    )
    split(store, SplitOptions(seed=seed, test=0.5, val=0.18))
    return store


def measure(store: Path, run: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    """Fine-tune, and return the calibration on test films."""
    train = FinetuneTrainOptions(
        epochs=chosen.epochs,
        lr=chosen.lr,
        size=chosen.size,
        seed=chosen.seed,
        accelerator=chosen.accelerator,
    )
    loss = LossOptions(positive_weight=chosen.positive_weight)
    options = FinetuneOptions(
        data=(store,),
        out=run,
        backbone=chosen.backbone,
        sampler=chosen.sampler,
        loss=loss,
        train=train,
    )
    finetune(options)
    found = evaluate(
        run, EvaluateOptions(data=store, split=chosen.split, resamples=0, device="auto")
    ).to_json()
    if not found["findings_scored"]:
        raise SystemExit(f"{found['films']} films are too few: {found['auroc_macro_reason']}")
    return {
        "store": "phantoms" if chosen.data is None else str(chosen.data),
        "backbone": chosen.backbone,
        "size": chosen.size,
        "sampler": chosen.sampler,
        "positive_weight": str(chosen.positive_weight),
        **{name: found[name] for name in ("films", "patients", "auroc_macro")},
        **{name: value for name, value in found["calibration"].items() if name.endswith("_mean")},
        "findings_scored": len(found["findings_scored"]),
        "findings": {name: _told(one) for name, one in found["calibration"]["findings"].items()},
        "reached": found["films"] >= FILMS and found["calibration"]["ece_mean"] < LIMIT,
    }


def text(found: Mapping[str, Any]) -> str:
    """Return the figures for people."""
    lines = [
        f"{name:28s} {one['ece_raw']:.3f} -> {one['ece']:.3f} (chance {one['ece_by_chance']:.3f})  "
        f"temperature {_number(one['temperature'])}, shift {_number(one['shift'])}"
        for name, one in found["findings"].items()
    ]
    lines += [
        f"mean {found['ece_raw_mean']:.4f} -> {found['ece_mean']:.4f} (chance {found['ece_by_chance_mean']:.4f})",
        f"Brier {found['brier_raw_mean']:.4f} -> {found['brier_mean']:.4f}",
        f"{found['films']:,} films, mean AUROC {found['auroc_macro']:.3f}",
    ]
    return "\n".join(lines)


def _told(one: Mapping[str, Any]) -> dict[str, Any]:
    return {name: one[name] for name in ("ece", "ece_by_chance", "ece_raw", "temperature", "shift")}


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def options() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, help="a prepared store with a split, instead of new phantoms"
    )
    parser.add_argument("--split", default="test", help="part of it to measure on")
    parser.add_argument("--count", type=int, default=10_000, help="phantoms to draw")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--backbone", default="resnet10t")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--sampler", choices=("uniform", "weighted"), default="uniform")
    parser.add_argument("--positive-weight", default="none", help="none, balanced, or a number")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--accelerator", default="cpu")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    chosen = options()
    torch.set_num_threads(chosen.threads)
    cv2.setNumThreads(chosen.threads)
    if chosen.positive_weight not in ("none", "balanced"):
        chosen.positive_weight = float(chosen.positive_weight)
    with tempfile.TemporaryDirectory() as folder:
        store = chosen.data or draw_store(Path(folder), chosen.count, chosen.size, chosen.seed)
        found = measure(store, Path(folder) / "run", chosen)
    sys.stdout.write((json.dumps(found) if chosen.json else text(found)) + "\n")


if __name__ == "__main__":
    main()
