"""What each section of a single run's page is filled with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from hilum.report.charts import Line, Measured, curves, dots
from hilum.report.read import Run
from hilum.report.svg import domain
from hilum.report.wording import macro, said

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


def run_sections(run: Run) -> dict[str, Any]:
    """Return everything that a run's page shows, by the names that its template uses."""
    validations = [(event["step"], event["score"]) for event in run.validations if event["score"] is not None]
    losses = [(step["step"], step["loss"]) for step in run.steps if step["loss"] is not None]
    chance = run.chance
    return {
        "run": run,
        "measures": MEASURES,
        "loss": curves(
            [Line("loss", 0, losses)], "step", "loss", ("chance", chance) if chance else None, _step(losses)
        ),
        "validation": curves([Line("validation", 0, validations)], "step", "mean AUROC, validation", ("chance", 0.5))
        if validations
        else None,
        "evaluations": [_evaluation(name, told, run.model["findings"]) for name, told in run.evaluations.items()],
        "options": list(leaves(run.options)),
        "hashes": list(_hashes(run)),
    }


def leaves(tree: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Return every option's full name and its value in words."""
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    return "-" if value in (None, {}) else str(value)


def _step(points: list[tuple[int, float]]) -> float:
    """Return how fine the loss axis is: losses of classifiers lie below 1, those of pretraining above."""
    return 1.0 if max((loss for _, loss in points), default=0.0) > 1.5 else 0.1


def _evaluation(name: str, told: Mapping[str, Any], order: Sequence[str]) -> dict[str, Any]:
    """Return an evaluation with its findings in the model's order; on file they are sorted by name."""
    findings = {finding: told["findings"][finding] for finding in order if finding in told["findings"]}
    estimates = {finding: about["auroc"] for finding, about in findings.items()}
    series = [Measured.of(one["value"], one["interval"]) for one in estimates.values()]
    known = [value for one in series for value in one.values()]
    return {
        "name": name,
        "told": told,
        "auroc": macro(told),
        "average_precision": macro(told, "average_precision_macro"),
        "chart": _dots(list(findings), series, known),
        "rows": [(finding, about, _cells(about)) for finding, about in findings.items()],
    }


def _dots(findings: list[str], series: list[Measured], known: list[float]) -> Markup:
    return dots(findings, [series], ["this model"], domain([*known, 0.4, 0.9], 0.1))


def _cells(about: Mapping[str, Any]) -> list[Any]:
    estimates = [about[measure] for measure in MEASURES]
    return [said(one["value"], one["interval"], one["reason"]) for one in estimates]


def _hashes(run: Run) -> Iterator[tuple[str, str]]:
    for data in run.record.get("data", []):
        yield f"data, {data['source']}", str(data["fingerprint"])
        yield f"split of {data['source']}", str(data["split"])
    yield "weights", run.weights_hash()
