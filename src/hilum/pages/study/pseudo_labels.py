"""Self-training on a study's page: scores by round, the pseudo-labels and their precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

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
from hilum.pages.wording import counted, formatted, listed
from hilum.workflows.study.analysis_record import ModelResult

SIDES = ("present", "absent")


def self_training_sections(study: Study) -> dict[str, Any]:
    """Return the sections on pseudo-labels by the name that the template uses; None where no model was self-trained."""
    return {"self_training": _self_training(study) if study.self_trained else None}


def _self_training(study: Study) -> dict[str, Any]:
    first = study.self_trained[0].rounds
    rows = study.self_trained_rows
    return {
        "names": list(dict.fromkeys(one.cell.model for one in study.self_trained)),
        "starts": list(dict.fromkeys(str(one.cell.start) for one in study.self_trained)),
        "wanted": first.wanted,
        "truth": first.truth,
        "answers": [_answer(study, row) for row in rows],
        "table": self_training_table(study) if rows else None,
        "charts": [_charts(study, together) for together in _together(study)],
        "rounds": rounds_table(study),
        "findings": findings_table(study),
        "labelled": labelled_table(study),
        "agreement": agreement_table(study),
    }


def _answer(study: Study, row: ModelResult) -> str:
    """Return in a sentence what a self-trained model reached beside its initial model, and which rounds were kept."""
    self_trained = [one for one in study.self_trained if one.cell.id in row.cells]
    comparison, start = study.compared_with_start(row), str(self_trained[0].cell.start)
    text = f"{row.model} with {percent(row.fraction)} of the labels: {_kept(self_trained)}."
    if not any(one.rounds.kept for one in self_trained):
        return text
    if comparison is None or comparison.auroc_macro.value is None:
        return f"{text} It is not compared with {start}."
    change = formatted(comparison.auroc_macro, signed=True)
    ends = f", {change.interval}" if change.interval else ""
    verdict = shown(comparison.auroc_macro, start)
    return f"{text} On test films {change.value}{ends} against {start}: {verdict}."


def _kept(self_trained: Sequence[SelfTrained]) -> str:
    """Return which rounds validation films kept, over the seeds."""
    if not any(one.rounds.kept for one in self_trained):
        return "no round was better on validation films, so the model is still the initial one"
    parts = [
        f"round {one.rounds.kept} of {len(one.rounds.rounds)}"
        + (f" (seed {one.cell.seed})" if len(self_trained) > 1 else "")
        for one in self_trained
        if one.rounds.kept
    ]
    text = f"kept by validation films {'is' if len(parts) == 1 else 'are'} {listed(parts)}"
    none = [str(one.cell.seed) for one in self_trained if not one.rounds.kept]
    return text + (f"; of seed {listed(none)} none, whose model is the initial one" if none else "")


def _together(study: Study) -> list[list[SelfTrained]]:
    """Return the self-trained runs of one fraction of the labels together."""
    fractions = sorted({one.cell.fraction or 1.0 for one in study.self_trained})
    return [
        [one for one in study.self_trained if one.cell.fraction == fraction]
        for fraction in fractions
    ]


def _charts(study: Study, self_trained: Sequence[SelfTrained]) -> dict[str, Any]:
    """Return the charts of one share: all runs' scores, then of every model's first seed the labels that it added."""
    fraction = self_trained[0].cell.fraction or 1.0
    firsts = {one.cell.model: one for one in reversed(self_trained)}
    return {
        "fraction": fraction,
        "scores": scores_by_round(
            [_curve(study, one) for one in self_trained], "mean AUROC, validation"
        ),
        "test": _test_chart(study, fraction),
        "models": [
            shown_labels(firsts[name])
            for name in dict.fromkeys(one.cell.model for one in self_trained)
        ],
    }


def _curve(study: Study, one: SelfTrained) -> ScoreCurve:
    start = Step(0, one.rounds.start_auroc, kept=True)
    rounds = [
        Step(each.number, each.validation_auroc, each.kept)
        for each in one.rounds.rounds
        if each.validation_auroc is not None
    ]
    colour = study.names.index(one.cell.model) if one.cell.model in study.names else 0
    return ScoreCurve(f"{one.cell.model}, seed {one.cell.seed}", colour, [start, *rounds])


def _test_chart(study: Study, fraction: float) -> Markup | None:
    """Draw what self-trained models and their starts reach on test films."""
    rows = {row.model: row for row in study.rows if row.fraction == fraction}
    names = [
        name
        for one in study.self_trained
        if one.cell.fraction == fraction
        for name in (one.cell.start, one.cell.model)
    ]
    found = [
        Level(
            name,
            study.names.index(name),
            of(rows[name].auroc_macro),
            f"{rows[name].auroc_macro.value:.3f}",
        )
        for name in dict.fromkeys(map(str, names))
        if name in rows and rows[name].auroc_macro.value is not None
    ]
    return levels(found, "mean AUROC, test", 0.02) if found else None


@dataclass(frozen=True)
class ShownLabels:
    """The labels that one run added: which run, their number by round, and how right those of one round were."""

    title: str
    added: Markup
    round: int
    charts: dict[str, Markup | None]
    """How right they were, of those called present and of those called absent; None where there are
    none."""


def shown_labels(one: SelfTrained) -> ShownLabels:
    """Return the charts of the labels that a run added; how right those are is shown of the round that counts."""
    rounds = [
        (
            f"round {each.number}",
            sum(finding.present for finding in each.findings.values()),
            sum(finding.absent for finding in each.findings.values()),
        )
        for each in one.rounds.rounds
    ]
    counts = one.shown_round
    rows = {
        side: [_right(name, finding, side) for name, finding in counts.findings.items()]
        for side in SIDES
    }
    return ShownLabels(
        title=f"{one.cell.model}, seed {one.cell.seed}",
        added=labels_added(rounds),
        round=counts.number,
        charts={side: _rightness(rows[side], side) for side in SIDES},
    )


def _rightness(rows: Sequence[Right], side: str) -> Markup | None:
    return (
        rightness(rows, f"right, of those labelled {side}")
        if any(row.labels for row in rows)
        else None
    )


def _right(name: str, finding: Any, side: str) -> Right:
    return Right(
        finding=name,
        labels=getattr(finding, side),
        real=_measured(getattr(finding.real_precision, side)),
        validation=_measured(getattr(finding.validation_precision, side)),
        target=getattr(finding.wanted, side),
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
