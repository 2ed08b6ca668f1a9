"""Where the models look, on a study's page: a gallery of right and wrong calls, and localisation in numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from markupsafe import Markup

from hilum.errors import RunError
from hilum.pages.charts.dots import Measured
from hilum.pages.charts.pictures import as_jpeg, outline
from hilum.pages.charts.pointing_hits import HitRow, hits_chart
from hilum.pages.read import bytes_of, read_json
from hilum.pages.study.gallery_row import Row
from hilum.pages.tables import Table, estimate, estimates, number, numbers, table, word, words
from hilum.pages.wording import NO_DIFFERENCE, listed, said
from hilum.workflows.study.gallery import SUMMARY
from hilum.workflows.study.record import StudyRecord

CONTROL = "random weights"
VIEWS = {"PA": "PA", "AP": "AP", "LATERAL": "lateral"}


@dataclass(frozen=True)
class Shown:
    """A film of the gallery: its pictures, the finding it is shown for, and all that the model says of it."""

    picture: str
    overlay: str
    outline: str
    """The finding's outline as an SVG path, empty where its place is not known or it is not
    there."""
    finding: str
    outcome: str
    view: str
    rows: list[Row]
    called: list[str]
    missed: list[str]
    false_calls: list[str]

    @property
    def row(self) -> Row:
        """The line of the finding that the film is shown for."""
        return next(row for row in self.rows if row.finding == self.finding)


@dataclass(frozen=True)
class Gallery:
    """Films of one model, and the rule that chose them."""

    model: str
    fraction: float
    rule: str
    layer: str
    films: list[Shown]

    @property
    def outlined(self) -> bool:
        """Whether any film shows where its finding truly lies."""
        return any(film.outline for film in self.films)


@dataclass(frozen=True)
class Where:
    """Localisation in numbers, or the reason why there are none."""

    reason: str | None
    told: Mapping[str, Any]
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
    where = _where(record)
    tables = [one for one in (where.models, where.findings) if one] if where else []
    return {"gallery": _gallery(record), "localisation": where, "localisation_tables": tables}


def _gallery(record: StudyRecord) -> Gallery | None:
    path = record.explained / SUMMARY
    if not path.is_file():
        return None
    told = read_json(path)
    try:
        films = [_shown(record.explained, entry) for entry in told["films"]]
        return Gallery(told["model"], told["fraction"], told["rule"], told["layer"], films)
    except (KeyError, TypeError, StopIteration) as error:
        raise _damaged(path) from error


def _shown(folder: Path, entry: Mapping[str, Any]) -> Shown:
    pictures = entry["pictures"]
    rows = [
        Row(row["finding"], row["probability"], row["threshold"], row["called"], row["present"])
        for row in entry["findings"]
    ]
    return Shown(
        picture=_picture(folder, pictures["film"]),
        overlay=_picture(folder, pictures["overlay"]),
        outline=_outline(folder, pictures["mask"]),
        finding=entry["finding"],
        outcome=entry["outcome"],
        view=VIEWS.get(str(entry["view"]), "view not stated"),
        rows=rows,
        called=entry["called"],
        missed=entry["missed"],
        false_calls=entry["false_calls"],
    )


def _picture(folder: Path, name: str) -> str:
    path = folder / Path(name).name  # nothing outside the gallery's folder
    return as_jpeg(bytes_of(path), str(path))


def _outline(folder: Path, name: str | None) -> str:
    if name is None:
        return ""
    data = np.frombuffer(bytes_of(folder / Path(name).name), np.uint8)
    mask = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE) if len(data) else None
    return "" if mask is None else outline(np.asarray(mask) > 0)


def _where(record: StudyRecord) -> Where | None:
    if not record.localisation.is_file():
        return None
    told = read_json(record.localisation)
    try:
        scored = [one for one in told["models"] if one["reason"] is None]
        if told["reason"] is not None or not scored:
            return Where(told["reason"] or "no model has heatmaps.", told)
        return Where(
            reason=None,
            told=told,
            verdict=verdict(scored[0], told["chance"]["overall"]["value"]),
            models=_models(told["models"]),
            findings=_findings(told, scored[0]),
            chart=_chart(told, scored[0]),
            best=scored[0]["model"],
            stand_ins=tuple(_stand_ins(told)),
        )
    except (KeyError, TypeError) as error:
        raise _damaged(record.localisation) from error


def verdict(model: Mapping[str, Any], chance: float | None) -> str:
    """Return in words what the paired difference of a model's hit rate to its control shows, and what chance hits."""
    mine, control = (one["hit_rate"]["overall"] for one in (model, model["control"]))
    change = model["difference"]["hit_rate"]["overall"]
    if mine["value"] is None:
        return f"The hit rate is not available: {mine['reason']}."
    rates = (
        f"The maps of {model['model']} point at the finding in {mine['value']:.1%} of cases, those of {CONTROL} in "
        f"{control['value']:.1%}"
    )
    habit = model["habit"]["overall"]["value"]
    lot = (
        ""
        if chance is None or habit is None
        else (
            f" A point drawn by lot hits in {chance:.1%}, and the map of another patient with the same finding in "
            f"{habit:.1%}: what pointing at the usual place gives."
        )
    )
    ends = change["interval"]
    if not ends:
        return f"{rates}.{lot}"
    if ends[0] <= 0 <= ends[1]:
        return f"{rates}: {NO_DIFFERENCE}.{lot}"
    times = (
        f"{mine['value'] / control['value']:.1f} times as often, "
        if control["value"] and ends[0] > 0
        else ""
    )
    told = said(change["value"], ends, signed=True)
    return f"{rates}: {times}a difference of {told.value} ({told.interval}).{lot}"


