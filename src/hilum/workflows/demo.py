"""The demo: the whole story on drawn films, from phantoms to measured and explained classifiers, in one process."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any

import numpy as np

from hilum import __version__
from hilum.errors import OptionError, RunError
from hilum.files import write_json
from hilum.images.store import Store
from hilum.labels import LabelOptions
from hilum.listener import SILENT, Listener
from hilum.methods import load_method
from hilum.phantoms import PhantomOptions, write_phantoms
from hilum.sources import read_source
from hilum.splits import Split
from hilum.training.options import TrainOptions
from hilum.training.run_folder import CHECKPOINTS
from hilum.workflows.compare import compare, comparison_json
from hilum.workflows.demo_options import DemoOptions, DemoPlan
from hilum.workflows.evaluate import evaluate
from hilum.workflows.explain import explain
from hilum.workflows.finetune import finetune
from hilum.workflows.options import (
    EvaluateOptions,
    ExplainOptions,
    FinetuneOptions,
    FinetuneTrainOptions,
    PretrainOptions,
    ProbeOptions,
    plain,
)
from hilum.workflows.prepare import PrepareOptions, prepare
from hilum.workflows.pretrain import pretrain
from hilum.workflows.probe import probe

__all__ = ["RECORD", "DemoOptions", "DemoPlan", "DemoResult", "demo"]

RECORD = "demo.json"
"""The file by which a folder is a demo: its options, its parts, and what no part says for itself."""
PHANTOMS, STORE, PRETRAINED, EXPLAINED = "phantoms", "store", "runs/moco", "explained"
STARTS = {"MoCo": PRETRAINED, "from scratch": None}
"""The models compared, by name: the run each starts from, None for random weights."""
PACKAGES = ("torch", "timm", "numpy", "lightning-fabric")


@dataclass(frozen=True)
class FinetunedModel:
    """One fine-tuned run of the demo and what it reached on the test films."""

    name: str
    fraction: float
    run: Path
    auroc_macro: float | None
    auroc_macro_interval: tuple[float, float] | None


@dataclass(frozen=True)
class DemoResult:
    """A finished demo: its folder, its fine-tuned models, and whether there was nothing left to do."""

    out: Path
    models: tuple[FinetunedModel, ...]
    already_done: bool

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain values."""
        models = [{**asdict(model), "run": str(model.run)} for model in self.models]
        return {"demo": str(self.out), "models": models, "already_done": self.already_done}


def demo(options: DemoOptions, listener: Listener = SILENT, plan: DemoPlan | None = None) -> DemoResult:
    """Draw phantoms, prepare, pretrain MoCo, fine-tune on shares of the labels, evaluate, probe and explain.

    Every stage continues or leaves alone what an earlier call with the same options made.

    Args:
        options: Where to, and the seed.
        listener: Hears notes and progress.
        plan: How large; the usual demo unless given.

    Raises:
        RunError: The folder holds something else, or a demo with other options.
        Interrupted: SIGINT or SIGTERM came during training; all is saved.
    """
    plan = plan or DemoPlan()
    stages = Stages(options.out, options.seed, plan, listener)
    record = _claim(options, plan)
    stages.draw()
    stages.prepare()
    stages.pretrain()
    models = tuple(stages.finetune(name, fraction) for fraction, _ in plan.epochs for name in STARTS)
    if not record["finished"]:
        films = stages.explain()
        record |= {"explained": films, "probes": stages.probes(), "comparisons": stages.comparisons()}
        write_json(options.out / RECORD, {**record, "finished": True})
        return DemoResult(options.out, models, already_done=False)
    listener.note(f"{options.out} is already done")
    return DemoResult(options.out, models, already_done=True)


