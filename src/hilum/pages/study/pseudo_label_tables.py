"""Tables of models that were self-trained with pseudo-labels, on a study's page."""

from __future__ import annotations

from statistics import fmean

from hilum.metrics.results import Estimate
from hilum.pages.study.read import SelfTrained, Study
from hilum.pages.study.results import compared_cells
from hilum.pages.tables import (
    Cell,
    Column,
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
from hilum.workflows.evaluate.record import EvaluationRecord

NOTHING = Cell("-", (None,))
SAME = (Cell("-", (None, None, None)), NOTHING, word("the same model", "verdict soft"))
"""In place of a comparison where no round was kept."""
MEASURES = {"precision": "precision", "recall": "recall", "accuracy": "accuracy"}
"""Means that the published study reported, by their columns."""


def self_training_table(study: Study) -> Table:
    """Return each self-trained model and its initial model, on test films."""
    columns = [
        words("model", "model"),
        numbers("labels", "fraction"),
        words("initial model", "start"),
        words("kept round, by seed", "kept"),
        estimates("mean AUROC before", "start_auroc_macro"),
        estimates("mean AUROC after", "auroc_macro"),
        estimates("difference", "difference"),
        numbers("p, Holm", "p_holm"),
        words("what it shows", "verdict"),
    ]
    before = {(row.model, row.fraction): row.auroc_macro for row in reversed(study.rows)}
    rows = []
    for row in study.self_trained_rows:
        runs = [run for run in study.self_trained if run.cell.id in row.cells]
        start = str(runs[0].cell.start)
        kept = [f"{run.rounds.kept or 'none'} of {len(run.rounds.rounds)}" for run in runs]
        comparison = study.compared_with_start(row)
        rows.append(
            [
                word(row.model),
                share(row.fraction),
                word(start),
                word(", ".join(kept)),
                estimate(before.get((start, row.fraction))),
                estimate(row.auroc_macro),
                *(
                    SAME
                    if study.is_its_start(row)
                    else compared_cells(comparison, start, row.model)
                ),
            ]
        )
    return table("pseudo-labels", "Self-trained models and their initial models", columns, rows)


def _run_columns() -> list[Column]:
    return [
        words("model", "model"),
        numbers("labels", "fraction"),
        numbers("seed", "seed"),
        numbers("round", "round"),
    ]


def _run_cells(one: SelfTrained, number_of_round: int) -> list[Cell]:
    cell = one.cell
    return [
        word(cell.model),
        share(cell.fraction or 1.0),
        number(cell.seed),
        number(number_of_round),
    ]


def rounds_table(study: Study) -> Table:
    """Return every round: films, labels, how right they were, and the score that decided."""
    columns = [
        *_run_columns(),
        numbers("films", "films"),
        numbers("patients", "patients"),
        numbers("present", "present"),
        numbers("right", "present_right"),
        numbers("absent", "absent"),
        numbers("right", "absent_right"),
        numbers("validation AUROC", "validation_auroc"),
        words("kept", "kept"),
    ]
    rows = []
    for run in study.self_trained:
        score = number(run.rounds.start_auroc, "{:.4f}")
        rows.append([*_run_cells(run, 0), *[NOTHING] * 6, score, word("the start")])
        for each in run.rounds.rounds:
            mean, untrained = each.real_precision_mean, each.validation_auroc is None
            rows.append(
                [
                    *_run_cells(run, each.number),
                    number(each.films),
                    number(each.patients),
                    number(sum(finding.present for finding in each.findings.values())),
                    number(mean.present, "{:.1%}"),
                    number(sum(finding.absent for finding in each.findings.values())),
                    number(mean.absent, "{:.1%}"),
                    number(each.validation_auroc, "{:.4f}"),
                    word("yes" if each.kept else "not trained" if untrained else "no"),
                ]
            )
    return table("pseudo-label-rounds", "Every round", columns, rows)


def findings_table(study: Study) -> Table:
    """Return every finding of every round: thresholds, labels, precision and its target."""
    columns = [words("finding", "finding"), *_run_columns()]
    for side in ("present", "absent"):
        columns += [
            numbers(side, side),
            estimates("right", f"{side}_right"),
            numbers("wanted", f"{side}_wanted"),
            estimates("right, validation", f"{side}_validation"),
            numbers("threshold", f"{side}_threshold"),
        ]
    columns += [numbers("left open", "abstained"), words("why none", "reason")]
    rows = []
    rounds = [(run, each) for run in study.self_trained for each in run.rounds.rounds]
    for run, each in rounds:
        for name, finding in each.findings.items():
            cells = [word(name), *_run_cells(run, each.number)]
            for side in ("present", "absent"):
                cut, target = getattr(finding.cut, side), getattr(finding.wanted, side)
                cells += [
                    number(getattr(finding, side)),
                    _estimate(getattr(finding.real_precision, side)),
                    NOTHING if target is None else number(target, "{:.3f}"),
                    _estimate(getattr(finding.validation_precision, side)),
                    NOTHING if cut is None else number(cut, "{:.3f}"),
                ]
            cells += [number(finding.abstained), word(finding.reason or "-", "reason")]
            rows.append(cells)
    return table("pseudo-labels-by-finding", "Pseudo-labels of every finding", columns, rows)


def _estimate(one: Estimate | None) -> Cell:
    """Return a share of right labels; why there is none stands in a column of its own."""
    if one is None or one.value is None:
        return Cell("-", (None,) * 3)
    return estimate({**one.to_json(), "reason": None})


def labelled_table(study: Study) -> Table | None:
    """Return what self-trained models and their starts reach on the labelled test films, run by run."""
    columns = [
        words("model", "model"),
        numbers("labels", "fraction"),
        numbers("seed", "seed"),
        numbers("films", "films"),
    ]
    columns += [estimates("mean AUROC", "auroc_macro")]
    columns += [numbers(f"mean {title}", f"{measure}_macro") for measure, title in MEASURES.items()]
    starts = {str(one.cell.start) for one in study.self_trained} | {
        one.cell.model for one in study.self_trained
    }
    fractions = {one.cell.fraction for one in study.self_trained}
    rows = []
    for cell in study.record.chosen(group="main"):
        if cell.model not in starts or cell.fraction not in fractions:
            continue
        evaluation = study.evaluation(cell)
        if evaluation:
            rows.append(
                [
                    word(cell.model),
                    share(cell.fraction or 1.0),
                    number(cell.seed),
                    number(evaluation.films),
                    estimate(evaluation.auroc),
                    *(number(_mean(evaluation, measure), "{:.3f}") for measure in MEASURES),
                ]
            )
    return table("pseudo-labels-test", "On labelled test films", columns, rows) if rows else None


def _mean(evaluation: EvaluationRecord, measure: str) -> float | None:
    """Return the mean of a measure over the findings that are scored, None where there is none."""
    values = [
        getattr(evaluation.findings[name], measure).value for name in evaluation.findings_scored
    ]
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def agreement_table(study: Study) -> Table | None:
    """Return how every round's model agrees with the labels that it was given."""
    columns = [
        *_run_columns(),
        numbers("films with pseudo-labels", "films"),
        estimates("mean AUROC", "auroc_macro"),
    ]
    columns += [numbers(f"mean {title}", f"{measure}_macro") for measure, title in MEASURES.items()]
    rows = []
    for one in study.self_trained:
        for each in one.rounds.rounds:
            scores = each.on_pseudo_labels
            if scores is not None:
                means = [
                    number(getattr(scores, f"{measure}_macro"), "{:.3f}") for measure in MEASURES
                ]
                start = [*_run_cells(one, each.number), number(scores.films)]
                rows.append([*start, estimate(scores.auroc_macro), *means])
    return (
        table("pseudo-labels-agreement", "Agreement with pseudo-labels", columns, rows)
        if rows
        else None
    )
