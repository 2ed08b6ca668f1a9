"""What each section of a single run's page is filled with."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath, PureWindowsPath
from statistics import fmean
from typing import Any

from markupsafe import Markup

from hilum.counts import counted
from hilum.pages.charts.axes import NOT_AVAILABLE
from hilum.pages.charts.crop_grid import crop_picture
from hilum.pages.charts.dots import Measured, dots
from hilum.pages.charts.intervals import key
from hilum.pages.charts.roc import roc_chart
from hilum.pages.charts.svg import domain
from hilum.pages.read import Run
from hilum.pages.run.films import Curve, RunFilms, run_films
from hilum.pages.run.status import status
from hilum.pages.run.training_curves import (
    continued,
    has_band,
    monitor_charts,
    online_probe,
    training_charts,
    warnings,
)
from hilum.pages.wording import FormattedValue, difference, formatted, listed, rule_in_words
from hilum.training.run_folder import CROPS
from hilum.workflows.evaluate.record import ComparisonRecord, EvaluationRecord, SetScoresRecord
from hilum.workflows.pseudo_label.record import Rounds

MEASURES = {
    "auroc": "AUROC",
    "average_precision": "average precision",
    "precision": "precision",
    "recall": "recall",
    "specificity": "specificity",
    "f1": "F1",
    "accuracy": "accuracy",
}
"""Measure -> its column's title."""
RULES_OF_SETS = {
    "multi-class": "by the most probable class, the AUC over one class against the others",
    "multi-label": "at a probability of 0.5, both as means over the labels",
    "binary": "at a probability of 0.5",
}
"""Task of a MedMNIST set -> how its accuracy and AUC are counted."""
ABSOLUTE = re.compile(r"(?<![\w.~:/-])/(?:[^\s/:'\"]+/)+([^\s/:'\"]+)")
"""A path of this machine in a line."""


def run_sections(run: Run) -> dict[str, Any]:
    """Return everything that a run's page shows, by the names that its template uses."""
    films = run_films(run) if run.finished and run.evaluations else RunFilms()
    hashes = []
    for data in run.record.get("data", []):
        hashes.append((f"data, {data['source']}", str(data["fingerprint"])))
        hashes.append((f"split of {data['source']}", str(data["split"])))
    if run.finished:
        hashes.append(("weights", run.model.weights_sha256))
    return {
        "run": run,
        "name": run.path.resolve().name,
        "status": status(run),
        "measures": MEASURES,
        "warnings": [without_paths(line) for line in warnings(run)],
        "checks": len(run.named("health")),
        "monitored": run.command[0] == "pretrain",
        "training": training_charts(run),
        "has_band": has_band(run),
        "continued": continued(run),
        "monitor": monitor_charts(run),
        "probe": online_probe(run),
        "crops": crop_picture(run.crops, CROPS) if run.crops is not None else None,
        "films": films,
        "evaluations": [
            _evaluation(run, name, evaluation, films)
            for name, evaluation in run.evaluations.items()
        ],
        "never_called": run.model.never_called,
        "options": [(name, without_paths(value)) for name, value in leaves(run.options)],
        "hashes": hashes,
        "rounds": None if run.rounds is None else _rounds(run.rounds),
    }


def without_paths(line: Any) -> Any:
    """Return a line in which each absolute path is its last name.

    >>> without_paths("/data/films/store is gone"), without_paths("runs/moco")
    ('store is gone', 'runs/moco')
    """
    shortened = ABSOLUTE.sub(r"\1", str(line))
    return Markup(shortened) if isinstance(line, Markup) else shortened


def _rounds(rounds: Rounds) -> list[tuple[str, ...]]:
    """Return a row a round of pseudo-labels, the initial model first."""
    rows: list[tuple[str, ...]] = [("0", *["-"] * 5, f"{rounds.start_auroc:.4f}", "the start")]
    for one in rounds.rounds:
        cells = [(finding.present, finding.absent) for finding in one.findings.values()]
        present, absent = (sum(side) for side in zip(*cells, strict=True)) if cells else (0, 0)
        mean, score = one.real_precision_mean, one.validation_auroc
        labels = (
            f"{one.films:,}",
            f"{present:,}",
            _percentage(mean.present),
            f"{absent:,}",
            _percentage(mean.absent),
        )
        verdict = "yes" if one.kept else "not trained" if score is None else "no"
        rows.append((str(one.number), *labels, "-" if score is None else f"{score:.4f}", verdict))
    return rows


def _percentage(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def leaves(tree: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Return every option's full name and its value as text; of an absolute path the last name."""
    for name, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_plain, value)) or "-"
    if value in (None, {}):
        return "-"
    text = str(value)
    for kind in (PurePosixPath, PureWindowsPath):
        if kind(text).is_absolute():
            return kind(text).name or text
    return text


