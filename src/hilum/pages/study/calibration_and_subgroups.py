"""Calibration, operating points and subgroups on a study's page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from markupsafe import Markup

from hilum.pages.charts.intervals import Level, levels, reliability
from hilum.pages.study.read import Study
from hilum.pages.study.results import of, percent
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
from hilum.pages.wording import listed
from hilum.workflows.study.record import StudyCell

RULES = {
    "youden": "sensitivity + specificity at its highest",
    "sensitivity": "sensitivity of at least {}",
    "specificity": "specificity of at least {}",
}
GROUPS = {"sex": "sex", "age": "age", "view_position": "view"}
VALUES = {"sex": {"F": "female", "M": "male"}, "view_position": {"LATERAL": "lateral"}}


def measure_sections(study: Study) -> dict[str, Any]:
    """Return what the page says of calibration, operating points and subgroups, by its template's names."""
    best = study.best
    told, findings = study.evaluation(best) if best else {}, study.store.findings
    return {
        "calibration": calibration_table(study),
        "calibration_findings": calibration_findings(findings, told)
        if told.get("calibration")
        else None,
        "reliability": _reliability(findings, told),
        "bins": (told.get("calibration") or {}).get("bins"),
        "operating": operating_tables(findings, told),
        "has_prevalence": _has_prevalence(told),
        "subgroups": subgroups_table(study),
        "subgroup_findings": other_findings(study, told),
        "subgroup_chart": _subgroup_chart(told, study.names.index(best.model) if best else 0),
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
        found = [
            told for cell in study.cells(row) if (told := study.evaluation(cell).get("calibration"))
        ]
        if found:
            means = [_mean_of(found, f"{measure}_mean") for measure in CALIBRATION]
            rows.append(
                [
                    word(row["model"]),
                    share(row["fraction"]),
                    *(number(mean, "{:.3f}") for mean in means),
                ]
            )
    return table("calibration", "Calibration of every model", columns, rows) if rows else None


def _mean_of(calibrations: Sequence[Mapping[str, Any]], key: str) -> float | None:
    """Return the mean over runs, None where no run has a value."""
    known = [told[key] for told in calibrations if told.get(key) is not None]
    return fmean(known) if known else None


def calibration_findings(findings: Sequence[str], told: Mapping[str, Any]) -> Table:
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
            word(name, small=one.get("reason") or ""),
            *(number(one.get(key), "{:.3f}") for key in keys),
        ]
        for name, one in _ordered(findings, told["calibration"]["findings"])
    ]
    return table(
        "calibration-by-finding", "Calibration of the chosen model on every finding", columns, rows
    )


