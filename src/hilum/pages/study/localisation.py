"""Localisation on a study's page: do the heatmaps point at the finding, in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from hilum.errors import RunError
from hilum.metrics.results import Estimate
from hilum.pages.charts.dots import Measured
from hilum.pages.charts.pointing_hits import HitRow, hits_chart
from hilum.pages.gallery import read_gallery
from hilum.pages.read import read_json
from hilum.pages.tables import Table, estimate, estimates, number, numbers, table, word, words
from hilum.pages.wording import NO_DIFFERENCE, formatted, listed
from hilum.workflows.study.localisation_record import (
    LocalisationRecord,
    MapDifferences,
    MapScores,
    ModelLocalisation,
)
from hilum.workflows.study.record import StudyRecord

CONTROL = "random weights"


@dataclass(frozen=True)
class Localisation:
    """Localisation in numbers, or the reason why there are none."""

    reason: str | None
    record: LocalisationRecord
    verdict: str = ""
    models: Table | None = None
    findings: Table | None = None
    chart: Markup | None = None
    best: str = ""
    stand_ins: tuple[str, ...] = ()


def gallery_sections(record: StudyRecord) -> dict[str, Any]:
    """Return the gallery and the localisation of a study by the names that ``study_gallery.html`` uses.

    Gallery and localisation are None where they were not made.

    Raises:
        RunError: A file of them is damaged.
        DataError: A picture is missing.
    """
    scores = _localisation(record)
    tables = [one for one in (scores.models, scores.findings) if one] if scores else []
    remedy = "delete it and run the study again, which keeps its finished runs"
    return {
        "gallery": read_gallery(record.explained, remedy),
        "localisation": scores,
        "localisation_tables": tables,
    }


def _localisation(study: StudyRecord) -> Localisation | None:
    path = study.localisation
    if not path.is_file():
        return None
    try:
        record = LocalisationRecord.from_json(read_json(path))
        scored = [one for one in record.models if one.reason is None]
        if record.reason is not None or not scored:
            return Localisation(record.reason or "no model has heatmaps.", record)
        best = scored[0]
        return Localisation(
            reason=None,
            record=record,
            verdict=verdict(best, record.chance.overall.value if record.chance else None),
            models=_models(record.models),
            findings=_findings(record, best),
            chart=_chart(record, best),
            best=best.model,
            # Findings that the models do not have, scored by the maps of others.
            stand_ins=tuple(
                f"{name} is no finding of these models: its annotations are compared with the map of the most "
                f"probable of {listed(names)}"
                for name, names in (record.truth.stand_ins if record.truth else {}).items()
            ),
        )
    except (ValueError, KeyError, AttributeError) as error:
        raise RunError(
            f"{path} is damaged: delete it and run the study again, which keeps its finished runs."
        ) from error


def verdict(model: ModelLocalisation, chance: float | None) -> str:
    """Return in words what a model's hit rate minus its control's shows, and the hit rate of chance."""
    scores, control, change = _scored(model)
    mine, random = scores.hit_rate.overall, control.hit_rate.overall
    if mine.value is None:
        return f"The hit rate is not available: {mine.reason}."
    rates = (
        f"The maps of {model.model} point at the finding in {mine.value:.1%} of cases, those of {CONTROL} in "
        f"{random.value:.1%}"
    )
    habit = model.habit.overall.value if model.habit else None
    by_chance = (
        ""
        if chance is None or habit is None
        else f" A random point hits in {chance:.1%}, and the map of another patient with the same finding in "
        f"{habit:.1%}: the hit rate of pointing at the usual location."
    )
    ends = change.hit_rate.overall.interval
    if not ends:
        return f"{rates}.{by_chance}"
    if ends[0] <= 0 <= ends[1]:
        return f"{rates}: {NO_DIFFERENCE}.{by_chance}"
    times = (
        f"{mine.value / random.value:.1f} times as often, " if random.value and ends[0] > 0 else ""
    )
    text = formatted(change.hit_rate.overall, signed=True)
    return f"{rates}: {times}a difference of {text.value} ({text.interval}).{by_chance}"


def _scored(model: ModelLocalisation) -> tuple[MapScores, MapScores, MapDifferences]:
    """Return a scored model's scores, those of its control and the difference.

    Raises:
        ValueError: One is missing.
    """
    hits, overlap, control, change = model.hit_rate, model.iou, model.control, model.difference
    if hits is None or overlap is None or control is None or change is None:
        raise ValueError(f"{model.model} has no scores")
    return MapScores(hits, overlap), control, change


def _models(models: Sequence[ModelLocalisation]) -> Table:
    columns = [
        words("model", "model"),
        words("network", "network"),
        estimates("hit rate", "hit_rate"),
        estimates(CONTROL, "control_hit_rate"),
        estimates("difference", "hit_rate_difference"),
        estimates("minus chance", "hit_rate_beyond_chance"),
        estimates("IoU", "iou"),
        estimates(CONTROL, "control_iou"),
        estimates("difference", "iou_difference"),
    ]
    rows = []
    for one in models:
        control, change = one.control, one.difference
        rows.append(
            [
                word(one.model, small=one.reason or ""),
                word(one.backbone),
                estimate(one.hit_rate.overall if one.hit_rate else None),
                estimate(control.hit_rate.overall if control else None),
                estimate(change.hit_rate.overall if change else None, signed=True),
                estimate(one.beyond_chance.overall if one.beyond_chance else None, signed=True),
                estimate(one.iou.overall if one.iou else None),
                estimate(control.iou.overall if control else None),
                estimate(change.iou.overall if change else None, signed=True),
            ]
        )
    return table("localisation", "Localisation by heatmaps", columns, rows)


def _findings(record: LocalisationRecord, model: ModelLocalisation) -> Table:
    columns = [
        words("finding", "finding"),
        numbers("films", "films"),
        estimates("fraction of the film", "area"),
        estimates("hit rate", "hit_rate"),
        estimates(CONTROL, "control_hit_rate"),
        estimates("difference", "hit_rate_difference"),
        estimates("another's map", "habit"),
        estimates("IoU", "iou"),
        estimates(CONTROL, "control_iou"),
    ]
    scores, control, change = _scored(model)
    chance = record.chance.findings if record.chance else {}
    rows = [
        [
            word(name),
            number(record.maps[name]),
            estimate(chance.get(name)),
            estimate(hit),
            estimate(control.hit_rate.findings[name]),
            estimate(change.hit_rate.findings[name], signed=True),
            estimate(model.habit.findings[name] if model.habit else None),
            estimate(scores.iou.findings[name]),
            estimate(control.iou.findings[name]),
        ]
        for name, hit in _by_hit_rate(record, scores)
    ]
    return table(
        "localisation-findings",
        f"Localisation by heatmaps of {model.model}, by finding",
        columns,
        rows,
    )


def _chart(record: LocalisationRecord, model: ModelLocalisation) -> Markup:
    scores, control, _ = _scored(model)
    chance = record.chance.findings if record.chance else {}
    rows = [
        HitRow(
            name,
            Measured.of(hit.value, hit.interval),
            Measured.of(
                control.hit_rate.findings[name].value, control.hit_rate.findings[name].interval
            ),
            chance[name].value,
        )
        for name, hit in _by_hit_rate(record, scores)
    ]
    return hits_chart(rows, model.model, CONTROL)


def _by_hit_rate(record: LocalisationRecord, scores: MapScores) -> list[tuple[str, Estimate]]:
    """Return the model's hit rates, highest first."""
    rates = [(name, scores.hit_rate.findings[name]) for name in record.maps]
    return sorted(rates, key=lambda rate: -(rate[1].value or 0.0))
