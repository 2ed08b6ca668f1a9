"""What long pretraining gives at 10 % of the labels: run by gpu_quality.sh, within a few minutes of one GPU.

A trial of two epochs measures the pace; the pretraining then has ``--pretrain-epochs``, or as many as fit
into ``--seconds``. Fine-tuning from it and from random weights uses the same draws of the labelled
patients. The last line is JSON. Research use only, not a medical device.
"""

from __future__ import annotations

import argparse
import json
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hilum.images.films import Films
from hilum.methods import load_method
from hilum.metrics.estimates import macro_patients, macro_samples, scored_columns
from hilum.metrics.learning_curve import LearningCurve
from hilum.metrics.resampling import EvaluationLabels, rank_findings, weightings
from hilum.phantoms import PhantomOptions, write_phantoms
from hilum.sources import read_source
from hilum.training.monitor_options import MonitorOptions
from hilum.training.options import TrainOptions
from hilum.workflows.data.subsets import Subsets, truth_of
from hilum.workflows.evaluate.evaluate import evaluate, saved_scores
from hilum.workflows.evaluate.options import EvaluateOptions
from hilum.workflows.prepare.prepare import PrepareOptions, prepare
from hilum.workflows.train.finetune import finetune
from hilum.workflows.train.options import FinetuneOptions, FinetuneTrainOptions, PretrainOptions
from hilum.workflows.train.pretrain import pretrain

TINY = {
    "pretrain_epochs": 2,
    "draws": 2,
    "epochs": 1,
    "batch": 8,
    "backbone": "test_resnet",
    "least": 1,
    "fraction": 0.5,
}


def main() -> None:
    """Pretrain, fine-tune, measure and print."""
    chosen = parse()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        store = store_of(chosen, scratch)
        say(began, f"{len(Films.open([store]))} films of {chosen.data or 'phantoms'}")
        trial = pretrained(chosen, store, scratch / "trial", 2)
        pace, films = trial["images_per_second"], trial["films"]
        pretrain_epochs = max(1, min(chosen.pretrain_epochs, int(chosen.seconds * pace / films)))
        say(
            began,
            f"trial: {pace:,.0f} films/s; {pretrain_epochs} of {chosen.pretrain_epochs} epochs fit",
        )
        training = pretrained(chosen, store, scratch / "moco", pretrain_epochs)
        say(began, f"pretrained: {pretrain_epochs} epochs over {films} films")
        result = row(chosen, store, {"MoCo": str(scratch / "moco"), "from scratch": "random"})
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    result |= {
        "fraction": chosen.fraction,
        "pretrain_epochs": pretrain_epochs,
        "films": films,
        "films_per_second": training["images_per_second"],
    }
    result |= {"device": device, "seconds": round(time.perf_counter() - began, 1)}
    print(json.dumps(result))


def parse() -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", type=Path, help="file of gpu_data.py")
    source.add_argument("--phantoms", type=int, help="so many drawn films instead")
    parser.add_argument("--pretrain-epochs", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=200.0, help="for pretraining, at most")
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=30, help="of fine-tuning")
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--least", type=int, default=20, help="positive patients of a finding")
    parser.add_argument("--fraction", type=float, default=0.1, help="of the labels")
    parser.add_argument("--tiny", action="store_true", help=f"small numbers: {TINY}")
    chosen = parser.parse_args()
    if chosen.tiny:
        vars(chosen).update(TINY)
    return chosen


def say(began: float, words: str) -> None:
    """Print how things stand."""
    print(f"[{time.perf_counter() - began:5.0f} s] {words}")


def store_of(chosen: argparse.Namespace, scratch: Path) -> Path:
    """Return the store that the file holds, or one of drawn films."""
    if chosen.data is not None:
        with tarfile.open(chosen.data) as archive:
            archive.extractall(scratch, filter="data")
        return scratch / "store"
    write_phantoms(scratch / "phantoms", PhantomOptions(chosen.phantoms, 64, prevalence="even"))
    source = read_source("chexpert", scratch / "phantoms")
    prepare(source, scratch / "store", PrepareOptions(64, workers=1))
    return scratch / "store"


def pretrained(
    chosen: argparse.Namespace, store: Path, out: Path, pretrain_epochs: int
) -> dict[str, Any]:
    """Pretrain by MoCo and return what its run records of the training."""
    cuda = torch.cuda.is_available()
    train = TrainOptions(
        epochs=pretrain_epochs,
        batch_size=chosen.batch,
        lr=1e-3,
        precision="bf16-mixed" if cuda else "32",
    )
    options = PretrainOptions(
        data=(store,),
        out=out,
        backbone=chosen.backbone,
        train=train,
        monitor=MonitorOptions(every=0),
    )
    pretrain("moco", load_method("moco").Options(), options)
    training: dict[str, Any] = json.loads((out / "metrics.json").read_text())["training"]
    return training


def row(chosen: argparse.Namespace, store: Path, starts: dict[str, str]) -> dict[str, Any]:
    """Fine-tune on a fraction of the labels from each start, and return the means and their difference."""
    films = Films.open([store])
    rows = Subsets.of(films).needed("test")
    truth, counts = truth_of(films, rows, "absent")
    labels = EvaluationLabels.of(truth, counts, films.patient_codes[rows])
    weights = weightings(labels, 2000, 0)
    curves, result = [], dict[str, Any]()
    scores = {}
    for name, init in starts.items():
        runs = [finetuned(chosen, store, init, seed) for seed in range(chosen.draws)]
        tables = [saved_scores(run, films, rows, "test") for run in runs]
        # A finding that a run does not call, as its labels lacked it, is nan and leaves the mean.
        scores[name] = np.stack([table.reindex(columns=films.findings) for table in tables])
    areas = {name: rank_findings(labels, each, weights)["auroc"] for name, each in scores.items()}
    least = np.min([each[0] for each in areas.values()], axis=0)
    columns = scored_columns(labels, least, chosen.least)
    for name, samples in areas.items():
        alone = [
            float(rank_findings(labels, each[None], weights[:1])["auroc"][0, columns].mean())
            for each in scores[name]
        ]
        tested = macro_patients(labels, samples, columns)
        resampled = macro_samples(samples, columns)[None, 1:]
        curves.append(LearningCurve([1.0], [alone], resampled, tested))
        result[name] = {**curves[-1].at(0).to_json(), "draws": alone}
        print(
            f"{name:12} {100 * chosen.fraction:g} % of the labels: {result[name]['value']:.3f}, draws {alone}"
        )
    gap = curves[0].minus(curves[1]).gap(0)
    print(f"difference {gap.value:+.4f}, interval over patients and draws {gap.interval}")
    return {**result, "difference": gap.to_json(), "test_films": len(rows)}


def finetuned(chosen: argparse.Namespace, store: Path, init: str, seed: int) -> Path:
    """Fine-tune one draw, measure it on the test films, and return its run."""
    out = store.parent / f"{Path(init).name}-{seed}"
    train = FinetuneTrainOptions(epochs=chosen.epochs, batch_size=min(chosen.batch, 32), seed=seed)
    backbone = chosen.backbone if init == "random" else None
    options = FinetuneOptions(
        data=(store,),
        out=out,
        init=init,
        backbone=backbone,
        fraction=chosen.fraction,
        subset_seed=seed,
        train=train,
    )
    finetune(options)
    evaluate(out, EvaluateOptions(data=store, split="test"))
    return out


if __name__ == "__main__":
    main()