def _models(models: list[Mapping[str, Any]]) -> Table:
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
        control, change = one.get("control", {}), one.get("difference", {})
        cells = [word(one["model"], small=one["reason"] or ""), word(one["backbone"])]
        for name, more in (("hit_rate", "beyond_chance"), ("iou", "")):
            cells += [estimate(_overall(found.get(name))) for found in (one, control)]
            cells.append(estimate(_overall(change.get(name)), signed=True))
            cells += [estimate(_overall(one.get(more)), signed=True)] if more else []
        rows.append(cells)
    return table("localisation", "Where the models look", columns, rows)


def _findings(told: Mapping[str, Any], model: Mapping[str, Any]) -> Table:
    columns = [
        words("finding", "finding"),
        numbers("films", "films"),
        estimates("share of the film", "area"),
        estimates("hit rate", "hit_rate"),
        estimates(CONTROL, "control_hit_rate"),
        estimates("difference", "hit_rate_difference"),
        estimates("another's map", "habit"),
        estimates("IoU", "iou"),
        estimates(CONTROL, "control_iou"),
    ]
    rows = [
        [
            word(name),
            number(told["maps"][name]),
            estimate(told["chance"]["findings"][name]),
            estimate(hit),
            estimate(model["control"]["hit_rate"]["findings"][name]),
            estimate(model["difference"]["hit_rate"]["findings"][name], signed=True),
            estimate(model["habit"]["findings"][name]),
            estimate(model["iou"]["findings"][name]),
            estimate(model["control"]["iou"]["findings"][name]),
        ]
        for name, hit in _by_finding(told, model)
    ]
    return table(
        "localisation-findings", f"Where {model['model']} looks, by finding", columns, rows
    )


def _chart(told: Mapping[str, Any], model: Mapping[str, Any]) -> Markup:
    control = model["control"]["hit_rate"]["findings"]
    rows = [
        HitRow(
            name,
            _measured(hit),
            _measured(control[name]),
            told["chance"]["findings"][name]["value"],
        )
        for name, hit in _by_finding(told, model)
    ]
    return hits_chart(rows, model["model"], CONTROL)


def _by_finding(
    told: Mapping[str, Any], model: Mapping[str, Any]
) -> list[tuple[str, Mapping[str, Any]]]:
    """The model's hit rates, highest first."""
    found = model["hit_rate"]["findings"]
    return sorted(
        ((name, found[name]) for name in told["maps"]), key=lambda one: -(one[1]["value"] or 0.0)
    )


def _measured(told: Mapping[str, Any]) -> Measured:
    return Measured.of(told["value"], told["interval"])


def _overall(told: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    return None if told is None else told["overall"]


def _stand_ins(told: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each finding that other findings' maps were scored for."""
    return [
        f"{name} is no finding of these models: its places are compared with the map of the most probable of "
        f"{listed(list(names))}"
        for name, names in told["truth"]["stand_ins"].items()
    ]


def _damaged(path: Path) -> RunError:
    return RunError(
        f"{path} is damaged: delete it and run the study again, which keeps its finished runs."
    )
