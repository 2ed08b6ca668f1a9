"""The analysis of a study: every model's measures over its seeds, and the comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hilum.arrays import DoubleArray
from hilum.files import write_hashed_json
from hilum.findings import COMPETITION, positions
from hilum.listener import SILENT, Listener
from hilum.metrics.comparisons import compare, in_families
from hilum.metrics.estimates import (
    estimate,
    macro,
    missing_class,
    patients_by_class,
    scored_columns,
    too_few,
)
from hilum.metrics.per_study import per_study
from hilum.metrics.resampling import RANK_MEASURES, EvaluationLabels, rank_findings
from hilum.workflows.study.label_curves import label_curves, length_comparisons
from hilum.workflows.study.measured_models import MeasuredModel, TestSet
from hilum.workflows.study.record import StudyCell, StudyRecord, read_study

FORMAT = 1
SELF_TRAINED = "grown"
"""Key of the comparisons of a self-trained model with the model that it started from."""


def analyse(folder: Path, listener: Listener = SILENT) -> dict[str, Any]:
    """Measure every model of a study on the test films, compare them, and write ``analysis.json``.

    A model's number is the mean of its seeds' numbers. Intervals and tests are over patients, with
    the same resamples for all models: they show how far other patients would move the numbers, not
    how far other training seeds or labelled subsets would; each seed is listed for that. Runs that
    failed are left out.

    Args:
        folder: The study's.
        listener: Hears progress.

    Raises:
        RunError: The study or a run's predictions are damaged or missing.
        DataError: The first store is gone or has no test films.
    """
    record = read_study(folder)
    test = TestSet.of(record)
    groups: dict[tuple[object, ...], list[StudyCell]] = {}
    for cell in record.chosen():
        groups.setdefault(_identity(cell), []).append(cell)
    models = []
    for done, (identity, cells) in enumerate(groups.items()):
        listener.progress("analyse", done, len(groups))
        planned = {
            cell.seed
            for cell in record.cells
            if cell.kind != "pretrain" and _identity(cell) == identity
        }
        measured = test.measure([record.path(cell) for cell in cells])
        models.append(MeasuredModel(tuple(cells), measured, len(planned)))
    listener.progress("analyse", len(groups), len(groups))
    content = {
        "format": FORMAT,
        "test": test.to_json(),
        "models": [_model_json(test, model) for model in models],
        "comparisons": [
            *_comparisons(test, models, record, listener),
            *_self_training_gains(test, models, record),
        ],
        "label_curves": label_curves(test, models, record),
        "pretraining_lengths": length_comparisons(test, models, record),
    }
    write_hashed_json(record.analysis, content)
    return content


def _identity(cell: StudyCell) -> tuple[object, ...]:
    """Return the key that the seeds of a model have in common."""
    return cell.group, cell.model, cell.fraction, cell.policy


def _model_json(test: TestSet, model: MeasuredModel) -> dict[str, Any]:
    samples = model.measured.samples
    scored = scored_columns(test.labels, samples["auroc"][0], test.options.min_positives)
    seeds = []
    for cell, scores in zip(model.cells, model.measured.scores, strict=True):
        areas = rank_findings(test.labels, scores[None], test.weights[:1])["auroc"][0, scored]
        seeds.append({"seed": cell.seed, "auroc_macro": float(areas.mean()) if scored else None})
    by_finding: dict[str, dict[str, Any]] = {name: {} for name in RANK_MEASURES}
    for column, finding in enumerate(test.findings):
        no_value = missing_class(test.labels, column) or "not called"
        no_interval = too_few(test.labels, [column])
        patients = min(patients_by_class(test.labels, column))
        for name in RANK_MEASURES:
            by_finding[name][finding] = estimate(
                samples[name][:, column],
                test.options.level,
                no_value=no_value,
                no_interval=no_interval,
                patients=patients,
            ).to_json()
    return {
        "model": model.cell.model,
        "fraction": model.cell.fraction,
        "policy": model.cell.policy,
        "group": model.cell.group,
        "lr": model.cell.lr,
        "cells": [cell.id for cell in model.cells],
        "findings_scored": [test.findings[column] for column in scored],
        "seeds": seeds,
        "seeds_planned": model.planned,
        **{
            f"{name}_macro": macro(test.labels, samples[name], scored, test.options).to_json()
            for name in RANK_MEASURES
        },
        **by_finding,
        "competition": _competition(test, samples["auroc"], scored),
        "per_study": _per_study(test, model.measured.scores, scored),
    }


def _competition(
    test: TestSet, samples: DoubleArray, scored: Sequence[int]
) -> dict[str, Any] | None:
    """Return the mean over those of CheXpert's five that are scored.

    None where the store lacks one of the five, or the model one that others are scored on.
    """
    columns = [column for column in positions(COMPETITION, test.findings) if column is not None]
    if len(columns) < len(COMPETITION):
        return None
    five = [column for column in columns if column in scored]
    if any(column in test.scored for column in set(columns) - set(five)):
        return None
    mean = macro(test.labels, samples, five, test.options)
    return {"findings": [test.findings[column] for column in five], "auroc_macro": mean.to_json()}


def _per_study(test: TestSet, scores: DoubleArray, scored: Sequence[int]) -> dict[str, Any]:
    """Return the mean over the findings that are scored film by film, where a study counts once."""
    columns = list(scored)
    read = per_study(
        test.labels.truth[:, columns],
        test.labels.mask[:, columns],
        scores[..., columns],
        test.films.study_codes[test.rows],
        test.labels.patients,
    )
    labels = EvaluationLabels.of(read.truth, read.mask, read.patients)
    samples = np.empty((1, 0))
    if columns:
        samples = rank_findings(labels, read.scores, test.weights)["auroc"]
    mean = macro(labels, samples, range(len(columns)), test.options)
    return {"studies": len(read.patients), "auroc_macro": mean.to_json()}


def _comparisons(
    test: TestSet, models: Sequence[MeasuredModel], record: StudyRecord, listener: Listener
) -> list[dict[str, Any]]:
    """Compare models with the reference at each fraction, and policies with the plan's first."""
    comparisons = []
    groups = dict.fromkeys((model.cell.group, model.cell.fraction) for model in models)
    for group, fraction in groups:
        against = record.plan["policies"]["compare"][0] if group == "policies" else record.reference
        together = [
            model
            for model in models
            if (model.cell.group, model.cell.fraction) == (group, fraction)
        ]
        second = next((model for model in together if model.name == against), None)
        if second is None:
            listener.note(
                f"{against} gave no numbers with {_labels(fraction)}: nothing is compared there"
            )
            continue
        firsts = [model for model in together if model is not second]
        noun = ("policy", "policies") if group == "policies" else ("model", "models")
        family = (
            f"the mean AUROC of {len(firsts)} {noun[len(firsts) != 1]} against {second.name} "
            f"with {_labels(fraction)}; single findings: all of these together"
        )
        comparisons += _family(test, [(model, second) for model in firsts], family)
    return comparisons


