"""The numbers across a study's runs: every model over its seeds, and what the comparisons show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum.arrays import DoubleArray, Rows
from hilum.files import write_json
from hilum.findings import COMPETITION, positions
from hilum.images.films import Films
from hilum.listener import SILENT, Listener
from hilum.metrics.comparisons import Measured, compare, in_families
from hilum.metrics.estimates import (
    estimate,
    macro,
    missing_class,
    patients_by_class,
    scored_columns,
    too_few,
)
from hilum.metrics.interval_options import IntervalOptions
from hilum.metrics.per_study import per_study
from hilum.metrics.resampling import RANK_MEASURES, EvaluationLabels, rank_findings, weightings
from hilum.metrics.results import Comparison, Estimate
from hilum.workflows.data.subsets import Subsets, truth_of
from hilum.workflows.evaluate.evaluate import saved_scores
from hilum.workflows.study.record import StudyCell, StudyRecord, read_study

FORMAT = 1
SPLIT = "test"
SELF_TRAINED = "grown"
"""Group of the comparisons of a model grown by pseudo-labels with the model that it grew."""


@dataclass(frozen=True)
class _Test:
    """The films that all models are judged on, and how."""

    films: Films
    rows: Rows
    judged: EvaluationLabels
    weights: NDArray[np.uint16]
    options: IntervalOptions

    @staticmethod
    def of(record: StudyRecord) -> _Test:
        how = record.plan["evaluation"]
        films = Films.open([record.stores[0].path])
        rows = Subsets.of(films).needed(SPLIT)
        truth, counts = truth_of(films, rows, record.plan["finetune"]["labels"]["unstated"])
        judged = EvaluationLabels.of(truth, counts, films.patient_codes[rows])
        options = IntervalOptions(
            resamples=how["resamples"], seed=how["seed"], min_positives=how["min_positives"]
        )
        weights = weightings(judged, options.resamples, options.seed)
        return _Test(films, rows, judged, weights, options)

    @property
    def findings(self) -> tuple[str, ...]:
        return self.films.findings

    @property
    def scored(self) -> list[int]:
        """Findings that a model which calls them is scored on."""
        classes = [patients_by_class(self.judged, place) for place in range(len(self.findings))]
        return [
            place
            for place, (has, lacks) in enumerate(classes)
            if has >= self.options.min_positives and lacks
        ]

    def scores(self, runs: Sequence[Path]) -> DoubleArray:
        """What runs say of the films, [S, N, F]; nan for a finding that a run does not call."""
        found = np.full((len(runs), *self.judged.truth.shape), np.nan)
        for seed, run in zip(found, runs, strict=True):
            table = saved_scores(run, self.films, self.rows, SPLIT)
            for place, name in enumerate(self.findings):
                if name in table:
                    seed[:, place] = table[name].to_numpy(np.float64)
        return found

    def macro(self, samples: DoubleArray, places: Sequence[int]) -> Estimate:
        return macro(self.judged, samples, places, self.options)

    def to_json(self) -> dict[str, Any]:
        return {
            "films": len(self.rows),
            "patients": self.judged.patient_count,
            "findings_scored": [self.findings[place] for place in self.scored],
            "min_positives": self.options.min_positives,
            "resamples": self.options.resamples,
            "level": self.options.level,
        }


@dataclass(frozen=True)
class _Row:
    """A model at one share of the labels under one policy, over its seeds."""

    cells: tuple[StudyCell, ...]
    measured: Measured
    planned: int
    """Seeds in the plan, those that failed among them."""

    @property
    def cell(self) -> StudyCell:
        return self.cells[0]

    @property
    def name(self) -> str:
        """What tells it from those that it is compared with."""
        return str(self.cell.policy) if self.cell.group == "policies" else self.cell.model


def analyse(folder: Path, listener: Listener = SILENT) -> dict[str, Any]:
    """Measure every model of a study on the test films, compare them, and write ``analysis.json``.

    A model's number is the mean of its seeds' numbers. Intervals and tests are over patients, with
    the same resamples for all models: they say how far other patients would move the numbers, and
    not how far other training seeds or other draws of the labels would; each seed is listed for
    that. Runs that failed are left out.

    Args:
        folder: The study's.
        listener: Hears progress.

    Raises:
        RunError: The study or a run's predictions are damaged or missing.
        DataError: The first store is gone or has no test films.
    """
    record = read_study(folder)
    test, groups = _Test.of(record), _cells_by_row(record)
    rows = []
    for done, cells in enumerate(groups):
        listener.progress("analyse", done, len(groups))
        measured = Measured.of(
            test.judged, test.scores([record.path(c) for c in cells]), test.weights
        )
        rows.append(_Row(cells, measured, _planned(record, cells[0])))
    listener.progress("analyse", len(groups), len(groups))
    content = {
        "format": FORMAT,
        "test": test.to_json(),
        "models": [_model_json(test, row) for row in rows],
        "comparisons": [
            *_comparisons(test, rows, record, listener),
            *_self_training_gains(test, rows, record),
        ],
    }
    write_json(record.analysis, content)
    return content


def _cells_by_row(record: StudyRecord) -> list[tuple[StudyCell, ...]]:
    found: dict[tuple[object, ...], list[StudyCell]] = {}
    for cell in record.chosen():
        found.setdefault(_row_of(cell), []).append(cell)
    return [tuple(cells) for cells in found.values()]


def _planned(record: StudyRecord, like: StudyCell) -> int:
    """Return how many seeds a model was to be trained with at a share and policy."""
    wanted = _row_of(like)
    return len(
        {cell.seed for cell in record.cells if cell.kind != "pretrain" and _row_of(cell) == wanted}
    )


def _row_of(cell: StudyCell) -> tuple[object, ...]:
    return cell.group, cell.model, cell.fraction, cell.policy


def _model_json(test: _Test, row: _Row) -> dict[str, Any]:
    samples = row.measured.samples
    scored = scored_columns(test.judged, samples["auroc"][0], test.options.min_positives)
    return {
        "model": row.cell.model,
        "fraction": row.cell.fraction,
        "policy": row.cell.policy,
        "group": row.cell.group,
        "lr": row.cell.lr,
        "cells": [cell.id for cell in row.cells],
        "findings_scored": [test.findings[place] for place in scored],
        "seeds": _seeds(test, row, scored),
        "seeds_planned": row.planned,
        **{f"{name}_macro": test.macro(samples[name], scored).to_json() for name in RANK_MEASURES},
        **{name: _by_finding(test, samples[name]) for name in RANK_MEASURES},
        "competition": _competition(test, samples["auroc"], scored),
        "per_study": _per_study(test, row.measured.scores, scored),
    }


def _seeds(test: _Test, row: _Row, scored: Sequence[int]) -> list[dict[str, Any]]:
    """Each seed alone, over the findings that all of them call."""
    once = test.weights[:1]
    found = []
    for cell, scores in zip(row.cells, row.measured.scores, strict=True):
        areas = rank_findings(test.judged, scores[None], once)["auroc"][0, list(scored)]
        found.append({"seed": cell.seed, "auroc_macro": float(areas.mean()) if scored else None})
    return found


def _by_finding(test: _Test, samples: DoubleArray) -> dict[str, Any]:
    found = {}
    for place, name in enumerate(test.findings):
        missing, lone = (
            missing_class(test.judged, place) or "not called",
            too_few(test.judged, [place]),
        )
        patients = min(patients_by_class(test.judged, place))
        found[name] = estimate(
            samples[:, place], test.options.level, missing, lone, patients
        ).to_json()
    return found


def _competition(test: _Test, samples: DoubleArray, scored: Sequence[int]) -> dict[str, Any] | None:
    """CheXpert's five, those that are scored among them; None where the store or the model lacks one of them."""
    places = [place for place in positions(COMPETITION, test.findings) if place is not None]
    if len(places) < len(COMPETITION):
        return None
    five = [place for place in places if place in scored]
    if any(place in test.scored for place in set(places) - set(five)):
        return None
    names = [test.findings[place] for place in five]
    return {"findings": names, "auroc_macro": test.macro(samples, five).to_json()}


