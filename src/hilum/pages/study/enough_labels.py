"""Have I enough labels, and would more labels or more films help? A section of a study's page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hilum.metrics.results import Estimate
from hilum.pages.charts.dots import Measured
from hilum.pages.charts.intervals import Level, key, levels
from hilum.pages.charts.learning_curve import Curve, learning_curves
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
from hilum.pages.wording import difference, listed
from hilum.workflows.study.analysis_record import CurveNumbers, LabelCurve, LengthComparison

LITTLE = 0.01
"""A gain in mean AUROC below which more labels bring little."""
OLD = (
    "Not computed: the study's numbers were written by an earlier version, or its runs do not record how many "
    "patients they were trained on. Delete analysis.json and run the study again, which keeps its runs."
)
NOTHING = Cell("-", (None, None, None))


def enough_label_sections(study: Study) -> dict[str, Any]:
    """Return what the page says of labels and films to be added, by the name that its template uses."""
    if not study.rows or study.analysis is None:
        return {"enough": None}
    curves = study.analysis.label_curves
    if not curves:
        return {"enough": {"missing": OLD}}
    shown = [curve for curve in curves if curve.chosen or curve.model == study.reference] or [
        *curves[:1]
    ]
    names = [curve.model for curve in shown]
    draws_known = any(count > 1 for curve in curves for count in curve.draws)
    others = len(curves) > len(shown)
    chosen = f"{listed([curve.model for curve in shown if curve.chosen])}, the start with the best validation AUROC, "
    answers = [answer for curve in shown for answer in label_answers(curve)]
    answers += [gap_answer(curve, study.reference) for curve in shown if curve.gaps]
    answers += film_answers(study.analysis.pretraining_lengths)
    finding_curve = next((curve for curve in shown if curve.chosen), shown[0])
    return {
        "enough": {
            "missing": "",
            "answers": answers,
            "key": key(study.names, shown=names),
            "chart": learning_curves([_drawn(study, curve) for curve in shown]),
            "shown": f"Drawn {'are' if len(names) > 1 else 'is'} "
            + (chosen if any(curve.chosen for curve in shown) else "")
            + (f"and {study.reference}" if study.reference in names else "")
            + ("; the table has all." if others else "."),
            "over": "test patients and draws" if draws_known else "test patients",
            "draws_known": draws_known,
            "has_forecast": any(curve.doubling.value is not None for curve in shown),
            "model": finding_curve.model,
            **_by_finding(finding_curve, study.names.index(finding_curve.model)),
            "table": curves_table(study, curves),
            "finding_table": findings_table(study, shown),
            "lengths": lengths_table(study.analysis.pretraining_lengths),
            "little": LITTLE,
        }
    }


def verdict(gain: Estimate) -> str:
    """Return in a word or two whether a gain is shown.

    >>> from hilum.metrics.intervals import Interval
    >>> verdict(Estimate(0.02, Interval(0.01, 0.03))), verdict(Estimate(0.0, Interval(-0.01, 0.004)))
    ('would help', 'little')
    >>> verdict(Estimate(0.02, Interval(-0.01, 0.05))), verdict(Estimate(None))
    ('not shown', 'cannot tell')
    """
    if gain.value is None or gain.interval is None:
        return "cannot tell"
    if gain.interval.high < LITTLE:
        return "little"
    return "would help" if gain.interval.low > 0 and gain.value >= LITTLE else "not shown"


def label_answers(curve: LabelCurve) -> list[tuple[str, str]]:
    """Return sentences on what more labels brought a model, and what twice as many would: (beginning, rest)."""
    sentences = []
    if curve.steps:
        step, (fewer, most) = curve.steps[-1], curve.patients[-2:]
        if step.value is None or step.interval is None:
            rest = "an interval of what more labels brought is not available."
        elif step.interval.low > 0:
            rest = f"brought {_with_ends(step)} in mean AUROC."
        else:
            rest = f"showed no gain: {_with_ends(step)} in mean AUROC."
        start = f"Measured, {curve.model}:"
        sentences.append((start, f"{most:,.0f} labelled patients in place of {fewer:,.0f} {rest}"))
    gain, twice = curve.doubling, f"{2 * curve.patients[-1]:,.0f} labelled patients"
    start = f"Forecast, {curve.model}:"
    if gain.value is None or gain.interval is None:
        reason = gain.reason or "cannot tell"
        return [*sentences, (start, f"what {twice} would bring: {reason}.")]
    amount = f"{_with_ends(gain)} in mean AUROC, beyond what was measured"
    rest = {
        "would help": f"more labels would probably help: {twice}, twice as many, would bring about {amount}.",
        "little": f"enough labels for this recipe: {twice}, twice as many, would bring little, about {amount}.",
        "not shown": f"whether {twice}, twice as many, would help is not shown: about {amount}.",
    }[verdict(gain)]
    return [*sentences, (start, rest)]


def gap_answer(curve: LabelCurve, reference: str) -> tuple[str, str]:
    """Return a sentence on where a start is above or below the reference."""
    parts: dict[str, list[str]] = {}
    for fraction, patients, gap in zip(curve.fractions, curve.patients, curve.gaps, strict=True):
        if gap.value is None or gap.interval is None:
            kind = "not compared"
        elif gap.interval.low > 0:
            kind = f"better than {reference}"
        elif gap.interval.high < 0:
            kind = f"worse than {reference}"
        else:
            kind = f"no difference to {reference} shown"
        ends = f": {_with_ends(gap)}" if gap.interval else ""
        parts.setdefault(kind, []).append(f"{percent(fraction)} ({patients:,.0f} patients){ends}")
    clauses = [f"{kind} with {'; '.join(shares)}" for kind, shares in parts.items()]
    return f"{curve.model}, by fraction of the labels:", f"{'. '.join(map(_capital, clauses))}."


def film_answers(lengths: Sequence[LengthComparison]) -> list[tuple[str, str]]:
    """Return sentences on what more films, or more epochs over them, gave a start."""
    if not lengths:
        words_of = (
            "not tried: every method was pretrained once, so this study has nothing to compare. A second model with "
            "another pretrain_epochs, or with init naming a run pretrained on other stores, would show it."
        )
        return [("More films without labels, or longer pretraining:", words_of)]
    sentences = []
    for one in lengths:
        more = one.after.films != one.before.films
        what = (
            f"{one.after.films:,} films in place of {one.before.films:,}"
            if more
            else f"{one.after.seen / one.after.films:.3g} epochs in place of {one.before.seen / one.before.films:.3g}"
        )
        shown: dict[str, list[str]] = {}
        for fraction, gap in zip(one.fractions, one.gaps, strict=True):
            if gap.value is None or gap.interval is None:
                kind = "not compared"
            elif gap.interval.low > 0 or gap.interval.high < 0:
                kind = "helped" if gap.value > 0 else "made it worse"
            else:
                kind = "no difference shown"
            ends = f": {_with_ends(gap)}" if gap.interval else ""
            shown.setdefault(kind, []).append(f"{percent(fraction)} of the labels{ends}")
        clauses = [f"{kind} with {'; '.join(shares)}" for kind, shares in shown.items()]
        start = "More films without labels:" if more else "Longer pretraining:"
        beginning = f"{one.first} against {one.second}, {what}. "
        sentences.append((start, f"{beginning}{'. '.join(map(_capital, clauses))}."))
    return sentences


def curves_table(study: Study, curves: Sequence[LabelCurve]) -> Table:
    """Return every model's measured values and its forecast."""
    columns = [
        words("model", "model"),
        words("kind", "kind"),
        numbers("labels", "fraction"),
        numbers("labelled patients", "patients"),
        numbers("draws", "draws"),
        estimates("mean AUROC", "auroc_macro"),
        estimates("gain over the row before", "gain"),
        words("more labels", "verdict"),
        estimates(f"minus {study.reference}", "difference"),
    ]
    rows = []
    for curve in curves:
        steps = [NOTHING, *(estimate(step, signed=True) for step in curve.steps)]
        gaps = [estimate(gap, signed=True) for gap in curve.gaps] or [NOTHING] * len(curve.at)
        each = zip(curve.fractions, curve.patients, curve.draws, curve.at, steps, gaps, strict=True)
        for fraction, patients, draws, at, step, gap in each:
            cells = [word(curve.model), word("measured"), share(fraction), number(round(patients))]
            rows.append([*cells, number(draws), estimate(at), step, Cell("-", (None,)), gap])
        ahead, twice = curve.doubling, number(round(2 * curve.patients[-1]))
        reached = None if ahead.value is None else (curve.at[-1].value or 0.0) + ahead.value
        cells = [word(curve.model), word("forecast", "soft"), Cell("-", (None,)), twice]
        value = Cell("-" if reached is None else f"{reached:.3f}", (reached, None, None))
        gain = estimate(ahead, signed=True)
        rows.append([*cells, Cell("-", (None,)), value, gain, word(verdict(ahead)), NOTHING])
    return table("enough-labels", "Mean AUROC by labelled patients", columns, rows)


