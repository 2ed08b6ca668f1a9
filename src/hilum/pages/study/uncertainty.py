"""How uncertain labels were taken and films drawn, on a study's page: the policies compared, what a sampler does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from hilum.pages.charts.dots import Measured
from hilum.pages.charts.intervals import Level, key, levels, moved
from hilum.pages.read import Run
from hilum.pages.study.per_finding import finding_charts
from hilum.pages.study.read import Study
from hilum.pages.study.results import SPREAD, compared_cells, compared_columns, of, spread
from hilum.pages.tables import (
    Cell,
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
from hilum.workflows.study.analysis_record import ModelResult

POLICIES = {
    "zeros": "uncertain counts as absent",
    "ones": "uncertain counts as present",
    "ignore": "uncertain has no weight",
    "multiclass": "uncertain is a class of its own; scored present against absent",
    "smooth": "uncertain counts as present to a degree",
    "self-train": "a first model labels the uncertain cells that it is sure of",
}


def policy_sections(study: Study) -> dict[str, Any]:
    """Return what the page says of policies and samplers, by the names that its template uses."""
    return {"policies": _policies(study), "sampler": _sampler(study)}


def _policies(study: Study) -> dict[str, Any] | None:
    rows = study.group("policies")
    if not rows:
        return None
    names = [str(row.policy) for row in rows]
    return {
        "model": rows[0].model,
        "fraction": rows[0].fraction,
        "first": names[0],
        "meanings": [(name, _meaning(study, row)) for name, row in zip(names, rows, strict=True)],
        "table": policies_table(study),
        "chart": levels(
            [
                Level(name, place, of(row.auroc_macro))
                for place, (name, row) in enumerate(zip(names, rows, strict=True))
            ],
            "mean AUROC",
            0.02,
        ),
        "key": key(names),
        "by_finding": _by_finding(study, rows),
        "findings": policy_findings(study),
    }


def _meaning(study: Study, row: ModelResult) -> str:
    """Return what a policy does; of the one that has a value, with the value that its runs had."""
    policy = str(row.policy)
    runs = [run for cell in study.cells(row) if (run := study.run(cell))]
    degrees = [
        degree
        for run in runs
        if (degree := (run.options.get("labels") or {}).get("smooth")) is not None
    ]
    degree = (
        f" of {degrees[0]:g}, where 0 is absent and 1 present"
        if degrees and policy == "smooth"
        else ""
    )
    return POLICIES.get(policy, "") + degree


def policies_table(study: Study) -> Table:
    """Return each policy's numbers and its difference to the first one."""
    rows = study.group("policies")
    first = str(rows[0].policy)
    columns = [
        words("policy", "policy"),
        words("model", "model"),
        numbers("labels", "fraction"),
        estimates("mean AUROC", "auroc_macro"),
        *compared_columns(first),
        estimates("mean average precision", "average_precision_macro"),
        *SPREAD,
    ]
    body = [_policy(study, row, first) for row in rows]
    return table("policies", "Policies for uncertain labels", columns, body)


def _policy(study: Study, row: ModelResult, first: str) -> list[Cell]:
    return [
        word(row.policy),
        word(row.model),
        share(row.fraction),
        estimate(row.auroc_macro),
        *compared_cells(study.compared(row), first, str(row.policy)),
        estimate(row.average_precision_macro),
        *spread(row),
    ]


def policy_findings(study: Study) -> Table:
    """Return each policy's AUROC and its difference to the first one on single findings."""
    columns = [
        words("finding", "finding"),
        words("policy", "policy"),
        estimates("AUROC", "auroc"),
        estimates("difference to the first", "difference"),
        numbers("p, Holm", "p_holm"),
    ]
    rows = []
    for finding in study.store.findings:
        for row in study.group("policies"):
            comparison = study.compared(row)
            difference = comparison.auroc.get(finding) if comparison else None
            change = (
                [estimate(difference, signed=True), p_value(difference.p_holm)]
                if difference
                else [Cell("-", (None,) * 3), Cell("-", (None,))]
            )
            rows.append(
                [word(finding), word(row.policy), estimate(row.auroc.get(finding)), *change]
            )
    return table("policies-by-finding", "Policies on single findings", columns, rows)


def _by_finding(study: Study, rows: list[ModelResult]) -> list[Markup]:
    series: list[list[Measured]] = [
        [of(row.auroc.get(name)) for name in study.store.findings] for row in rows
    ]
    return finding_charts(study.store.findings, series, [str(row.policy) for row in rows])


def _sampler(study: Study) -> dict[str, Any] | None:
    """Return what the first run with a weighted sampler said of it, None where no run used one."""
    for cell in study.record.chosen():
        run = study.run(cell)
        sampler = _event(run) if run else None
        if sampler:
            findings, before, after = (
                list(sampler[key]) for key in ("findings", "before", "after")
            )
            columns = [
                words("finding", "finding"),
                numbers("as labelled", "before"),
                numbers("as drawn", "after"),
            ]
            rows = [
                [word(name), number(first, "{:.1%}"), number(second, "{:.1%}")]
                for name, first, second in zip(findings, before, after, strict=True)
            ]
            return {
                "model": cell.model,
                "fraction": cell.fraction,
                "chart": moved(findings, before, after),
                "table": table(
                    "sampler", "What the sampler does to the findings' shares", columns, rows
                ),
            }
    return None


def _event(run: Run) -> Mapping[str, Any] | None:
    return next((event for event in run.events if event.get("event") == "sampler"), None)
