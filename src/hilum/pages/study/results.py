"""The results on a study's page: the answers, the main table and the comparisons."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from hilum.metrics.results import Difference, Estimate
from hilum.pages.charts.dots import Measured, against_labels
from hilum.pages.charts.intervals import Level, levels
from hilum.pages.study.read import Study
from hilum.pages.tables import (
    Cell,
    Column,
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
from hilum.pages.wording import NO_DIFFERENCE, difference, listed
from hilum.workflows.study.analysis_record import ModelComparison, ModelResult


def result_sections(study: Study) -> dict[str, Any]:
    """Return the results by the names that the template uses."""
    return {
        "answers": answers(study),
        "results": results_table(study),
        "by_labels": _by_labels(study),
        "forests": [(fraction, forest(study, fraction)) for fraction in study.fractions],
        "protocols": protocols_table(study),
        "families": list(
            dict.fromkeys(
                one.family for one in (study.analysis.comparisons if study.analysis else ())
            )
        ),
    }


def percent(fraction: float) -> str:
    """Return a share in words.

    >>> percent(0.1), percent(0.015)
    ('10%', '1.5%')
    """
    return f"{100 * fraction:g}%"


def shown(measure: Difference | None, reference: str) -> str:
    """Return in words what a comparison shows after the correction for many."""
    if measure is None:
        return "the reference"
    if measure.value is None:
        return "not available"
    if measure.p is None:  # too few patients, or no interval
        return "not tested"
    if not measure.shown:
        return NO_DIFFERENCE
    return f"better than {reference}" if measure.value > 0 else f"worse than {reference}"


def answers(study: Study) -> list[str]:
    """Return for each fraction of the labels one sentence on which models differ from the reference."""
    sentences = []
    for fraction in study.fractions:
        start = f"With {percent(fraction)} of the labels"
        verdicts: dict[str, list[str]] = {}
        for row in [row for row in study.rows if row.fraction == fraction]:
            if row.model == study.reference:
                if row.auroc_macro.value is not None:
                    start += f" {study.reference} reaches {row.auroc_macro.value:.3f}"
                continue
            comparison, name = study.compared(row), row.model
            verdict = _verdict(study, comparison)
            if comparison and verdict != NO_DIFFERENCE and comparison.auroc_macro.value is not None:
                name += f" ({difference(comparison.auroc_macro.value)})"
            verdicts.setdefault(verdict, []).append(name)
        clauses = [
            f"{verdict[:1].upper()}{verdict[1:]}: {listed(names)}."
            for verdict, names in sorted(verdicts.items())
        ]
        sentences.append(f"{start}. {' '.join(clauses) or 'No other model was measured.'}")
    return sentences


def _verdict(study: Study, comparison: ModelComparison | None) -> str:
    """Return a comparison's verdict in a word or two."""
    if comparison is None:
        return "not compared"
    return shown(comparison.auroc_macro, study.reference).split(" than ")[0]


def results_table(study: Study) -> Table:
    """Return the main table: each model at each fraction of the labels."""
    columns = [
        words("model", "model"),
        numbers("labels", "fraction"),
        estimates("mean AUROC", "auroc_macro"),
        *compared_columns(study.reference),
        estimates("mean average precision", "average_precision_macro"),
        *SPREAD,
        numbers("films", "films"),
        numbers("patients", "patients"),
    ]
    rows = [
        [
            word(row.model, small="no round was kept" if study.is_its_start(row) else ""),
            share(row.fraction),
            estimate(row.auroc_macro),
            *compared_cells(study.compared(row), study.reference, row.model),
            estimate(row.average_precision_macro),
            *spread(row),
            *trained_on(study, row),
        ]
        for row in study.rows
    ]
    return table("results", "Mean AUROC by model and fraction of labels", columns, rows)


SPREAD = (numbers("seeds", "seeds"), numbers("lowest to highest seed", "seed_lowest"))


def compared_columns(reference: str) -> list[Column]:
    """Return the columns of ``compared_cells``."""
    return [
        estimates(f"minus {reference}", "difference"),
        numbers("p, Holm", "p_holm"),
        words("what it shows", "verdict"),
    ]