def findings_table(study: Study, curves: Sequence[LabelCurve]) -> Table:
    """Return for each finding what more labels brought, and a forecast of what twice as many would."""
    columns = [
        words("finding", "finding"),
        words("model", "model"),
        estimates("AUROC, most labels", "auroc"),
        estimates("gain of the last step", "step"),
        estimates("forecast gain of twice as many", "doubling"),
        words("more labels", "verdict"),
        estimates(f"minus {study.reference}, fewest labels", "difference"),
    ]
    rows = []
    for finding in study.store.findings:
        for curve in curves:
            found = curve.findings.get(finding)
            if found is None:
                continue
            step = estimate(found.steps[-1], signed=True) if found.steps else NOTHING
            gap = estimate(found.gaps[0], signed=True) if found.gaps else NOTHING
            cells = [word(finding), word(curve.model), estimate(found.at[-1]), step]
            ahead = estimate(found.doubling, signed=True)
            rows.append([*cells, ahead, word(verdict(found.doubling)), gap])
    return table("enough-labels-by-finding", "More labels, by finding", columns, rows)


def lengths_table(lengths: Sequence[LengthComparison]) -> Table | None:
    """Return what longer pretraining or more films gave; None where it was not tried."""
    columns = [
        words("model", "model"),
        words("minus", "second"),
        numbers("films", "films"),
        numbers("instead of", "films_before"),
        numbers("films seen in all epochs", "seen"),
        numbers("instead of", "seen_before"),
        numbers("labels", "fraction"),
        estimates("difference in mean AUROC", "difference"),
    ]
    rows = [
        [
            word(one.first),
            word(one.second),
            number(one.after.films),
            number(one.before.films),
            number(one.after.seen),
            number(one.before.seen),
            share(fraction),
            estimate(gap, signed=True),
        ]
        for one in lengths
        for fraction, gap in zip(one.fractions, one.gaps, strict=True)
    ]
    title = "Longer pretraining, or pretraining on more films"
    return table("enough-films", title, columns, rows) if rows else None


