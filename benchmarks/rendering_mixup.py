"""What it costs to train on films of one rendering and to read films of the other.

Phantoms are written as DICOM in all vendors' habits and prepared twice, for display (what a viewer
shows) and as an archive makes them (stored values from the lowest to the highest). A ResNet-10t is trained from
random weights on each, with the true labels of each study, and measured on both renderings of the
test patients' frontal films. `hilum` refuses the mixing; here the scores are computed past the refusal, which is
shown too. Intervals of differences: paired over patients, as `hilum evaluate --against`; they do not
cover another training seed.

Run: ``python benchmarks/rendering_mixup.py --json [--films 1000] [--epochs 6]``. Eight minutes beside much
other work.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hilum.bundle.predictor import Predictor
from hilum.errors import DataError
from hilum.findings import CHEXPERT
from hilum.images.films import Films
from hilum.images.rendering import RENDERINGS
from hilum.images.store import Store
from hilum.metrics.comparisons import compare_models
from hilum.metrics.resampling import EvaluationLabels
from hilum.phantoms import PhantomOptions, write_phantoms
from hilum.phantoms.dicom_folder import ACCESSION, FILMS, TRUTH
from hilum.sources import read_source
from hilum.splits import Split
from hilum.training.inference import as_probabilities, over_films
from hilum.workflows.prepare.prepare import PrepareOptions, prepare
from hilum.workflows.prepare.split import SplitOptions, split
from hilum.workflows.train.finetune import finetune
from hilum.workflows.train.options import FinetuneOptions, FinetuneTrainOptions


def stores(folder: Path, chosen: argparse.Namespace) -> dict[str, Path]:
    """Draw phantoms and return their store in each rendering."""
    options = PhantomOptions(chosen.films, chosen.size, chosen.seed, "even", format="dicom")
    write_phantoms(folder / "phantoms", options, workers=chosen.workers)
    truth = pd.read_csv(folder / "phantoms" / TRUTH)
    truth = truth.drop_duplicates(ACCESSION)[[ACCESSION, *CHEXPERT[1:]]]
    truth.to_csv(folder / "truth.csv", index=False)
    made = {}
    for rendering in RENDERINGS:
        catalog = read_source(
            "dicom", folder / "phantoms" / FILMS, label_table=folder / "truth.csv"
        )
        made[rendering] = folder / rendering
        wanted = PrepareOptions(
            chosen.size, views="frontal", rendering=rendering, workers=chosen.workers
        )
        prepare(catalog, made[rendering], wanted)
        split(made[rendering], SplitOptions(seed=chosen.seed, test=0.3))
    return made


def trained(store: Path, out: Path, chosen: argparse.Namespace) -> Path:
    """Return a run on a store."""
    train = FinetuneTrainOptions(
        epochs=chosen.epochs, batch_size=32, lr=1e-3, seed=chosen.seed, accelerator="cpu"
    )
    options = FinetuneOptions(
        data=(store,), out=out, backbone="resnet10t", init="random", patience=0, train=train
    )
    return finetune(options).run


def scores(run: Path, store: Path) -> tuple[np.ndarray, EvaluationLabels]:
    """Return a model's probabilities [n, F] of a store's test films, and the truth of these."""
    predictor, films = Predictor.load(run, "cpu"), Films.open([store])
    rows = Split.load(store).rows(Store.open(store).catalog, "test")
    logits = over_films(predictor.classifier, films, rows, predictor.description.size)
    columns = [films.findings.index(name) for name in predictor.findings]
    truth = films.labels[rows][:, columns]
    patients = films.catalog["patient"].iloc[rows]
    return as_probabilities(logits), EvaluationLabels.of(truth, ~np.isnan(truth), patients)


def refusal(run: Path, store: Path) -> str:
    """Return the line with which a store of another rendering is refused."""
    try:
        Predictor.load(run, "cpu").refuse_other_preparation(Films.open([store]))
    except DataError as error:
        return str(error)
    raise SystemExit("a store of another rendering was not refused")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--films", type=int, default=1000)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="end with one JSON line")
    chosen = parser.parse_args()
    result: dict[str, Any] = {
        name: getattr(chosen, name) for name in ("films", "size", "epochs", "seed")
    }
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        made = stores(folder, chosen)
        for own, store in made.items():
            (other,) = set(made) - {own}
            run = trained(store, folder / f"run-{own}", chosen)
            on_own, labels = scores(run, store)
            on_other, same = scores(run, made[other])
            if not np.array_equal(labels.truth, same.truth, equal_nan=True):
                raise SystemExit("the two stores differ in more than their rendering")
            names = list(Predictor.load(run, "cpu").findings)
            compared = compare_models(labels, on_other, on_own, names)
            cost = compared.auroc_macro
            result[f"trained_on_{own}"] = {
                "test_films": len(on_own),
                "test_patients": labels.patient_count,
                "findings": len(compared.findings_scored),
                f"auroc_on_{own}": macro(labels, on_own, compared.findings_scored, names),
                f"auroc_on_{other}": macro(labels, on_other, compared.findings_scored, names),
                "cost": cost.to_json(),
                "refusal": refusal(run, made[other]).replace(str(folder), "…"),
            }
            print(
                own, json.dumps(result[f"trained_on_{own}"], indent=1), file=sys.stderr, flush=True
            )
    print(json.dumps(result) if chosen.json else "done: see above")


def macro(
    labels: EvaluationLabels, probabilities: np.ndarray, scored: tuple[str, ...], names: list[str]
) -> float:
    """Return the mean AUROC over findings, by scikit-learn."""
    from sklearn.metrics import roc_auc_score

    columns = [names.index(name) for name in scored]
    areas = [roc_auc_score(labels.truth[:, at], probabilities[:, at]) for at in columns]
    return round(float(np.mean(areas)), 4)


if __name__ == "__main__":
    main()
