"""Calibration, operating points and subgroups on a study's page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

from markupsafe import Markup

from hilum.counts import counted
from hilum.pages.charts.dots import Measured
from hilum.pages.charts.intervals import Level, levels, reliability
from hilum.pages.study.read import Study
from hilum.pages.study.results import percent
from hilum.pages.tables import (
    Cell,
    Table,
    estimate,
    estimates,
    number,
    numbers,
    share,
    table,
    word,
    words,
)
from hilum.pages.wording import listed, rule_in_words
from hilum.workflows.evaluate.record import (
    CalibrationRecord,
    EvaluationRecord,
    SubgroupRecord,
)
from hilum.workflows.study.analysis_record import ModelResult

GROUPS = {"sex": "sex", "age": "age", "view_position": "view"}
VALUES = {
    "sex": {"F": "female", "M": "male"},
    "view_position": {"FRONTAL": "frontal", "LATERAL": "lateral"},
}


def measure_sections(study: Study) -> dict[str, Any]:
    """Return what the page says of calibration, operating points and subgroups, by its template's names."""
    best = study.best
    best_run = study.run(best) if best else None
    evaluation = study.evaluation(best) if best else None
    findings = study.store.findings
    calibration = evaluation.calibration if evaluation else None
    colour = study.names.index(best.model) if best else 0
    return {
        "calibration": calibration_table(study),
        "uncalibrated": uncalibrated(study),
        "worsened": worsened(study),
        "calibration_findings": calibration_findings(findings, calibration)
        if calibration
        else None,
        "reliability": _reliability(findings, calibration) if calibration else [],
        "bins": calibration.bins if calibration else None,
        "operating": operating_tables(findings, evaluation) if evaluation else [],
        "never_called": best_run.model.never_called if best_run else {},
        "has_prevalence": evaluation is not None and _has_prevalence(evaluation),
        "subgroups": subgroups_table(study),
        "subgroup_findings": other_findings(study, evaluation),
        "subgroup_chart": _subgroup_chart(evaluation, colour) if evaluation else None,
    }


CALIBRATION = {
    "ece_raw": ("ECE before", "ece_before"),
    "ece": ("ECE after", "ece_after"),
    "ece_by_chance": ("ECE by chance", "ece_by_chance"),
    "brier_raw": ("Brier before", "brier_before"),
    "brier": ("Brier after", "brier_after"),
}
"""Measure of calibration -> its column."""


def calibration_table(study: Study) -> Table | None:
    """Return every model's calibration before and after scaling: means over findings that are scored, and its seeds."""
    columns = [words("model", "model"), numbers("labels", "fraction")]
    columns += [numbers(*titles) for titles in CALIBRATION.values()]
    rows = []
    for row in study.rows:
        records = _calibrations(study, row)
        if records:
            means = [_mean_of(records, f"{measure}_mean") for measure in CALIBRATION]
            rows.append(
                [
                    word(row.model),
                    share(row.fraction),
                    *(number(mean, "{:.3f}") for mean in means),
                ]
            )
    return table("calibration", "Calibration of every model", columns, rows) if rows else None


def _calibrations(study: Study, row: ModelResult) -> list[CalibrationRecord]:
    evaluations = [study.evaluation(cell) for cell in study.cells(row)]
    return [one.calibration for one in evaluations if one and one.calibration]


def _mean_of(records: Sequence[CalibrationRecord], measure: str) -> float | None:
    """Return the mean over runs, None where no run has a value."""
    known = [value for one in records if (value := getattr(one, measure)) is not None]
    return fmean(known) if known else None


def uncalibrated(study: Study) -> str | None:
    """Return which models no calibration was fitted for, None where all have one."""
    names = [
        f"{row.model} ({percent(row.fraction)})"
        for row in study.rows
        if not any(
            one.temperature is not None
            for record in _calibrations(study, row)
            for one in record.findings.values()
        )
    ]
    if not names:
        return None
    reason = "no temperature was fitted, for lack of validation films or because it is switched off"
    return f"Calibration of {listed(names)}: not tested: {reason}."


def worsened(study: Study) -> str | None:
    """Return the models whose mean ECE calibration raised on the test films, None where there is none."""
    names = []
    for row in study.rows:
        records = _calibrations(study, row)
        before, after = (_mean_of(records, name) for name in ("ece_raw_mean", "ece_mean"))
        if before is not None and after is not None and after > before:
            names.append(
                f"{row.model} ({percent(row.fraction)}: {before:.3f} before, {after:.3f} after)"
            )
    return f"Calibration made the ECE worse for {listed(names)}." if names else None


def calibration_findings(findings: Sequence[str], record: CalibrationRecord) -> Table:
    """Return calibration by finding of one run."""
    columns = [
        words("finding", "finding"),
        numbers("temperature", "temperature"),
        numbers("shift", "shift"),
    ]
    columns += [numbers(*titles) for titles in CALIBRATION.values()]
    keys = ("temperature", "shift", *CALIBRATION)
    rows = [
        [
            word(name, small=one.reason or ""),
            *(number(getattr(one, key), "{:.3f}") for key in keys),
        ]
        for name, one in _ordered(findings, record.findings)
    ]
    return table(
        "calibration-by-finding", "Calibration of the chosen model on every finding", columns, rows
    )


