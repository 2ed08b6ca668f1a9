"""Have I enough labels? Each model's AUROC against labelled patients, and what twice as many would add.

Computed from the predictions of the study's own runs on the test films; nothing is trained for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hilum.arrays import DoubleArray
from hilum.errors import RunError
from hilum.metrics.estimates import macro_patients, macro_samples, patients_by_class
from hilum.metrics.learning_curve import LearningCurve
from hilum.metrics.resampling import rank_findings
from hilum.metrics.results import Estimate
from hilum.training.options_file import read_options_file
from hilum.training.run_folder import read_metrics
from hilum.workflows.study.measured_models import MeasuredModel, TestSet
from hilum.workflows.study.record import StudyRecord

OTHER_DRAWS = "trained on other choices of the labelled patients"


@dataclass(frozen=True)
class Pretraining:
    """What a model's weights were pretrained by: the method, its films, and how many films it saw in all epochs."""

    method: str
    backbone: str
    films: int
    seen: int


@dataclass(frozen=True)
class _Start:
    """A model at its fractions of the labels, from few to many."""

    models: tuple[MeasuredModel, ...]
    patients: tuple[float, ...]
    """Labelled patients, the mean over the draws."""
    areas: tuple[DoubleArray, ...]
    """By share [S, F]: each draw's AUROC on the test films."""

    @property
    def name(self) -> str:
        return self.models[0].cell.model

    @property
    def fractions(self) -> list[float]:
        return [float(model.cell.fraction or 0.0) for model in self.models]

    def columns(self, test: TestSet) -> list[int]:
        """Findings that are scored at every share."""
        return [
            column
            for column in test.scored
            if not any(np.isnan(areas[:, column]).any() for areas in self.areas)
        ]

    def curve(self, test: TestSet, columns: Sequence[int]) -> LearningCurve:
        """Return the learning curve of the mean over some findings."""
        samples = [model.measured.samples["auroc"] for model in self.models]
        resampled = np.stack([macro_samples(each, columns)[1:] for each in samples])
        tested = min(macro_patients(test.labels, each, columns) for each in samples)
        values = [areas[:, list(columns)].mean(axis=1).tolist() for areas in self.areas]
        return LearningCurve(self.patients, values, resampled, tested)

    def at(self, fractions: Sequence[float]) -> _Start:
        """Return the model at some of its shares alone."""
        places = [self.fractions.index(fraction) for fraction in fractions]
        return _Start(
            tuple(self.models[place] for place in places),
            tuple(self.patients[place] for place in places),
            tuple(self.areas[place] for place in places),
        )


def label_curves(
    test: TestSet, models: Sequence[MeasuredModel], record: StudyRecord
) -> list[dict[str, Any]]:
    """Return every fine-tuned model's curve: measured values, steps, gaps to the reference and the forecast.

    Intervals cover test patients and choices of the labelled patients together. Models whose runs do
    not record how many patients they were trained on are left out, as are those that
    pseudo-labels add patients to.
    """
    starts = _starts(test, models, record)
    reference = next((start for start in starts if start.name == record.reference), None)
    chosen = _chosen(starts, record)
    rows = []
    for start in starts:
        columns = start.columns(test)
        if not columns:
            continue
        against = None if start is reference else reference
        scored = {test.findings[column] for column in columns}
        rows.append(
            {
                "model": start.name,
                "policy": start.models[0].cell.policy,
                "chosen": start is chosen,
                "fractions": start.fractions,
                "patients": list(start.patients),
                "draws": [len(areas) for areas in start.areas],
                "findings_scored": [name for name in test.findings if name in scored],
                **_numbers(test, start, against, columns),
                "findings": {
                    test.findings[column]: _numbers(test, start, against, [column])
                    for column in columns
                    if min(patients_by_class(test.labels, column)) > 1
                },
            }
        )
    return rows


def length_comparisons(
    test: TestSet, models: Sequence[MeasuredModel], record: StudyRecord
) -> list[dict[str, Any]]:
    """Compare, of the same method and network, the pretraining on most films or for longest with the shortest."""
    groups: dict[tuple[object, ...], list[tuple[Pretraining, _Start]]] = {}
    for start in _starts(test, models, record):
        pretraining = _pretraining(record, start.name)
        if pretraining is not None:
            frozen = bool(_planned(record, start.name).get("freeze"))
            alike = pretraining.method, pretraining.backbone, frozen
            groups.setdefault(alike, []).append((pretraining, start))
    rows = []
    for group in groups.values():
        group.sort(key=lambda each: (each[0].films, each[0].seen))
        (before, least), (after, most) = group[0], group[-1]
        columns = [column for column in most.columns(test) if column in least.columns(test)]
        if (before.films, before.seen) == (after.films, after.seen) or not columns:
            continue
        gaps = _gaps(test, most, least, columns)
        rows.append(
            {
                "first": most.name,
                "second": least.name,
                "before": asdict(before),
                "after": asdict(after),
                "fractions": most.fractions,
                "gaps": [gap.to_json() for gap in gaps],
            }
        )
    return rows