@dataclass(frozen=True)
class Stages:
    """The demo's stages, each a call of the workflow that does it for users."""

    out: Path
    seed: int
    plan: DemoPlan
    listener: Listener

    @property
    def store(self) -> Path:
        """Where the prepared films lie."""
        return self.out / STORE

    def draw(self) -> None:
        """Draw the phantoms, in this process."""
        plan = self.plan
        wanted = PhantomOptions(count=plan.films, size=plan.drawn_size, seed=self.seed, prevalence="even")
        write_phantoms(self.out / PHANTOMS, wanted, partial(self.listener.progress, "draw"))

    def prepare(self) -> None:
        """Pack them into a store with its split."""
        catalog = read_source("chexpert", self.out / PHANTOMS)
        prepare(catalog, self.store, PrepareOptions(size=self.plan.size), self.listener)

    def pretrain(self) -> None:
        """Pretrain MoCo on the training films without their labels."""
        plan = self.plan
        train = TrainOptions(
            epochs=plan.pretrain_epochs, batch_size=plan.pretrain_batch_size, lr=plan.lr, seed=self.seed
        )
        options = PretrainOptions(data=(self.store,), out=self.out / PRETRAINED, backbone=plan.backbone, train=train)
        pretrain("moco", load_method("moco").Options(), options, self.listener)
        drop_checkpoints(options.out)

    def finetune(self, name: str, fraction: float) -> FinetunedModel:
        """Fine-tune one model on a share of the labels and measure it on the test films."""
        run, start = self.out / run_of(name, fraction), STARTS[name]
        plan = self.plan
        train = FinetuneTrainOptions(
            epochs=dict(plan.epochs)[fraction], batch_size=plan.batch_size, lr=plan.lr, seed=self.seed
        )
        options = FinetuneOptions(
            data=(self.store,),
            out=run,
            init=str((self.out / start).resolve()) if start else "random",
            backbone=plan.backbone,
            fraction=fraction,
            patience=0,
            train=train,
        )
        self.listener.note(f"{name}, {fraction:.0%} of the labels")
        finetune(options, self.listener)
        drop_checkpoints(run)
        evaluation = evaluate(run, self.measuring(), self.listener).evaluation
        macro = evaluation.auroc_macro
        return FinetunedModel(name, fraction, run, macro.value, macro.interval)

    def measuring(self) -> EvaluateOptions:
        """Return how the demo measures: one way for all of its models."""
        plan = self.plan
        return EvaluateOptions(
            data=self.store, min_positives=plan.min_positives, resamples=plan.resamples, seed=self.seed
        )

    def comparisons(self) -> list[dict[str, Any]]:
        """Compare MoCo with the model from scratch at each share of the labels."""
        found = []
        for fraction, _ in self.plan.epochs:
            first, second = (self.out / run_of(name, fraction) for name in STARTS)
            compared = compare(first, second, self.measuring())
            found.append({"fraction": fraction, "first": "MoCo", "second": "from scratch", **comparison_json(compared)})
        return found

    def probes(self) -> list[dict[str, Any]]:
        """Probe the frozen features of MoCo and of random weights on the test films."""
        options = ProbeOptions(
            data=(self.store,),
            backbone=self.plan.backbone,
            split="test",
            labels=LabelOptions(),
            min_positives=self.plan.min_positives,
            resamples=self.plan.resamples,
            seed=self.seed,
        )
        subjects = {"MoCo": str(self.out / PRETRAINED), "random weights": "random"}
        return [
            {"name": name, **probe(subject, options, self.listener).to_json()} for name, subject in subjects.items()
        ]

    def explain(self) -> list[str]:
        """Draw heatmaps of a few test films by MoCo's model with the most labels; return the films' paths."""
        chosen = films_to_explain(self.store, self.plan.explained, self.seed)
        most = max(fraction for fraction, _ in self.plan.epochs)
        films = [self.out / PHANTOMS / path for path in chosen]
        explain(self.out / run_of("MoCo", most), films, ExplainOptions(out=self.out / EXPLAINED), self.listener)
        return chosen


def run_of(name: str, fraction: float) -> str:
    """Return the folder of a fine-tuned run below the demo's.

    >>> run_of("from scratch", 0.1)
    'runs/from-scratch-10'
    """
    return f"runs/{name.casefold().replace(' ', '-')}-{100 * fraction:g}"


def drop_checkpoints(run: Path) -> None:
    """Remove a finished run's checkpoints, ten times the size of its model: there is nothing left to continue."""
    shutil.rmtree(run / CHECKPOINTS, ignore_errors=True)


def films_to_explain(store: Path, count: int, seed: int) -> list[str]:
    """Return paths of frontal test films with at least two findings, drawn by the seed and by nothing a model says."""
    opened = Store.open(store)
    rows = Split.load(store).rows(opened.catalog, "test")
    table = opened.catalog.iloc[rows]
    frontal = (table["view_position"] != "LATERAL").to_numpy(bool, na_value=True)
    several = (opened.labels[rows] == 1).sum(axis=1) >= 2
    paths = table["path"].to_numpy()[frontal & several]
    chosen = np.random.default_rng(seed).permutation(len(paths))[:count]
    return [str(paths[place]) for place in sorted(chosen)]


def _claim(options: DemoOptions, plan: DemoPlan) -> dict[str, Any]:
    """Make the folder this demo's, or see that it is; return what is recorded.

    Raises:
        RunError: It holds something else, or a demo with other options.
    """
    if options.seed < 0:
        raise OptionError(f"--seed is {options.seed}: allowed is 0 or more.")
    wanted = {"seed": options.seed, "plan": plain(asdict(plan))}
    path = options.out / RECORD
    if path.is_file():
        record = _read(path)
        if {key: record.get(key) for key in wanted} != wanted:
            raise RunError(f"{options.out} holds a demo with other options: give the same --seed, or another --out.")
        return record
    if options.out.exists() and (not options.out.is_dir() or any(options.out.iterdir())):
        raise RunError(f"{options.out} holds something else than a demo: give --out a new folder.")
    options.out.mkdir(parents=True, exist_ok=True)
    record = {**wanted, **_parts(plan), "finished": False}
    write_json(path, record)
    return record


def _parts(plan: DemoPlan) -> dict[str, Any]:
    """Return where the demo's parts lie below its folder, and what they are made with."""
    models = [
        {"name": name, "fraction": fraction, "run": run_of(name, fraction)}
        for fraction, _ in plan.epochs
        for name in STARTS
    ]
    versions = {"hilum": __version__, "python": python_version(), **{name: version(name) for name in PACKAGES}}
    return {
        "phantoms": PHANTOMS,
        "store": STORE,
        "pretrained": PRETRAINED,
        "models": models,
        "explanations": EXPLAINED,
        "versions": versions,
    }


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except ValueError:
        content = None
    if not isinstance(content, dict) or "finished" not in content:
        raise RunError(f"{path} cannot be read: delete {path.parent} and run the demo again.")
    return content
