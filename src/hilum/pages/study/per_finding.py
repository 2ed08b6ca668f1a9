"""What each model reaches on each finding, on a study's page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from hilum.pages.charts.dots import Measured, dots
from hilum.pages.charts.svg import domain
from hilum.pages.study.read import Study
from hilum.pages.study.results import of, percent, shown
from hilum.pages.tables import (
    Table,
    estimate,
    estimates,
    number,
    numbers,
    p_value,
    share,
    table,
    word,
    words,
)

CROWDED = 30
"""Marks in one chart from which on a chart of the findings is cut into two."""


def finding_sections(study: Study) -> dict[str, Any]:
    """Return what the page says of single findings, by the names that its template uses."""
    fractions = list(reversed(study.fractions))
    return {
        "by_finding": [(fraction, by_finding(study, fraction)) for fraction in fractions],
        "finding_tables": [findings_table(study, fraction) for fraction in fractions],
        "average_precisions": findings_table(study, None, "average_precision"),
        "finding_differences": finding_differences(study),
    }


def by_finding(study: Study, fraction: float) -> list[Markup]:
    """Draw every model's AUROC on every finding at one fraction of the labels; a crowded chart is cut in two."""
    rows = {row.model: row for row in study.rows if row.fraction == fraction}
    series = [
        [
            of(rows[name].auroc.get(finding)) if name in rows else Measured(None)
            for finding in study.store.findings
        ]
        for name in study.names
    ]
    known = [of(area) for row in study.rows for area in row.auroc.values()]
    return finding_charts(study.store.findings, series, study.names, known)


def finding_charts(
    findings: Sequence[str],
    series: Sequence[Sequence[Measured]],
    names: Sequence[str],
    others: Sequence[Measured] = (),
) -> list[Markup]:
    """Draw values of several models on every finding, in one chart or two beside each other.

    Args:
        findings: [F] names.
        series: [M] models, each with [F] values.
        names: [M] the models' names.
        others: Values of other charts that shall have the same axis.
    """
    known = [value for one in [*series, others] for cell in one for value in cell.values()]
    span = domain([*known, 0.45, 0.9], 0.1)
    half = -(-len(findings) // 2) if len(findings) * len(series) > CROWDED else len(findings)
    halves = [slice(0, half), slice(half, None)] if half < len(findings) else [slice(None)]
    return [dots(findings[part], [one[part] for one in series], names, span) for part in halves]


def findings_table(study: Study, fraction: float | None, measure: str = "auroc") -> Table:
    """Return a measure of every model on every finding, at one fraction of the labels or at all."""
    rows = [row for row in study.rows if fraction is None or row.fraction == fraction]
    several = fraction is None
    titles = [f"{row.model}, {percent(row.fraction)}" if several else row.model for row in rows]
    columns = [words("finding", "finding"), numbers("positive patients", "positive_patients")]
    columns += [estimates(title, title) for title in titles]
    patients = positive_patients(study)
    scored = study.analysis.test.findings_scored if study.analysis else ()
    body = [
        [
            word(name, small="" if name in scored else "not in the mean"),
            number(patients.get(name)),
            *(estimate(getattr(row, measure).get(name)) for row in rows),
        ]
        for name in study.store.findings
    ]
    name = f"{measure.replace('_', '-')}-by-finding" + (
        "" if several else f"-{100 * float(fraction or 0):g}"
    )
    what = "AUROC" if measure == "auroc" else "Average precision"
    return table(
        name,
        f"{what} of every finding"
        + ("" if several else f", {percent(float(fraction or 0))} of the labels"),
        columns,
        body,
    )


def positive_patients(study: Study) -> dict[str, int]:
    """Return how many test patients have each finding, empty where nothing was evaluated."""
    for cell in study.record.chosen():
        evaluation = study.evaluation(cell)
        if evaluation and evaluation.findings:
            return {
                name: evaluation.findings[name].positive_patients
                for name in study.store.findings
                if name in evaluation.findings
            }
    return {}


def finding_differences(study: Study) -> Table:
    """Return the differences to the reference on single findings, by clustered DeLong, the smallest p values first."""
    columns = [
        words("finding", "finding"),
        words("model", "model"),
        numbers("labels", "fraction"),
        estimates(f"AUROC minus {study.reference}", "difference"),
        numbers("p", "p"),
        numbers("p, Holm", "p_holm"),
        words("what it shows", "verdict"),
    ]
    rows = []
    for one in study.analysis.comparisons if study.analysis else ():
        if one.group != "main":
            continue
        for finding, change in one.auroc.items():
            cells = [
                word(finding),
                word(one.first),
                share(one.fraction),
                estimate(change, signed=True),
                p_value(change.p),
                p_value(change.p_holm),
                word(shown(change, study.reference)),
            ]
            rows.append((change.p, cells))
    rows.sort(key=lambda row: (row[0] is None, row[0] or 0.0))
    return table(
        "differences-by-finding",
        "Differences on single findings",
        columns,
        [row for _, row in rows],
    )