def _per_study(test: _Test, scores: DoubleArray, scored: Sequence[int]) -> dict[str, Any]:
    """The findings that are scored film by film, where a study counts once."""
    studies, places = test.films.study_codes[test.rows], list(scored)
    truth, mask = test.judged.truth[:, places], test.judged.mask[:, places]
    read = per_study(truth, mask, scores[..., places], studies, test.judged.patients)
    judged = EvaluationLabels.of(read.truth, read.mask, read.patients)
    samples = (
        rank_findings(judged, read.scores, test.weights)["auroc"] if places else np.empty((1, 0))
    )
    found = macro(judged, samples, range(len(places)), test.options)
    return {"studies": len(read.patients), "auroc_macro": found.to_json()}


def _comparisons(
    test: _Test, rows: Sequence[_Row], record: StudyRecord, listener: Listener
) -> list[dict[str, Any]]:
    """Every model against the reference at each share of the labels; every policy against the plan's first."""
    found = []
    fractions = dict.fromkeys((row.cell.group, row.cell.fraction) for row in rows)
    for group, fraction in fractions:
        together = [row for row in rows if (row.cell.group, row.cell.fraction) == (group, fraction)]
        against = record.plan["policies"]["compare"][0] if group == "policies" else record.reference
        second = next((row for row in together if row.name == against), None)
        if second is None:
            listener.note(
                f"{against} gave no numbers with {fraction:.3g} of the labels: nothing is compared there"
            )
        else:
            found += _family(test, [row for row in together if row is not second], second)
    return found


