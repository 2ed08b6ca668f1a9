"""A study's files written by hand, with numbers from a seed: what a page is built from, in a second."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from hilum.catalog import Catalog, film_table
from hilum.images.enhance import Preparation
from hilum.images.store import Store
from hilum.images.store_writing import write_store
from hilum.metrics.learning_curve import LearningCurve
from hilum.splits import Split, patient_split
from hilum.workflows.study.record import StudyCell, StudyRecord, StudyStore, write_study

FIVE = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")
FINDINGS = (
    "No Finding",
    "Cardiomegaly",
    "Edema",
    "Consolidation",
    "Atelectasis",
    "Pleural Effusion",
    "Fracture",
)
LEVELS = {0.1: 0.66, 0.5: 0.74, 1.0: 0.79}


@dataclass(frozen=True)
class Shape:
    """What the study has."""

    models: tuple[str, ...] = ("MoCo", "from scratch")
    fractions: tuple[float, ...] = (0.1, 1.0)
    seeds: int = 2
    policies: tuple[str, ...] = ("ignore", "zeros", "ones")
    failed: str | None = "The loss became NaN at step 40: lower --train.lr."
    finished: bool = True
    sampler: bool = True


def write_study_files(folder: Path, store: Path, shape: Shape, seed: int = 0) -> Path:
    """Write study.json, study.yaml, the runs and analysis.json for a store."""
    folder.mkdir(parents=True, exist_ok=True)
    opened = Store.open(store)
    maker = Maker(folder, opened, shape, np.random.default_rng(seed))
    cells = [*maker.pretrainings(), *maker.finetunings()]
    for cell in cells:
        if cell.state == "done":
            maker.run(cell)
    record = StudyRecord(
        folder=folder,
        hilum="0.1.0",
        versions={"hilum": "0.1.0", "python": "3.11.2", "torch": "2.5.1"},
        machine={"processors": 4, "accelerator": None},
        stores=(StudyStore(store, opened.source, opened.fingerprint),),
        plan={
            "seeds": shape.seeds,
            "fractions": list(shape.fractions),
            "models": list(shape.models),
            "rates": [0.001, 0.0003],
            "prevalence": {},
        },
        reference=shape.models[-1],
        finished=shape.finished,
        cells=tuple(cells),
    )
    write_study(record)
    (folder / "study.yaml").write_text(yaml.safe_dump({"study": record.plan}))
    (folder / "analysis.json").write_text(json.dumps(maker.analysis(record)))
    return folder


class Maker:
    """Numbers and files of one study."""

    def __init__(self, folder: Path, store: Store, shape: Shape, rng: np.random.Generator) -> None:
        self.folder, self.store, self.shape, self.rng = folder, store, shape, rng
        self.findings = store.findings
        self.split = Split.load(store.folder)
        self.test = self.split.rows(store.catalog, "test")

    def pretrainings(self) -> list[StudyCell]:
        return [
            StudyCell(
                id=f"pretrain-{place}",
                kind="pretrain",
                model=name,
                method=name.casefold(),
                backbone="resnet10t",
                seed=0,
                run=f"runs/pretrain-{place}",
                state="done",
                seconds=61.0,
            )
            for place, name in enumerate(self.shape.models[:-1])
            if name in ("MoCo", "SimCLR", "BYOL", "SwAV")
        ]

    def finetunings(self) -> list[StudyCell]:
        cells = []
        for m, model in enumerate(self.shape.models):
            for fraction in self.shape.fractions:
                for seed in range(self.shape.seeds):
                    for lr in (0.001, 0.0003) if seed == 0 else (0.001,):
                        cells.append(
                            self.cell(m, model, fraction, seed, lr, self.shape.policies[0], "main")
                        )
        for policy in self.shape.policies:
            for seed in range(self.shape.seeds):
                cells.append(
                    self.cell(0, self.shape.models[0], 1.0, seed, 0.001, policy, "policies")
                )
        if self.shape.failed:
            cells.append(
                StudyCell(
                    id="f-bad",
                    kind="finetune",
                    model=self.shape.models[0],
                    backbone="resnet10t",
                    fraction=1.0,
                    policy="ignore",
                    seed=9,
                    lr=0.001,
                    run="runs/f-bad",
                    state="failed",
                    error=self.shape.failed,
                )
            )
        return cells

    def cell(
        self, m: int, model: str, fraction: float, seed: int, lr: float, policy: str, group: Any
    ) -> StudyCell:
        name = f"{group}-{m}-{fraction:g}-{policy}-{seed}-{lr:g}"
        return StudyCell(
            id=name,
            kind="finetune",
            model=model,
            backbone="resnet10t",
            fraction=fraction,
            policy=policy,
            seed=seed,
            lr=lr,
            chosen=lr == 0.001,
            group=group,
            run=f"runs/{name}",
            state="done",
            seconds=33.0,
            validation_auroc=self.level(model, fraction) + self.rng.normal(0, 0.01),
        )

    def level(self, model: str, fraction: float) -> float:
        return LEVELS.get(fraction, 0.7) + 0.02 * (
            len(self.shape.models) - self.shape.models.index(model)
        )

    def estimate(self, value: float, width: float = 0.03, **more: Any) -> dict[str, Any]:
        ends = [
            value - width * self.rng.uniform(0.7, 1.2),
            value + width * self.rng.uniform(0.7, 1.2),
        ]
        return {"value": value, "interval": ends, "left_out": 0, "reason": None, **more}

    def missing(self) -> dict[str, Any]:
        return {"value": None, "interval": None, "left_out": 40, "reason": "no positive film"}

    def each(self, level: float, width: float = 0.07) -> dict[str, Any]:
        found = {
            name: self.estimate(float(np.clip(level + self.rng.normal(0, 0.06), 0.4, 0.97)), width)
            for name in self.findings
        }
        found[self.findings[-1]] = self.missing()
        return found

    def run(self, cell: StudyCell) -> None:
        path = self.folder / cell.run
        (path / "model").mkdir(parents=True)
        block: dict[str, Any] = {
            "data": [str(self.store.folder)],
            "backbone": "resnet10t",
            "train": {"epochs": 4, "batch_size": 32, "lr": cell.lr, "seed": cell.seed},
        }
        options = (
            {"pretrain": {cell.method: block}}
            if cell.kind == "pretrain"
            else {
                "finetune": {
                    **block,
                    "fraction": cell.fraction,
                    "sampler": "weighted" if self.shape.sampler else "uniform",
                }
            }
        )
        record = {
            "hilum": "0.1.0",
            "data": [
                {
                    "source": self.store.source,
                    "films": len(self.store),
                    "fingerprint": self.store.fingerprint,
                    "split": self.split.hash,
                }
            ],
        }
        (path / "options.yaml").write_text(yaml.safe_dump({**options, "record": record}))
        (path / "log.jsonl").write_text(
            "".join(json.dumps(event) + "\n" for event in self.events(cell))
        )
        rows = self.split.rows(self.store.catalog, "train", cell.fraction or 1.0, cell.seed)
        training = {
            "films": len(rows),
            "patients": int(self.store.catalog["patient"].iloc[rows].nunique()),
            "steps": 200,
            "best": cell.validation_auroc,
            "best_step": 120,
            "images_per_second": 80.0,
        }
        evaluations = (
            {part: self.evaluation(cell) for part in ("test", "val")} if cell.chosen else {}
        )
        (path / "metrics.json").write_text(
            json.dumps({"training": training, "evaluations": evaluations})
        )
        model = {
            "findings": list(self.findings) if cell.kind == "finetune" else [],
            "backbone": "resnet10t",
            "size": 64,
            "thresholds": dict.fromkeys(self.findings, 0.2),
            "unstated": "absent",
            "preparation": self.store.preparation.to_json(),
            "weights_sha256": cell.id.encode().hex()[-64:].rjust(64, "0"),
        }
        (path / "model/model.json").write_text(json.dumps(model))

    def events(self, cell: StudyCell) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = [{"event": "begun", "step": 0, "total": 200}]
        if cell.kind == "pretrain":
            events.append({"event": "chance", "step": 0, "value": 5.5})
        else:
            share = self.rng.uniform(0.03, 0.5, len(self.findings))
            if self.shape.sampler:
                events.append(
                    {
                        "event": "sampler",
                        "step": 0,
                        "findings": list(self.findings),
                        "before": share.tolist(),
                        "after": (share**0.6).tolist(),
                    }
                )
            events += [
                {
                    "event": "validation",
                    "step": step,
                    "score": 0.8 - 0.3 / (1 + step / 50) + self.rng.normal(0, 0.01),
                }
                for step in range(40, 201, 40)
            ]
        top = 5.5 if cell.kind == "pretrain" else 0.6
        events += [
            {"step": step, "loss": top * (0.5 + 0.5 / (1 + step / 60)) + self.rng.normal(0, 0.02)}
            for step in range(10, 201, 10)
        ]
        return events

    def evaluation(self, cell: StudyCell) -> dict[str, Any]:
        level = self.level(cell.model, cell.fraction or 1.0)
        each = self.each(level)
        macro, films = self.estimate(level), len(self.test)
        named = {
            name: {
                "films": films,
                "positives": 60,
                "positive_patients": 30,
                "threshold": 0.2,
                "auroc": told,
                "average_precision": self.estimate(0.4),
            }
            for name, told in each.items()
        }
        five = [name for name in FIVE if name in self.findings]
        return {
            "films": films,
            "patients": int(self.store.catalog["patient"].iloc[self.test].nunique()),
            "findings_scored": list(self.findings[:-1]),
            "auroc_macro": level,
            "auroc_macro_interval": macro["interval"],
            "auroc_macro_reason": None,
            "average_precision_macro": 0.4,
            "average_precision_macro_interval": [0.37, 0.44],
            "average_precision_macro_reason": None,
            "findings": named,
            "min_positives": 10,
            "resamples": 500,
            "level": 0.95,
            "calibration": {
                "bins": 15,
                "ece_mean": 0.021,
                "ece_raw_mean": 0.06,
                "ece_by_chance_mean": 0.015,
                "brier_raw_mean": 0.14,
                "brier_mean": 0.13,
                "findings": {name: self.calibration() for name in self.findings},
            },
            "operating_points": {
                name: [
                    self.point(rule) for rule in ("youden", "sensitivity 0.9", "specificity 0.9")
                ]
                for name in self.findings[:-1]
            },
            "subgroups": [
                {
                    "group": group,
                    "value": value,
                    "films": 100,
                    "patients": 60,
                    "auroc_macro": self.missing()
                    if value == "80 or more"
                    else self.estimate(level + self.rng.normal(0, 0.03), 0.06),
                    "findings_scored": list(self.findings[:9]),
                    "reason": "fewer than 50 patients" if value == "80 or more" else None,
                }
                for group, values in GROUPS.items()
                for value in values
            ],
            "per_study": {
                "studies": 210,
                "aggregation": "maximum over a study's films",
                "auroc_macro": self.estimate(level + 0.01),
            },
            "competition": {"findings": five, "auroc_macro": self.estimate(level + 0.03)}
            if five
            else None,
        }

    def calibration(self) -> dict[str, Any]:
        places = np.sort(self.rng.beta(1.2, 4, 15))
        seen = np.clip(places + self.rng.normal(0, 0.04, 15), 0, 1)
        curve = [
            {"predicted": float(a), "observed": float(b), "films": 22}
            for a, b in zip(places, seen, strict=True)
        ]
        return {
            "ece": 0.02,
            "brier": 0.13,
            "ece_raw": 0.06,
            "ece_by_chance": 0.01,
            "brier_raw": 0.14,
            "temperature": 1.3,
            "shift": -0.1,
            "reliability": curve,
            "reason": None,
        }

    def point(self, rule: str) -> dict[str, Any]:
        return {
            "rule": rule,
            "threshold": 0.23,
            "true_positives": 40,
            "false_positives": 51,
            "false_negatives": 20,
            "true_negatives": 216,
            "sensitivity": self.estimate(0.67, 0.1),
            "specificity": self.estimate(0.81, 0.05),
            "precision": self.estimate(0.44, 0.1),
            "prevalence": 0.05,
            "ppv_at_prevalence": self.estimate(0.157, 0.05),
            "npv_at_prevalence": self.estimate(0.979, 0.01),
        }

    def analysis(self, record: StudyRecord) -> dict[str, Any]:
        groups: dict[tuple[Any, ...], list[StudyCell]] = {}
        for cell in record.chosen():
            groups.setdefault((cell.model, cell.fraction, cell.policy, cell.group), []).append(cell)
        models = [self.model(key, cells) for key, cells in groups.items()]
        return {
            "format": 1,
            "test": {
                "films": len(self.test),
                "patients": 88,
                "findings_scored": list(self.findings[:-1]),
                "min_positives": 10,
                "resamples": 500,
                "level": 0.95,
            },
            "models": models,
            "comparisons": self.comparisons(record),
            "label_curves": [self.curve(name) for name in self.shape.models],
        }

    def curve(self, model: str) -> dict[str, Any]:
        """Return a model's learning curve, computed as a study's analysis does from draws and resamples."""
        rng = np.random.default_rng(len(model))
        fractions = list(self.shape.fractions)
        patients = [round(400 * fraction) for fraction in fractions]
        level = np.array([self.level(model, fraction) for fraction in fractions])
        values = level[:, None] + 0.01 * rng.normal(size=(len(level), self.shape.seeds))
        resampled = level[:, None] + 0.01 * rng.normal(size=(len(level), 100))
        curve = LearningCurve(patients, values.tolist(), resampled, 60)
        gaps = [] if model == self.shape.models[-1] else [self.estimate(0.02) for _ in fractions]
        numbers = {
            "at": [curve.at(size).to_json() for size in range(len(fractions))],
            "steps": [curve.step(size).to_json() for size in range(1, len(fractions))],
            "gaps": gaps,
            "doubling": curve.doubling().to_json(),
        }
        return {
            "model": model,
            "policy": self.shape.policies[0],
            "chosen": model == self.shape.models[0],
            "fractions": fractions,
            "patients": patients,
            "draws": [self.shape.seeds] * len(fractions),
            "findings_scored": list(self.findings[:-1]),
            **numbers,
            "findings": dict.fromkeys(self.findings[:-1], numbers),
        }

    def model(self, key: Sequence[Any], cells: list[StudyCell]) -> dict[str, Any]:
        model, fraction, policy, group = key
        level = self.level(model, fraction) - 0.01 * self.shape.policies.index(policy)
        five = [name for name in FIVE if name in self.findings]
        return {
            "model": model,
            "fraction": fraction,
            "policy": policy,
            "group": group,
            "lr": 0.001,
            "cells": [cell.id for cell in cells],
            "seeds": [
                {"seed": cell.seed, "auroc_macro": level + self.rng.normal(0, 0.01)}
                for cell in cells
            ],
            "auroc_macro": self.estimate(level),
            "average_precision_macro": self.estimate(0.45),
            "auroc": self.each(level),
            "average_precision": self.each(0.45),
            "competition": {"auroc_macro": self.estimate(level + 0.03), "findings": five}
            if five
            else None,
            "per_study": {"auroc_macro": self.estimate(level + 0.01), "studies": 210},
        }

    def comparisons(self, record: StudyRecord) -> list[dict[str, Any]]:
        rows = [
            (fraction, self.shape.policies[0], "main", model, record.reference)
            for fraction in self.shape.fractions
            for model in record.models
            if model != record.reference
        ]
        rows += [
            (1.0, policy, "policies", policy, self.shape.policies[0])
            for policy in self.shape.policies[1:]
        ]
        return [self.comparison(*row) for row in rows]

    def comparison(
        self, fraction: float, policy: str, group: str, first: str, second: str
    ) -> dict[str, Any]:
        value = self.rng.normal(0.02, 0.02)
        told = self.estimate(value, 0.022)
        shown = not told["interval"][0] <= 0 <= told["interval"][1]
        told |= {"p": 0.01 if shown else 0.3, "p_holm": 0.02 if shown else 0.6, "shown": shown}
        each = {
            name: {
                "value": value,
                "interval": [value - 0.05, value + 0.05],
                "p": 0.3,
                "p_holm": 1.0,
                "shown": False,
            }
            for name in self.findings[:-1]
        }
        return {
            "fraction": fraction,
            "policy": policy,
            "group": group,
            "first": first,
            "second": second,
            "auroc_macro": told,
            "family": f"the models at {fraction:.0%} of the labels",
            "auroc": each,
        }


GROUPS = {
    "sex": ("F", "M"),
    "age": ("below 40", "40 to 59", "60 to 79", "80 or more"),
    "view_position": ("AP", "PA", "LATERAL"),
}


@pytest.fixture(scope="session")
def write_films(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write a store of noise whose labels are present, uncertain, absent and not stated, with a split."""

    def write(
        source: str = "chexpert", findings: Sequence[str] = FINDINGS, films: int = 120
    ) -> Path:
        rng, folder = np.random.default_rng(4), tmp_path_factory.mktemp("store")
        labels = rng.choice(
            [1.0, -1.0, 0.0, np.nan], (films, len(findings)), p=[0.4, 0.1, 0.3, 0.2]
        )
        rows = {
            "path": [f"train/patient{number // 2:05d}/view{number}.png" for number in range(films)],
            "patient": [f"patient{number // 2:05d}" for number in range(films)],
            "study": [f"patient{number // 2:05d}/study1" for number in range(films)],
            "view_position": rng.choice(["PA", "AP", "LATERAL"], films),
        }
        table = pd.DataFrame({**rows, **dict(zip(findings, labels.T, strict=True))})
        catalog = Catalog(
            source,
            Path("/nowhere"),
            tuple(findings),
            film_table(table, tuple(findings)),
            films + 3,
            {"no view": 3},
        )
        store = write_store(
            folder,
            catalog,
            rng.integers(0, 255, (films, 32, 32)).astype(np.uint8),
            Preparation(32, "paper"),
        )
        patient_split(store.catalog, store.findings, 0, test=0.3, val=0.2).save(folder)
        return folder

    return write


@pytest.fixture(scope="session")
def films(write_films: Callable[..., Path]) -> Path:
    """A store that the tests share."""
    return write_films()


@pytest.fixture(scope="session")
def shape() -> type[Shape]:
    """What a study has; its fields have defaults."""
    return Shape


@pytest.fixture
def write_study_of(tmp_path: Path, films: Path) -> Callable[..., Path]:
    """Write a study of the shared films, or of others."""

    def write(store: Path | None = None, **options: Any) -> Path:
        return write_study_files(tmp_path / "study", store or films, Shape(**options))

    return write


@pytest.fixture(scope="session")
def study_folder(tmp_path_factory: pytest.TempPathFactory, films: Path) -> Path:
    """A finished study with one run that failed; not to be changed."""
    return write_study_files(tmp_path_factory.mktemp("studies") / "study", films, Shape())
