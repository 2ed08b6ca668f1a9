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
from hilum.workflows.pseudo_label.record import FindingRound, Round
from hilum.workflows.study.analysis_record import ModelResult

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
    rows = [_self_trained(study, row) for row in study.self_trained_rows]
    return table("pseudo-labels", "Self-trained models and their initial models", columns, rows)


def _self_trained(study: Study, row: ModelResult) -> list[Cell]:
    self_trained = [one for one in study.self_trained if one.cell.id in row.cells]
    start = str(self_trained[0].cell.start)
    before = next(
        (one for one in study.rows if (one.model, one.fraction) == (start, row.fraction)),
        None,
    )
    return [
        word(row.model),
        share(row.fraction),
        word(start),
        word(
            ", ".join(
                f"{one.rounds.kept or 'none'} of {len(one.rounds.rounds)}" for one in self_trained
            )
        ),
        estimate(before.auroc_macro if before else None),
        estimate(row.auroc_macro),
        *(
            SAME
            if study.is_its_start(row)
            else compared_cells(study.compared_with_start(row), start, row.model)
        ),
    ]


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
    rows = [row for one in study.self_trained for row in _rounds(one)]
    return table("pseudo-label-rounds", "Every round", columns, rows)


def _rounds(one: SelfTrained) -> list[list[Cell]]:
    score = number(one.rounds.start_auroc, "{:.4f}")
    begun = [*_run_cells(one, 0), *[NOTHING] * 6, score, word("the start")]
    return [begun, *([*_run_cells(one, each.number), *_round(each)] for each in one.rounds.rounds)]


def _round(one: Round) -> list[Cell]:
    mean = one.real_precision_mean
    return [
        number(one.films),
        number(one.patients),
        number(sum(finding.present for finding in one.findings.values())),
        number(mean.present, "{:.1%}"),
        number(sum(finding.absent for finding in one.findings.values())),
        number(mean.absent, "{:.1%}"),
        number(one.validation_auroc, "{:.4f}"),
        word("yes" if one.kept else "not trained" if one.validation_auroc is None else "no"),
    ]


def findings_table(study: Study) -> Table:
    """Return every finding of every round: thresholds, labels, and how right they were beside what was wanted."""
    sides = [
        column
        for side in ("present", "absent")
        for column in (
            numbers(side, side),
            estimates("right", f"{side}_right"),
            numbers("wanted", f"{side}_wanted"),
            estimates("right, validation", f"{side}_validation"),
            numbers("threshold", f"{side}_threshold"),
        )
    ]
    columns = [
        words("finding", "finding"),
        *_run_columns(),
        *sides,
        numbers("left open", "abstained"),
        words("why none", "reason"),
    ]
    rows = [
        [word(name), *_run_cells(one, each.number), *_finding(finding)]
        for one in study.self_trained
        for each in one.rounds.rounds
        for name, finding in each.findings.items()
    ]
    return table("pseudo-labels-by-finding", "Pseudo-labels of every finding", columns, rows)


def _finding(finding: FindingRound) -> list[Cell]:
    cells = [cell for side in ("present", "absent") for cell in _side(finding, side)]
    return [*cells, number(finding.abstained), word(finding.reason or "-", "reason")]


def _side(finding: FindingRound, side: str) -> list[Cell]:
    cut, target = getattr(finding.cut, side), getattr(finding.wanted, side)
    return [
        number(getattr(finding, side)),
        _estimate(getattr(finding.real_precision, side)),
        NOTHING if target is None else number(target, "{:.3f}"),
        _estimate(getattr(finding.validation_precision, side)),
        NOTHING if cut is None else number(cut, "{:.3f}"),
    ]


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