def _evaluation(
    run: Run, name: str, evaluation: EvaluationRecord, films: RunFilms
) -> dict[str, Any]:
    """Return an evaluation with its findings in the model's order; on file they are sorted by name."""
    findings = {
        finding: evaluation.findings[finding]
        for finding in run.model.findings
        if finding in evaluation.findings
    }
    series = [Measured.of(one.auroc.value, one.auroc.interval) for one in findings.values()]
    known = [value for one in series for value in one.values()]
    return {
        "name": name,
        "record": evaluation,
        "auroc": formatted(evaluation.auroc),
        "average_precision": formatted(evaluation.average_precision),
        "medmnist": _set_scores(evaluation.medmnist),
        "chart": dots(list(findings), [series], ["this model"], domain([*known, 0.4, 0.9], 0.1)),
        "rows": [
            (finding, one, _each_reason_once([formatted(getattr(one, name)) for name in MEASURES]))
            for finding, one in findings.items()
        ],
        "calibration": _calibration(evaluation),
        "key": key([rule_in_words(rule) for rule in _rules(evaluation)], first=1),
        "roc": _roc(evaluation, films.curves.get(name, {}), list(findings)),
        "roc_reason": films.curves_reason.get(name),
        "comparisons": [
            _comparison(other, comparison, list(findings))
            for other, comparison in run.comparisons.get(name, {}).items()
        ],
    }


def _each_reason_once(cells: Sequence[FormattedValue]) -> list[FormattedValue]:
    """Return a row's cells; a value that lacks for the reason of a cell before is a dash."""
    named: set[str] = set()
    shown = []
    for cell in cells:
        again = cell.reason in named
        named.update([cell.reason] if cell.reason else [])
        missing = cell.value == NOT_AVAILABLE
        shown.append(FormattedValue("-" if missing else cell.value) if again else cell)
    return shown


def _set_scores(scores: SetScoresRecord | None) -> dict[str, Any] | None:
    """Return a MedMNIST set's own accuracy and AUC, and how they are counted."""
    if scores is None:
        return None
    return {
        "accuracy": formatted(scores.accuracy),
        "auc": formatted(scores.auc),
        "rule": RULES_OF_SETS.get(scores.task, scores.task),
        "record": scores,
    }


def _rules(evaluation: EvaluationRecord) -> list[str]:
    points = (point for points in evaluation.operating_points.values() for point in points)
    return list(dict.fromkeys(point.rule for point in points))


def _roc(
    evaluation: EvaluationRecord, curves: Mapping[str, Curve], findings: Sequence[str]
) -> list[tuple[str, Markup, str]]:
    """Return each finding's ROC curve with its operating points, and its AUROC."""
    rules, charts = _rules(evaluation), []
    for name in findings:
        if name not in curves:
            continue
        marks = [
            (1 - point.specificity.value, point.sensitivity.value, rule_in_words(point.rule))
            for rule in rules
            for point in evaluation.operating_points.get(name, ())
            if point.rule == rule
            and point.specificity is not None
            and point.sensitivity is not None
            and point.specificity.value is not None
            and point.sensitivity.value is not None
        ]
        area = evaluation.findings[name].auroc
        label = (
            f"AUROC {area.value:.3f}" if area.value is not None else area.reason or "not available"
        )
        charts.append((name, roc_chart(curves[name], marks, name), label))
    return charts


def _calibration(evaluation: EvaluationRecord) -> dict[str, Any]:
    """Return the calibration error before and after in a sentence, with the findings that got worse."""
    record = evaluation.calibration
    calibrated = [one for one in record.findings.values() if one.calibrated] if record else []
    if not record or not calibrated:
        return {
            "text": "Not tested: no finding was calibrated, for lack of validation films or because of --no-calibrate.",
            "wrong": False,
        }
    before = fmean(one.ece_raw or 0.0 for one in calibrated)
    after = fmean(one.ece or 0.0 for one in calibrated)
    text = (
        f"Mean expected calibration error (ECE) of {counted(len(calibrated), 'calibrated finding')}: "
        f"{before:.3f} before and {after:.3f} after calibration on validation films."
    )
    worse = record.worsened()
    if after > before:
        text += " Calibration made the probabilities worse on these films."
    if worse:
        text += f" It raised the ECE of {listed(worse)}."
    left_out = [name for name, one in record.findings.items() if one.temperature is None]
    if left_out:
        text += f" Not calibrated: {listed(left_out)}."
    return {"text": text, "wrong": after > before}


def _comparison(
    other: str, comparison: ComparisonRecord, findings: Sequence[str]
) -> dict[str, Any]:
    """Return the difference to another run, over all findings and for each."""
    rows = []
    for name in [one for one in findings if one in comparison.findings]:
        one = comparison.findings[name]
        tested = one.difference.p_holm is not None
        verdict = "not tested" if not tested else "shown" if one.difference.shown else "not shown"
        cells = [f"{value:.3f}" if value is not None else "-" for value in (one.first, one.second)]
        change = formatted(one.difference, signed=True)
        rows.append((name, one.positive_patients, *cells, change, verdict))
    mean = comparison.auroc_macro
    if comparison.same_model:
        verdict = "Both are one model."
    elif mean.value is None:
        verdict = f"Mean AUROC: not tested: {mean.reason or 'no finding is scored'}."
    else:
        change = formatted(mean, signed=True)
        ends = f" ({change.interval})" if change.interval else ""
        excluded = mean.interval is not None and not mean.interval[0] <= 0 <= mean.interval[1]
        shown = (
            ""
            if mean.interval is None
            else ": a difference is shown"
            if excluded
            else ": no difference is shown"
        )
        if mean.interval is None:
            shown = ": not tested, there is no interval"
        verdict = f"Mean AUROC minus that of {other}: {difference(mean.value)}{ends}{shown}."
    return {"other": other, "record": comparison, "verdict": verdict, "rows": rows}
