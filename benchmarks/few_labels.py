"""What each lever of the few-label recipe gives, by cross-validation over training patients, and the final comparison.

Levers: for each draw of 10 % of the training patients a network is fine-tuned on these, and scored
on films of other training patients, whose labels it never sees. Nothing is chosen in such a run:
the number of epochs is fixed, and the probe, the tuned network, its average and the mean of probe
and average are rows of their own. A row's difference to the first row is of the same draws and films;
its interval resamples draws and patients together. No validation or test film is read.

``--final`` reads the test films, once for each share of the labels: the recipe (``--config few-labels``,
epoch and candidate by ``--validation within``, the rate among ``--rates`` by the same) against the
better of ResNet-10t and ResNet-18 from scratch with the same recipe, budget and rates: five draws at
10 %, two at 1 % and at 100 %. Its table is printed as it is. A joined ``--init`` (``hilum join``) is
frozen: its probe is the model.

Run: ``python benchmarks/few_labels.py --store STORE --init RUN --out DIR [--levers NAME ...] [--draws 5]``.
Every run's scores are kept in DIR; the same command continues. A run takes 2 to 5 minutes of one core.
Research use only, not a medical device.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hilum.bundle.initialization import initial_weights
from hilum.bundle.model_folder import described, is_model, load_model
from hilum.classifier.network import Classifier
from hilum.cli.configs import read_config
from hilum.images.films import Films
from hilum.metrics.ranking import measures, rank
from hilum.nn.joined import is_joined
from hilum.options import merged, read_options
from hilum.training.distributed import ALONE
from hilum.training.inference import over_films
from hilum.training.run_folder import RunFolder
from hilum.workflows.data.subsets import Subsets, truth_of
from hilum.workflows.train.finetune import finetune
from hilum.workflows.train.fitting import new_fitting
from hilum.workflows.train.options import FinetuneOptions
from hilum.workflows.train.run import TrainingResult
from hilum.workflows.train.training_set import TrainingSet

USUAL = {"train": {"epochs": 8, "batch_size": 32, "lr": 1e-3, "accelerator": "cpu"}}
"""What every lever has, unless it says otherwise."""
FEW: dict[str, Any] = {
    "probe_first": True,
    "train": {"backbone_rate": 0.05, "keep_norm": True, "average": 0.98},
}
LEVERS: dict[str, dict[str, Any]] = {
    "one rate": {"train": {"average": 0.98}},
    "few labels": FEW,
    "scratch": {"init": "random", "train": {"average": 0.98}},
    "norms not kept": merged(FEW, {"train": {"keep_norm": False}}),
    "no probe first": merged(FEW, {"probe_first": False}),
    "rate 1/5": merged(FEW, {"train": {"backbone_rate": 0.2}}),
    "layer decay 0.5": merged(FEW, {"train": {"layer_decay": 0.5}}),
    "unlabelled": merged(FEW, {"unlabelled": True}),
}
"""Name -> options of the fine-tuning that differ from ``USUAL``."""
BASELINES = ("resnet10t", "resnet18")
"""Networks that the final comparison trains from scratch."""
SCORED = 2000
"""Films of other training patients that a run is scored on, about."""
LEAST = 20
"""Positive patients of a finding that enters the mean, as in ``hilum evaluate``."""
RESAMPLES = 1000


def scored_rows(subsets: Subsets, draw: int, fraction: float) -> np.ndarray:
    """Return films of training patients outside the draw, the same patients for every lever."""
    films = subsets.films
    rest = np.setdiff1d(subsets.rows("train"), subsets.rows("train", fraction, draw))
    codes = films.patient_codes[rest]
    patients = np.random.default_rng(draw).permutation(np.unique(codes))
    films_of = np.bincount(codes)[patients].cumsum()
    return rest[np.isin(codes, patients[: int((films_of <= SCORED).sum())])]


def run_lever(chosen: argparse.Namespace, name: str, draw: int) -> None:
    """Fine-tune once and keep the logits of the scored films by candidate."""
    kept = chosen.out / f"{name.replace(' ', '-').replace('/', '-of-')}-{draw}.npz"
    if kept.is_file():
        return
    block = merged({"init": str(chosen.init), **USUAL}, LEVERS[name])
    if block.get("unlabelled"):
        block["unlabelled"] = [str(chosen.store)]
    block["train"] |= {"seed": draw, "epochs": chosen.epochs, "precision": chosen.precision}
    folder = chosen.out / f".{kept.stem}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    began = time.perf_counter()
    block |= {"data": [str(chosen.store)], "out": str(folder), "patience": 0}
    if block["init"] == "random":
        block["backbone"] = chosen.backbone
    options = read_options(
        FinetuneOptions, {**block, "fraction": chosen.fraction, "subset_seed": draw}, name
    )
    films = Films.open(options.data)
    subsets = Subsets.of(films)
    size = films.preparation.size
    training_set = TrainingSet.of(films, subsets, options)
    backbone = block.get("backbone") or chosen.backbone
    start = initial_weights(options.init, backbone, size, draw)
    fitting = new_fitting(
        start.backbone, films, training_set, options, size, RunFolder(folder), ALONE
    )
    fitting.trainer().train()
    seconds = time.perf_counter() - began
    learner = fitting.learner
    networks = learner.candidates() | {"weights": Classifier(learner.backbone, learner.head)}
    rows = scored_rows(subsets, draw, chosen.fraction)
    truth, counts = truth_of(films, rows, options.labels.unstated)
    logits = {name: over_films(network, films, rows, size) for name, network in networks.items()}
    np.savez(
        kept, truth=truth[:, training_set.columns], counts=counts[:, training_set.columns],
        columns=training_set.columns, patients=films.patient_codes[rows], seconds=seconds,
        **{f"logits-{key}": value for key, value in logits.items()},
    )  # fmt: skip
    shutil.rmtree(folder)
    print(f"{name}, draw {draw}: {seconds:.0f} s", flush=True)


def weightings(patients: int) -> np.ndarray:
    """Return patient weights [1 + RESAMPLES, patients]: first each once, then the resamples."""
    rng = np.random.default_rng(0)
    drawn = [
        np.bincount(rng.integers(patients, size=patients), minlength=patients)
        for _ in range(RESAMPLES)
    ]
    return np.stack([np.ones(patients, np.int64), *drawn])


def mean_aurocs(
    truth: np.ndarray,
    counts: np.ndarray,
    patients: np.ndarray,
    logits: np.ndarray,
    weights: np.ndarray,
) -> np.ndarray:
    """Return the mean AUROC over findings that LEAST patients have, under each weighting of the patients, [R]."""
    areas = []
    for column, cells in enumerate(counts.T):
        positive = np.unique(patients[cells & (truth[:, column] == 1)])
        if len(positive) >= LEAST and (truth[cells, column] == 0).any():
            ranking = rank(truth[cells, column], logits[cells, column], patients[cells])
            areas.append(measures(ranking, weights)[0])
    return np.asarray(np.nanmean(areas, axis=0))


def difference(
    ours: Mapping[int, np.ndarray], others: Mapping[int, np.ndarray]
) -> list[float] | None:
    """Return the mean difference over the draws that both have, and its interval: draws and patients resampled.

    Args:
        ours: Draw -> mean AUROC under each weighting, [1 + RESAMPLES].
        others: The same of the network to compare with.
    """
    both = sorted(set(ours) & set(others))
    if not both:
        return None
    gaps = np.stack([ours[draw] - others[draw] for draw in both])  # [D, 1 + R]
    drawn = np.random.default_rng(1).integers(len(both), size=(RESAMPLES, len(both)))
    spread = gaps[drawn, np.arange(1, RESAMPLES + 1)[:, None]].mean(axis=1)
    low, high = np.nanpercentile(spread, [2.5, 97.5])
    return [float(gaps[:, 0].mean()), float(low), float(high)]


def table(folder: Path, first: str) -> str:
    """Return the rows of all kept runs in Markdown, each with its difference to the first."""
    kept: dict[str, dict[int, Mapping[str, np.ndarray]]] = {}
    for file in sorted(folder.glob("*.npz")):
        name, draw = file.stem.rsplit("-", 1)
        kept.setdefault(name, {})[int(draw)] = dict(np.load(file))
    runs = [run for by_draw in kept.values() for run in by_draw.values()]
    weights = weightings(max(int(run["patients"].max()) for run in runs) + 1)
    areas: dict[str, dict[int, np.ndarray]] = {}
    seconds: dict[str, list[float]] = {}
    for name, by_draw in kept.items():
        for draw, run in by_draw.items():
            for entry in (key for key in run if key.startswith("logits-")):
                row = f"{name}: {entry.removeprefix('logits-')}"
                given = run["truth"], run["counts"], run["patients"], run[entry]
                areas.setdefault(row, {})[draw] = mean_aurocs(*given, weights)
                seconds.setdefault(row, []).append(float(run["seconds"]))
    lines = [f"| network | mean AUROC | minus {first} | draws | seconds |", "|---|---|---|---|---|"]
    for row in sorted(areas, key=lambda row: -np.mean([area[0] for area in areas[row].values()])):
        gap = None if row == first else difference(areas[row], areas.get(first, {}))
        mean, draws = np.mean([area[0] for area in areas[row].values()]), len(areas[row])
        lines.append(
            f"| {row} | {mean:.3f} | {shown(gap)} | {draws} | {np.mean(seconds[row]):.0f} |"
        )
    return "\n".join(lines)


def shown(gap: list[float] | None) -> str:
    """Return a difference as text."""
    return "" if gap is None else f"{gap[0]:+.3f} ({gap[1]:+.3f} to {gap[2]:+.3f})"


FINAL_DRAWS = {0.1: 5, 0.01: 2, 1.0: 2}
"""Fraction of the labels -> draws of the final comparison."""


FROZEN: dict[str, Any] = {"freeze": True, "train": {"epochs": 1}}
"""Options of a recipe that begins at a joined start."""


def final_run(
    chosen: argparse.Namespace, model: str, fraction: float, draw: int, rate: float
) -> TrainingResult:
    """Fine-tune one network of the final comparison, or return the run that is there."""
    config = read_config("few-labels")
    init = str(chosen.init) if model == "recipe" else "random"
    epochs = config["study"]["epochs"][str(fraction)]
    block = merged(
        config["finetune"],
        {"train": {"lr": rate, "seed": draw, "epochs": epochs, "precision": chosen.precision}},
    )
    if model == "recipe" and is_model(chosen.init) and is_joined(described(chosen.init).backbone):
        block = merged(block, FROZEN)
    block |= {
        "data": [str(chosen.store)],
        "out": str(chosen.out / f"{model}-{fraction:g}-{draw}-lr-{rate:g}"),
    }
    block |= {"init": init, "fraction": fraction, "subset_seed": draw}
    if model != "recipe" or not is_model(chosen.init):
        block["backbone"] = chosen.backbone if model == "recipe" else model
    return finetune(read_options(FinetuneOptions, block, "few-labels"))


def final(chosen: argparse.Namespace) -> str:
    """Train every network of the final comparison, read the test films once, and return the table.

    The first draw tries every rate, and its cross-validation chooses one for all draws. With
    ``--trained`` nothing is read yet.
    """
    lines = ["| labels | network | mean AUROC by draw | recipe minus it |", "|---|---|---|---|"]
    for fraction in chosen.fractions:
        kept = chosen.out / f"final-{fraction:g}.json"
        if not kept.is_file():
            runs = {model: trained(chosen, model, fraction) for model in ("recipe", *BASELINES)}
            if chosen.trained:
                continue
            rows = "\n".join(test_rows(chosen, fraction, runs))
            kept.write_text(json.dumps({"rows": rows}))  # the test films are read once
        lines.append(json.loads(kept.read_text())["rows"])
    return "all networks are trained; no test film is read" if chosen.trained else "\n".join(lines)


def trained(chosen: argparse.Namespace, model: str, fraction: float) -> list[TrainingResult]:
    """Return the runs of one network, one for each draw; trains those that are not there."""
    tried = {rate: final_run(chosen, model, fraction, 0, rate) for rate in chosen.rates}
    best = max(tried, key=lambda rate: tried[rate].best or 0.0)
    draws = range(1, FINAL_DRAWS[fraction])
    return [tried[best], *(final_run(chosen, model, fraction, draw, best) for draw in draws)]


def test_rows(
    chosen: argparse.Namespace, fraction: float, runs: Mapping[str, Sequence[TrainingResult]]
) -> list[str]:
    """Return the rows of the table for one share of the labels, from the test films."""
    films = Films.open([chosen.store])
    rows = Subsets.of(films).rows("test")
    truth, counts = truth_of(films, rows, "absent")
    weights = weightings(int(films.patient_codes.max()) + 1)
    areas: dict[str, dict[int, np.ndarray]] = {}
    for model, results in runs.items():
        for draw, result in enumerate(results):
            network = load_model(result.run)
            columns = [films.findings.index(name) for name in network.description.findings]
            logits = over_films(network.classifier, films, rows, films.preparation.size)
            given = truth[:, columns], counts[:, columns], films.patient_codes[rows], logits
            areas.setdefault(model, {})[draw] = mean_aurocs(*given, weights)
    lines = []
    for model, by_draw in areas.items():
        gap = None if model == "recipe" else difference(areas["recipe"], by_draw)
        values = ", ".join(f"{area[0]:.3f}" for area in by_draw.values())
        lines.append(f"| {fraction:.0%} | {model} | {values} | {shown(gap)} |")
    return lines


def main(words: Sequence[str] | None = None) -> None:
    """Run what is not kept yet and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--init", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--backbone", default="resnet10t", help="of --init, where that is a file")
    parser.add_argument("--levers", nargs="+", choices=LEVERS, default=list(LEVERS))
    parser.add_argument("--draws", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--fraction", type=float, default=0.1)
    parser.add_argument("--epochs", type=int, default=USUAL["train"]["epochs"])
    parser.add_argument(
        "--first", default="one-rate: weights", help="row that the others are compared with"
    )
    parser.add_argument("--final", action="store_true", help="read the test films, once")
    parser.add_argument(
        "--fractions", type=float, nargs="+", choices=FINAL_DRAWS, default=list(FINAL_DRAWS),
        help="of --final",
    )  # fmt: skip
    parser.add_argument(
        "--trained", action="store_true", help="with --final: train, and read no test film yet"
    )
    parser.add_argument("--precision", default="32", help="bf16-mixed where the processor has it")
    parser.add_argument("--rates", type=float, nargs="+", default=[5e-4, 2e-3], help="of --final")
    chosen = parser.parse_args(words)
    chosen.out.mkdir(parents=True, exist_ok=True)
    if chosen.final:
        print(final(chosen))
        return
    for draw in chosen.draws:
        for name in chosen.levers:
            run_lever(chosen, name, draw)
    print(table(chosen.out, chosen.first))


if __name__ == "__main__":
    main()