def _by_finding(curve: LabelCurve, colour: int) -> dict[str, Any]:
    """Return a chart of the forecast of each finding; of what the last step brought where there is none."""
    if not curve.steps:
        return {"by_finding": "", "finding_title": "", "finding_words": ""}
    ahead = any(found.doubling.value is not None for found in curve.findings.values())
    levels_of = [_level(name, found, ahead, colour) for name, found in curve.findings.items()]
    if not levels_of:
        return {"by_finding": "", "finding_title": "", "finding_words": ""}
    step = f"{curve.patients[-1]:,.0f} labelled patients in place of {curve.patients[-2]:,.0f}"
    return {
        "by_finding": levels(levels_of, "gain in AUROC", 0.05, 0.0, "{:+.2f}"),
        "finding_title": "Twice as many labels, by finding: a forecast"
        if ahead
        else "What the last step brought, by finding",
        "finding_words": "Forecast of the gain in AUROC from twice the most labelled patients."
        if ahead
        else f"Measured: {step}.",
    }


def _level(name: str, found: CurveNumbers, ahead: bool, colour: int) -> Level:
    gain = found.doubling if ahead else found.steps[-1]
    if ahead:
        return Level(name, colour, of(gain), verdict(gain))
    shown = gain.interval is not None and (gain.interval.low > 0 or gain.interval.high < 0)
    return Level(name, colour, of(gain), "shown" if shown else "not shown")


def _drawn(study: Study, curve: LabelCurve) -> Curve:
    points = [(patients, of(at)) for patients, at in zip(curve.patients, curve.at, strict=True)]
    ahead, last = curve.doubling, curve.at[-1].value
    forecast = Measured(None)
    if ahead.value is not None and last is not None:
        ends = None if ahead.interval is None else [last + end for end in ahead.interval]
        forecast = Measured.of(last + ahead.value, ends)
    return Curve(curve.model, study.names.index(curve.model), points, forecast)


def _with_ends(gain: Estimate) -> str:
    """Return a difference with its interval.

    >>> from hilum.metrics.intervals import Interval
    >>> _with_ends(Estimate(0.02, Interval(0.01, 0.03)))
    '+0.020 [+0.010 to +0.030]'
    """
    value = difference(gain.value or 0.0)
    if gain.interval is None:
        return value
    low, high = map(difference, gain.interval)
    return f"{value} [{low} to {high}]"


def _capital(words_of: str) -> str:
    return words_of[:1].upper() + words_of[1:]
