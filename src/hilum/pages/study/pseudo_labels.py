"""Self-training on a study's page: scores by round, the pseudo-labels and their precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from hilum.counts import counted
from hilum.metrics.results import Estimate
from hilum.pages.charts.dots import Measured
from hilum.pages.charts.intervals import Level, levels
from hilum.pages.charts.pseudo_labels import (
    Right,
    ScoreCurve,
    Step,
    labels_added,
    rightness,
    scores_by_round,
)
from hilum.pages.study.pseudo_label_tables import (
    agreement_table,
    findings_table,
    labelled_table,
    rounds_table,
    self_training_table,
)
from hilum.pages.study.read import SelfTrained, Study
from hilum.pages.study.results import of, percent, shown
from hilum.pages.wording import formatted, listed
from hilum.workflows.study.analysis_record import ModelResult

SIDES = ("present", "absent")


def self_training_sections(study: Study) -> dict[str, Any]:
    """Return the sections on pseudo-labels by the name that the template uses; None where no model was self-trained."""
    if not study.self_trained:
        return {"self_training": None}
    first = study.self_trained[0].rounds
    rows = study.self_trained_rows
    fractions = sorted({run.cell.fraction or 1.0 for run in study.self_trained})
    by_fraction = [
        [run for run in study.self_trained if run.cell.fraction == fraction]
        for fraction in fractions
    ]
    sections = {
        "names": list(dict.fromkeys(run.cell.model for run in study.self_trained)),
        "starts": list(dict.fromkeys(str(run.cell.start) for run in study.self_trained)),
        "wanted": first.wanted,
        "truth": first.truth,
        "answers": [_answer(study, row) for row in rows],
        "table": self_training_table(study) if rows else None,
        "charts": [_charts(study, runs) for runs in by_fraction],
        "rounds": rounds_table(study),
        "findings": findings_table(study),
        "labelled": labelled_table(study),
        "agreement": agreement_table(study),
    }
    return {"self_training": sections}


def _answer(study: Study, row: ModelResult) -> str:
    """Return in a sentence what a self-trained model reached beside its initial model, and which rounds were kept."""
    runs = [run for run in study.self_trained if run.cell.id in row.cells]
    start = str(runs[0].cell.start)
    text = f"{row.model} with {percent(row.fraction)} of the labels"
    kept = [
        f"round {run.rounds.kept} of {len(run.rounds.rounds)}"
        + (f" (seed {run.cell.seed})" if len(runs) > 1 else "")
        for run in runs
        if run.rounds.kept
    ]
    if not kept:
        return f"{text}: no round was better on validation films, so the model is still the initial one."
    text += f": kept by validation films {'is' if len(kept) == 1 else 'are'} {listed(kept)}"
    without = [str(run.cell.seed) for run in runs if not run.rounds.kept]
    if without:
        text += f"; of seed {listed(without)} none, whose model is the initial one"
    comparison = study.compared_with_start(row)
    if comparison is None or comparison.auroc_macro.value is None:
        return f"{text}. It is not compared with {start}."
    change = formatted(comparison.auroc_macro, signed=True)
    ends = f", {change.interval}" if change.interval else ""
    verdict = shown(comparison.auroc_macro, start)
    return f"{text}. On test films {change.value}{ends} against {start}: {verdict}."


def _charts(study: Study, runs: Sequence[SelfTrained]) -> dict[str, Any]:
    """Return the charts of one fraction: all runs' scores, and the labels that first seeds added."""
    fraction = runs[0].cell.fraction or 1.0
    scores = []
    for run in runs:
        steps = [Step(0, run.rounds.start_auroc, kept=True)]
        steps += [
            Step(each.number, each.validation_auroc, each.kept)
            for each in run.rounds.rounds
            if each.validation_auroc is not None
        ]
        colour = study.names.index(run.cell.model) if run.cell.model in study.names else 0
        scores.append(ScoreCurve(f"{run.cell.model}, seed {run.cell.seed}", colour, steps))
    firsts = {run.cell.model: run for run in reversed(runs)}
    return {
        "fraction": fraction,
        "scores": scores_by_round(scores, "mean AUROC, validation"),
        "test": _test_chart(study, fraction),
        "models": [
            shown_labels(firsts[name]) for name in dict.fromkeys(run.cell.model for run in runs)
        ],
    }


def _test_chart(study: Study, fraction: float) -> Markup | None:
    """Draw what self-trained models and their starts reach on test films."""
    rows = {row.model: row for row in study.rows if row.fraction == fraction}
    names = [
        name
        for one in study.self_trained
        if one.cell.fraction == fraction
        for name in (one.cell.start, one.cell.model)
    ]
    rows_shown = [
        Level(
            name,
            study.names.index(name),
            of(rows[name].auroc_macro),
            f"{rows[name].auroc_macro.value:.3f}",
        )
        for name in dict.fromkeys(map(str, names))
        if name in rows and rows[name].auroc_macro.value is not None
    ]
    return levels(rows_shown, "mean AUROC, test", 0.02) if rows_shown else None


@dataclass(frozen=True)
class ShownLabels:
    """The labels that one run added: which run, their number by round, and how right those of one round were."""

    title: str
    added: Markup
    round: int
    charts: dict[str, Markup | None]
    """How right they were, of those called present and of those called absent; None where there are
    none."""


def shown_labels(run: SelfTrained) -> ShownLabels:
    """Return the charts of the labels that a run added; how right those are is shown of the round that counts."""
    added = [
        (
            f"round {each.number}",
            sum(finding.present for finding in each.findings.values()),
            sum(finding.absent for finding in each.findings.values()),
        )
        for each in run.rounds.rounds
    ]
    counts = run.shown_round
    charts: dict[str, Markup | None] = {}
    for side in SIDES:
        rows = [
            Right(
                finding=name,
                labels=getattr(finding, side),
                real=_measured(getattr(finding.real_precision, side)),
                validation=_measured(getattr(finding.validation_precision, side)),
                target=getattr(finding.wanted, side),
            )
            for name, finding in counts.findings.items()
        ]
        labelled = any(row.labels for row in rows)
        charts[side] = rightness(rows, f"right, of those labelled {side}") if labelled else None
    return ShownLabels(
        title=f"{run.cell.model}, seed {run.cell.seed}",
        added=labels_added(added),
        round=counts.number,
        charts=charts,
    )


def _measured(one: Estimate | None) -> Measured:
    return Measured(None) if one is None else Measured.of(one.value, one.interval)


def self_training_in_words(one: SelfTrained) -> str:
    """Return what the labels of a run came to, for its card."""
    if not one.rounds.kept:
        return (
            f"none: no round was better on validation films, so it is the model of {one.cell.start}"
        )
    sides = {side: getattr(one.shown_round.real_precision_mean, side) for side in SIDES}
    known = [
        f"{value:.0%} of those called {side}" for side, value in sides.items() if value is not None
    ]
    right = (
        f"right were {listed(known)}, in the mean over findings"
        if known
        else "how right they are is not known"
    )
    films = counted(one.shown_round.films, "film")
    return f"round {one.rounds.kept} of {len(one.rounds.rounds)}, with pseudo-labels on {films}; {right}"
