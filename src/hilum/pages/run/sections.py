"""What each section of a single run's page is filled with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from hilum.pages.charts.crop_grid import crop_picture
from hilum.pages.charts.dots import Measured, dots
from hilum.pages.charts.svg import domain
from hilum.pages.read import Run
from hilum.pages.run.status import standing
from hilum.pages.run.training_curves import (
    continued,
    course,
    has_band,
    health,
    online_probe,
    warnings,
)
from hilum.pages.wording import macro, said
from hilum.training.run_folder import CROPS
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


def run_sections(run: Run) -> dict[str, Any]:
    """Return everything that a run's page shows, by the names that its template uses."""
    return {
        "run": run,
        "standing": standing(run),
        "measures": MEASURES,
        "warnings": warnings(run),
        "looks": len(run.named("health")),
        "course": course(run),
        "has_band": has_band(run),
        "continued": continued(run),
        "health": health(run),
        "probe": online_probe(run),
        "crops": crop_picture(run.crops, CROPS) if run.crops is not None else None,
        "evaluations": [
            _evaluation(name, told, run.model.get("findings", ()))
            for name, told in run.evaluations.items()
        ],
        "options": list(leaves(run.options)),
        "hashes": list(_hashes(run)),
        "rounds": None if run.rounds is None else _rounds(run.rounds),
    }


def _rounds(rounds: Rounds) -> list[tuple[str, ...]]:
    """Return a row a round of pseudo-labels in words, the start first."""
    rows: list[tuple[str, ...]] = [("0", *["-"] * 5, f"{rounds.start_auroc:.4f}", "the start")]
    for one in rounds.rounds:
        cells = [(finding.present, finding.absent) for finding in one.findings.values()]
        present, absent = (sum(side) for side in zip(*cells, strict=True)) if cells else (0, 0)
        mean, score = one.real_precision_mean, one.validation_auroc
        labels = (
            f"{one.films:,}",
            f"{present:,}",
            _share(mean.present),
            f"{absent:,}",
            _share(mean.absent),
        )
        verdict = "yes" if one.kept else "not trained" if score is None else "no"
        rows.append((str(one.number), *labels, "-" if score is None else f"{score:.4f}", verdict))
    return rows


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


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


def _evaluation(name: str, told: Mapping[str, Any], order: Sequence[str]) -> dict[str, Any]:
    """Return an evaluation with its findings in the model's order; on file they are sorted by name."""
    findings = {
        finding: told["findings"][finding] for finding in order if finding in told["findings"]
    }
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
    if run.finished:
        yield "weights", run.weights_hash()