def _starts(test: TestSet, models: Sequence[MeasuredModel], record: StudyRecord) -> list[_Start]:
    by_name: dict[str, list[tuple[float, MeasuredModel, DoubleArray]]] = {}
    for model in models:
        if model.cell.group != "main" or model.cell.kind != "finetune":
            continue
        trainings = [read_metrics(record.path(cell)).get("training") or {} for cell in model.cells]
        counts = [training["patients"] for training in trainings if "patients" in training]
        if len(counts) < len(trainings):
            continue
        areas = [
            rank_findings(test.labels, scores[None], test.weights[:1])["auroc"][0]
            for scores in model.measured.scores
        ]
        rows = by_name.setdefault(model.cell.model, [])
        rows.append((float(np.mean(counts)), model, np.stack(areas)))
    starts = []
    for rows in by_name.values():
        patients, measured, areas_of = zip(*sorted(rows, key=lambda row: row[0]), strict=True)
        starts.append(_Start(measured, patients, areas_of))
    return starts


def _chosen(starts: Sequence[_Start], record: StudyRecord) -> _Start | None:
    """Return the start beside the reference with the best validation AUROC, of those with most shares."""
    others = [start for start in starts if start.name != record.reference]
    most = max((len(start.models) for start in others), default=0)

    def validation(start: _Start) -> float:
        cells = [cell for model in start.models for cell in model.cells]
        known = [cell.validation_auroc for cell in cells if cell.validation_auroc is not None]
        return float(np.mean(known)) if known else 0.0

    return max(
        (start for start in others if len(start.models) == most), key=validation, default=None
    )


def _numbers(
    test: TestSet, start: _Start, reference: _Start | None, columns: Sequence[int]
) -> dict[str, Any]:
    curve, level = start.curve(test, columns), test.options.level
    sizes = range(len(start.models))
    gaps = [] if reference is None else _gaps(test, start, reference, columns)
    return {
        "at": [curve.at(size, level).to_json() for size in sizes],
        "steps": [curve.step(size, level).to_json() for size in sizes[1:]],
        "gaps": [gap.to_json() for gap in gaps],
        "doubling": curve.doubling(level).to_json(),
    }


def _gaps(test: TestSet, first: _Start, second: _Start, columns: Sequence[int]) -> list[Estimate]:
    """Return first minus second at each share of the first, draw by draw."""
    seeds = [
        {
            float(model.cell.fraction or 0.0): [cell.seed for cell in model.cells]
            for model in start.models
        }
        for start in (first, second)
    ]
    common = [fraction for fraction in seeds[0] if seeds[0][fraction] == seeds[1].get(fraction)]
    called = set(columns) <= set(second.columns(test))
    if not common or not called:
        return [Estimate(None, reason=OTHER_DRAWS) for _ in first.models]
    apart = first.at(common).curve(test, columns).minus(second.at(common).curve(test, columns))
    known = {fraction: apart.gap(size, test.options.level) for size, fraction in enumerate(common)}
    return [known.get(fraction, Estimate(None, reason=OTHER_DRAWS)) for fraction in seeds[0]]


def _pretraining(record: StudyRecord, model: str) -> Pretraining | None:
    """Return what a model's weights were pretrained by, in the study or in the run that it starts from."""
    cell = record.pretraining(model)
    if cell is not None:
        # Models that are pretrained alike share the run of the first.
        folder = record.path(cell)
    else:
        init = str(_planned(record, model).get("init") or "")
        folder = Path(init)
        if not init or not (folder / "options.yaml").is_file():
            return None
    try:
        training = read_metrics(folder).get("training") or {}
        (method, options), *_ = read_options_file(folder)[0]["pretrain"].items()
        train = options["train"]
        seen = training["steps"] * train["batch_size"] * train.get("accumulate", 1)
        network = str(options.get("backbone") or "")
        return Pretraining(method, network, int(training["films"]), int(seen))
    except (RunError, KeyError, TypeError, ValueError, AttributeError):
        return None  # such as weights of another program, of which nothing is recorded


def _planned(record: StudyRecord, model: str) -> dict[str, Any]:
    """Return a model's row of the plan."""
    return dict((record.plan.get("models") or {}).get(model) or {})