def _ordered(findings: Sequence[str], by_finding: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return a mapping's findings in the store's order; on file they are sorted by name."""
    return [(name, by_finding[name]) for name in findings if name in by_finding]


def _reliability(
    findings: Sequence[str], record: CalibrationRecord
) -> list[tuple[str, Markup, str]]:
    """Return each finding's reliability diagram with its error."""
    charts = []
    for name, one in _ordered(findings, record.findings):
        points = [(point.predicted, point.observed) for point in one.reliability]
        error = f"ECE {one.ece:.3f}" if one.ece is not None else one.reason or "not available"
        charts.append((name, reliability(points, name), error))
    return charts


def operating_tables(
    findings: Sequence[str], evaluation: EvaluationRecord
) -> list[tuple[str, Table]]:
    """Return for each rule, in words, what the thresholds that it chose do on the test films."""
    prevalence = _has_prevalence(evaluation)
    columns = [
        words("finding", "finding"),
        numbers("threshold", "threshold"),
        numbers("TP", "true_positives"),
        numbers("FP", "false_positives"),
        numbers("FN", "false_negatives"),
        numbers("TN", "true_negatives"),
        estimates("sensitivity", "sensitivity"),
        estimates("specificity", "specificity"),
        estimates("precision", "precision"),
    ]
    if prevalence:
        columns += [
            numbers("prevalence given", "prevalence"),
            estimates("PPV there", "ppv_at_prevalence"),
            estimates("NPV there", "npv_at_prevalence"),
        ]
    rows_by_rule: dict[str, list[list[Cell]]] = {}
    for name, points in _ordered(findings, evaluation.operating_points):
        for point in points:
            measures = (point.sensitivity, point.specificity, point.precision)
            cells = [
                word(name, small="no threshold" if point.threshold is None else ""),
                number(point.threshold, "{:.3f}"),
                number(point.true_positives),
                number(point.false_positives),
                number(point.false_negatives),
                number(point.true_negatives),
                *(estimate(measure) for measure in measures),
            ]
            if prevalence:
                cells.append(number(point.prevalence, "{:.3f}"))
                cells += [estimate(point.ppv_at_prevalence), estimate(point.npv_at_prevalence)]
            rows_by_rule.setdefault(point.rule, []).append(cells)
    tables = []
    for rule, rows in rows_by_rule.items():
        stem = f"operating-points-{re.sub(r'[^a-z0-9.]+', '-', rule)}"  # a file's name
        confusion = table(stem, "Confusion at an operating point", columns, rows)
        tables.append((rule_in_words(rule), confusion))
    return tables


def _has_prevalence(evaluation: EvaluationRecord) -> bool:
    points = (one for of_finding in evaluation.operating_points.values() for one in of_finding)
    return any(one.prevalence is not None for one in points)


def subgroups_table(study: Study) -> Table | None:
    """Return the mean AUROC of every run that stands for a result within each subgroup."""
    columns = [
        words("group", "group"),
        words("value", "value"),
        words("model", "model"),
        numbers("labels", "fraction"),
        numbers("seed", "seed"),
        numbers("films", "films"),
        numbers("patients", "patients"),
        numbers("findings in the mean", "findings_scored"),
        estimates("mean AUROC", "auroc_macro"),
    ]
    rows = []
    cells = [cell for row in study.rows for cell in study.cells(row)]
    for cell in cells:
        evaluation = study.evaluation(cell)
        for group in evaluation.subgroups if evaluation else ():
            mean = replace(group.auroc_macro, reason=group.reason or group.auroc_macro.reason)
            rows.append(
                [
                    word(GROUPS.get(group.group, group.group)),
                    word(_value(group)),
                    word(cell.model),
                    share(cell.fraction or 1.0),
                    number(cell.seed),
                    number(group.films),
                    number(group.patients),
                    number(len(group.findings_scored)),
                    estimate(mean),
                ]
            )
    return table("subgroups", "Mean AUROC in subgroups, every run", columns, rows) if rows else None


def _value(group: SubgroupRecord) -> str:
    return VALUES.get(group.group, {}).get(group.value, group.value)


def _subgroup_chart(evaluation: EvaluationRecord, colour: int) -> Markup | None:
    """Draw one run's mean AUROC in each subgroup, below that over all films."""
    if not evaluation.subgroups:
        return None
    whole = evaluation.auroc
    rows = [
        Level(
            "all films",
            colour,
            Measured.of(whole.value, whole.interval),
            counted(evaluation.films, "film"),
        )
    ]
    rows += [
        Level(
            f"{GROUPS.get(group.group, group.group)}: {_value(group)}",
            colour,
            Measured.of(group.auroc_macro.value, group.auroc_macro.interval),
            counted(group.films, "film")
            if group.auroc_macro.value is not None
            else "too few: not tested",
        )
        for group in evaluation.subgroups
    ]
    return levels(rows, "mean AUROC", 0.05, whole.value)


def other_findings(study: Study, evaluation: EvaluationRecord | None) -> str:
    """Return how a run's mean is over other findings than the means across runs, as a clause; empty where it is not."""
    common = study.analysis.test.findings_scored if study.analysis else ()
    own = evaluation.findings_scored if evaluation else common
    changes = {
        "without": [name for name in common if name not in own],
        "with": [name for name in own if name not in common],
    }
    clauses = [f"{how} {listed(names)}" for how, names in changes.items() if names]
    return f", {' and '.join(clauses)}, unlike the means across runs" if clauses and common else ""


def in_words(study: Study) -> str:
    """Return which fine-tuning stands for the study where one is shown, in words."""
    best = study.best
    if best is None:
        return "no model"
    return f"{best.model} with {percent(best.fraction or 1.0)} of the labels, seed {best.seed}"