def compared_cells(comparison: ModelComparison | None, reference: str, name: str) -> list[Cell]:
    """Return the difference to the reference, its p value after Holm, and the verdict, of what is called ``name``."""
    if comparison is None:  # the reference itself, or it gave no numbers at this fraction
        verdict = "the reference" if name == reference else "not compared"
        return [Cell("-", (None, None, None)), Cell("-", (None,)), word(verdict, "verdict soft")]
    mean = comparison.auroc_macro
    verdict = shown(mean, reference)
    style = {"better": "found", "worse": "missed"}.get(verdict.split()[0], "")
    return [
        estimate(mean, signed=True),
        p_value(mean.p_holm),
        word(verdict, f"verdict {style}".rstrip()),
    ]


def spread(row: ModelResult) -> list[Cell]:
    """Return how many seeds there are, of how many where some failed, and the range of what they reach alone."""
    alone = [one.auroc_macro for one in row.seeds if one.auroc_macro is not None]
    if not alone:
        return [_seeds(row), number(None)]
    text = f"{min(alone):.3f} to {max(alone):.3f}" if len(alone) > 1 else f"{alone[0]:.3f}"
    return [_seeds(row), Cell(text, (min(alone),))]


def _seeds(row: ModelResult) -> Cell:
    count = len(row.seeds)
    planned = count if row.seeds_planned is None else row.seeds_planned
    return number(count) if count == planned else Cell(f"{count} of {planned}", (count,))


def trained_on(study: Study, row: ModelResult) -> tuple[Cell, Cell]:
    """Return films and patients whose labels were used, a range where the subsets differ."""
    runs = [run for cell in study.cells(row) if (run := study.run(cell))]
    cells = []
    for key in ("films", "patients"):
        counts = [getattr(run.training, key) for run in runs if run.training]
        low, high = min(counts, default=None), max(counts, default=None)
        cells.append(number(low) if low == high else Cell(f"{low:,} to {high:,}", (low,)))
    films, patients = cells
    return films, patients


def _by_labels(study: Study) -> Markup:
    lines: dict[str, dict[float, Measured]] = {name: {} for name in study.names}
    seeds: dict[str, dict[float, list[float]]] = {name: {} for name in study.names}
    for row in study.rows:
        lines[row.model][row.fraction] = of(row.auroc_macro)
        alone = [one.auroc_macro for one in row.seeds if one.auroc_macro is not None]
        seeds[row.model][row.fraction] = alone
    return against_labels(lines, seeds)


def of(measure: Estimate | None) -> Measured:
    """Return an estimate for a chart."""
    return Measured(None) if measure is None else Measured.of(measure.value, measure.interval)


def forest(study: Study, fraction: float) -> Markup:
    """Draw every model's difference to the reference at one fraction of the labels."""
    rows = []
    for row in study.rows:
        if row.fraction == fraction and row.model != study.reference:
            comparison = study.compared(row)
            change = of(comparison.auroc_macro) if comparison else Measured(None)
            colour = study.names.index(row.model)
            rows.append(Level(row.model, colour, change, _verdict(study, comparison)))
    return levels(rows, f"mean AUROC minus that of {study.reference}", 0.02, 0.0, "{:+.2f}")


def protocols_table(study: Study) -> Table:
    """Return each model scored per film, per study and on the five findings of CheXpert's competition."""
    columns = [
        words("model", "model"),
        numbers("labels", "fraction"),
        estimates("per film, all findings", "per_film"),
        estimates("per study, all findings", "per_study"),
        estimates("per film, five findings", "five_findings"),
    ]
    rows = []
    for row in study.rows:
        rows.append(
            [
                word(row.model),
                share(row.fraction),
                estimate(row.auroc_macro),
                estimate(row.per_study.auroc_macro if row.per_study else None),
                estimate(row.competition.auroc_macro if row.competition else None),
            ]
        )
    return table("protocols", "The same models by other protocols", columns, rows)