def _self_training_gains(
    test: _Test, rows: Sequence[_Row], record: StudyRecord
) -> list[dict[str, Any]]:
    """Every model that was grown by pseudo-labels against the model that it grew, at each share of the labels."""
    found = []
    pairs = [
        (row, start)
        for row in rows
        if (start := _self_trained_from(test, row, rows, record)) is not None
    ]
    for fraction in dict.fromkeys(row.cell.fraction for row, _ in pairs):
        together = [(row, start) for row, start in pairs if row.cell.fraction == fraction]
        several = f"{len(together)} models that were" if len(together) > 1 else "the model that was"
        text = (
            f"the mean AUROC of {several} grown by pseudo-labels against what it began with, "
            f"with {fraction:.3g} of the labels; single findings: all of these together"
        )
        apart = [_compared(test, row, start) for row, start in together]
        for (row, start), one in zip(together, in_families(apart), strict=True):
            found.append({**_comparison_json(row, start, one, text), "group": SELF_TRAINED})
    return found


def _self_trained_from(
    test: _Test, row: _Row, rows: Sequence[_Row], record: StudyRecord
) -> _Row | None:
    """Return the model that a row grew, of the seeds that the row has; None where it grew none, or that has none."""
    wanted = (row.cell.group, row.cell.start, row.cell.fraction, row.cell.policy)
    start = next(
        (other for other in rows if row.cell.start and _row_of(other.cell) == wanted), None
    )
    if start is None or [cell.seed for cell in start.cells] == [cell.seed for cell in row.cells]:
        return start
    seeds = {cell.seed for cell in row.cells}
    cells = tuple(cell for cell in start.cells if cell.seed in seeds)
    if not cells:
        return None
    scores = test.scores([record.path(cell) for cell in cells])
    return _Row(cells, Measured.of(test.judged, scores, test.weights), start.planned)


def _compared(test: _Test, row: _Row, second: _Row) -> Comparison:
    return compare(test.judged, row.measured, second.measured, test.findings, test.options)


def _family(test: _Test, rows: Sequence[_Row], second: _Row) -> list[dict[str, Any]]:
    apart = [_compared(test, row, second) for row in rows]
    one, several = (
        ("policy", "policies") if second.cell.group == "policies" else ("model", "models")
    )
    text = (
        f"the mean AUROC of {len(rows)} {one if len(rows) == 1 else several} against {second.name} "
        f"with {second.cell.fraction:.3g} of the labels; single findings: all of these together"
    )
    adjusted = in_families(apart)
    return [
        _comparison_json(row, second, found, text)
        for row, found in zip(rows, adjusted, strict=True)
    ]


def _comparison_json(row: _Row, second: _Row, found: Comparison, text: str) -> dict[str, Any]:
    return {
        "fraction": row.cell.fraction,
        "policy": row.cell.policy,
        "group": row.cell.group,
        "model": row.cell.model,
        "first": row.name,
        "second": second.name,
        "family": text,
        "findings_scored": list(found.findings_scored),
        "auroc_macro": found.auroc_macro.to_json(),
        "average_precision_macro": found.average_precision_macro.to_json(),
        "auroc": {name: one.to_json() for name, one in found.auroc.items()},
    }