def _labels(fraction: float | None) -> str:
    return f"{100 * (fraction or 1.0):.3g}% of the labels"


def _self_training_gains(
    test: TestSet, models: Sequence[MeasuredModel], record: StudyRecord
) -> list[dict[str, Any]]:
    """Compare every self-trained model with the model that it started from, at each fraction."""
    pairs = []
    for model in models:
        identity = (model.cell.group, model.cell.start, model.cell.fraction, model.cell.policy)
        start = next((other for other in models if _identity(other.cell) == identity), None)
        if model.cell.start is None or start is None:
            continue
        # Both are compared over the seeds that they have in common.
        seeds = {cell.seed for cell in model.cells}
        cells = tuple(cell for cell in start.cells if cell.seed in seeds)
        if [cell.seed for cell in start.cells] == [cell.seed for cell in model.cells]:
            pairs.append((model, start))
        elif cells:
            measured = test.measure([record.path(cell) for cell in cells])
            pairs.append((model, MeasuredModel(cells, measured, start.planned)))
    comparisons = []
    for fraction in dict.fromkeys(model.cell.fraction for model, _ in pairs):
        together = [pair for pair in pairs if pair[0].cell.fraction == fraction]
        several = f"{len(together)} models that were" if len(together) > 1 else "the model that was"
        family = (
            f"the mean AUROC of {several} self-trained with pseudo-labels against what it "
            f"began with, with {_labels(fraction)}; single findings: all of these together"
        )
        comparisons += [
            {**comparison, "group": SELF_TRAINED} for comparison in _family(test, together, family)
        ]
    return comparisons


def _family(
    test: TestSet, pairs: Sequence[tuple[MeasuredModel, MeasuredModel]], family: str
) -> list[dict[str, Any]]:
    """Return the comparisons of some pairs, adjusted for each other; ``family`` names them."""
    apart = [
        compare(test.labels, first.measured, second.measured, test.findings, test.options)
        for first, second in pairs
    ]
    return [
        {
            "fraction": first.cell.fraction,
            "policy": first.cell.policy,
            "group": first.cell.group,
            "model": first.cell.model,
            "first": first.name,
            "second": second.name,
            "family": family,
            "findings_scored": list(comparison.findings_scored),
            "auroc_macro": comparison.auroc_macro.to_json(),
            "average_precision_macro": comparison.average_precision_macro.to_json(),
            "auroc": {name: change.to_json() for name, change in comparison.auroc.items()},
        }
        for (first, second), comparison in zip(pairs, in_families(apart), strict=True)
    ]