def _ordered(findings: Sequence[str], by_finding: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return a mapping's findings in the store's order; on file they are sorted by name."""
    return [(name, by_finding[name]) for name in findings if name in by_finding]


def _reliability(findings: Sequence[str], told: Mapping[str, Any]) -> list[tuple[str, Markup, str]]:
    """Return each finding's chart of reliability with its error in words."""
    charts = []
    for name, one in _ordered(findings, (told.get("calibration") or {}).get("findings", {})):
        points = [(point["predicted"], point["observed"]) for point in one.get("reliability") or ()]
        error = (
            f"ECE {one['ece']:.3f}"
            if one.get("ece") is not None
            else one.get("reason") or "not available"
        )
        charts.append((name, reliability(points, name), error))
    return charts


def operating_tables(findings: Sequence[str], told: Mapping[str, Any]) -> list[tuple[str, Table]]:
    """Return for each rule, in words, what the thresholds that it chose do on the test films."""
    points = _ordered(findings, told.get("operating_points") or {})
    rules = list(dict.fromkeys(one["rule"] for _, found in points for one in found))
    tables = []
    for rule in rules:
        rows = [(name, one) for name, found in points for one in found if one["rule"] == rule]
        stem = f"operating-points-{re.sub(r'[^a-z0-9.]+', '-', rule)}"  # a file's name
        tables.append((rule_in_words(rule), _operating(stem, rows, _has_prevalence(told))))
    return tables


def rule_in_words(rule: str) -> str:
    """Return how thresholds were chosen.

    >>> rule_in_words("sensitivity 0.9")
    'sensitivity of at least 0.9'
    """
    kind, _, value = rule.partition(" ")
    return RULES[kind].format(value) if kind in RULES else rule


def _operating(stem: str, rows: Sequence[tuple[str, Mapping[str, Any]]], prevalence: bool) -> Table:
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
    return table(
        stem,
        "Confusion at an operating point",
        columns,
        [_point(name, one, prevalence) for name, one in rows],
    )


def _point(name: str, one: Mapping[str, Any], prevalence: bool) -> list[Cell]:
    counts = ("true_positives", "false_positives", "false_negatives", "true_negatives")
    cells = [
        word(name),
        number(one.get("threshold"), "{:.3f}"),
        *(number(one.get(key)) for key in counts),
    ]
    cells += [estimate(one.get(key)) for key in ("sensitivity", "specificity", "precision")]
    if prevalence:
        cells.append(number(one.get("prevalence"), "{:.3f}"))
        cells += [estimate(one.get(key)) for key in ("ppv_at_prevalence", "npv_at_prevalence")]
    return cells


def _has_prevalence(told: Mapping[str, Any]) -> bool:
    points = (one for found in (told.get("operating_points") or {}).values() for one in found)
    return any(one.get("prevalence") is not None for one in points)


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
    rows = [
        _subgroup(cell, one)
        for row in study.rows
        for cell in study.cells(row)
        for one in study.evaluation(cell).get("subgroups") or ()
    ]
    return table("subgroups", "Mean AUROC in subgroups, every run", columns, rows) if rows else None


def _subgroup(cell: StudyCell, one: Mapping[str, Any]) -> list[Cell]:
    told = {**one["auroc_macro"], "reason": one.get("reason") or one["auroc_macro"].get("reason")}
    return [
        word(GROUPS.get(one["group"], one["group"])),
        word(_value(one)),
        word(cell.model),
        share(cell.fraction or 1.0),
        number(cell.seed),
        number(one["films"]),
        number(one["patients"]),
        number(len(one["findings_scored"])),
        estimate(told),
    ]


def _value(one: Mapping[str, Any]) -> str:
    return VALUES.get(one["group"], {}).get(one["value"], str(one["value"]))


def _subgroup_chart(told: Mapping[str, Any], colour: int) -> Markup | None:
    """Draw one run's mean AUROC in each subgroup, below that over all films."""
    found = told.get("subgroups") or ()
    if not found:
        return None
    whole = {"value": told["auroc_macro"], "interval": told.get("auroc_macro_interval")}
    rows = [Level("all films", colour, of(whole), f"{told['films']:,} films")]
    rows += [
        Level(
            f"{GROUPS.get(one['group'], one['group'])}: {_value(one)}",
            colour,
            of(one["auroc_macro"]),
            f"{one['films']:,} films",
        )
        for one in found
    ]
    return levels(rows, "mean AUROC", 0.05, whole["value"])


def other_findings(study: Study, told: Mapping[str, Any]) -> str:
    """Return how a run's mean is over other findings than the means across runs, as a clause; empty where it is not."""
    pages = study.analysis["test"]["findings_scored"] if study.analysis else []
    own = told.get("findings_scored", pages)
    changes = {
        "without": [name for name in pages if name not in own],
        "with": [name for name in own if name not in pages],
    }
    said = [f"{how} {listed(names)}" for how, names in changes.items() if names]
    return f", {' and '.join(said)}, unlike the means across runs" if said and pages else ""


def in_words(study: Study) -> str:
    """Return which fine-tuning stands for the study where one is shown, in words."""
    best = study.best
    if best is None:
        return "no model"
    return f"{best.model} with {percent(best.fraction or 1.0)} of the labels, seed {best.seed}"
