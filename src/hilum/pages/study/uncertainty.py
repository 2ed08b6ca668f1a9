"""How uncertain labels were taken and films drawn, on a study's page: the policies compared, what a sampler does."""

from __future__ import annotations

from typing import Any

from hilum.pages.charts.intervals import Level, key, levels, moved
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
    sections: dict[str, Any] = {"policies": None, "sampler": _sampler(study)}
    rows = study.group("policies")
    if not rows:
        return sections
    names = [str(row.policy) for row in rows]
    meanings = []
    for name, row in zip(names, rows, strict=True):
        runs = [run for cell in study.cells(row) if (run := study.run(cell))]
        degrees = [(run.options.get("labels") or {}).get("smooth") for run in runs]
        degree = next((degree for degree in degrees if degree is not None), None)
        meaning = POLICIES.get(name, "")
        if name == "smooth" and degree is not None:
            meaning += f" of {degree:g}, where 0 is absent and 1 present"
        meanings.append((name, meaning))
    means = [
        Level(name, index, of(row.auroc_macro))
        for index, (name, row) in enumerate(zip(names, rows, strict=True))
    ]
    findings = study.store.findings
    by_finding = [[of(row.auroc.get(finding)) for finding in findings] for row in rows]
    sections["policies"] = {
        "model": rows[0].model,
        "fraction": rows[0].fraction,
        "first": names[0],
        "meanings": meanings,
        "table": policies_table(study),
        "chart": levels(means, "mean AUROC", 0.02),
        "key": key(names),
        "by_finding": finding_charts(findings, by_finding, names),
        "findings": policy_findings(study),
    }
    return sections


def policies_table(study: Study) -> Table:
    """Return each policy's numbers and its difference to the first one."""
    policies = study.group("policies")
    first = str(policies[0].policy)
    columns = [
        words("policy", "policy"),
        words("model", "model"),
        numbers("labels", "fraction"),
        estimates("mean AUROC", "auroc_macro"),
        *compared_columns(first),
        estimates("mean average precision", "average_precision_macro"),
        *SPREAD,
    ]
    rows = [
        [
            word(row.policy),
            word(row.model),
            share(row.fraction),
            estimate(row.auroc_macro),
            *compared_cells(study.compared(row), first, str(row.policy)),
            estimate(row.average_precision_macro),
            *spread(row),
        ]
        for row in policies
    ]
    return table("policies", "Policies for uncertain labels", columns, rows)


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


def _sampler(study: Study) -> dict[str, Any] | None:
    """Return how a weighted sampler changed the findings' fractions, None where none was used."""
    for cell in study.record.chosen():
        run = study.run(cell)
        events = [event for event in run.events if event.get("event") == "sampler"] if run else []
        if events:
            findings, before, after = (
                list(events[0][key]) for key in ("findings", "before", "after")
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
            title = "What the sampler does to the findings' shares"
            return {
                "model": cell.model,
                "fraction": cell.fraction,
                "chart": moved(findings, before, after),
                "table": table("sampler", title, columns, rows),
            }
    return None
