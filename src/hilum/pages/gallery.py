"""A gallery of right and wrong calls with heatmaps, for a study's page and a run's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hilum.errors import RunError
from hilum.pages.charts.pictures import as_jpeg, outline
from hilum.pages.read import bytes_of, read_json
from hilum.pages.wording import told_apart
from hilum.workflows.study.gallery import FILES, SUMMARY

VIEWS = {"PA": "PA", "AP": "AP", "LATERAL": "lateral"}


@dataclass(frozen=True)
class Row:
    """One line of a film's table: a finding with its probability, threshold, call and label."""

    finding: str
    probability: float
    threshold: float | None
    called: bool
    present: bool | None

    @property
    def outcome(self) -> str:
        """found, missed, wrongly called, or nothing where it is rightly not called or not known."""
        if self.present is None:
            return ""
        if self.present:
            return "found" if self.called else "missed"
        return "wrongly called" if self.called else ""

    @property
    def numbers(self) -> tuple[str, str]:
        """Probability and threshold, with as many decimals as it takes to tell them apart."""
        return told_apart(self.probability, self.threshold)


@dataclass(frozen=True)
class Shown:
    """A film of the gallery: its pictures, the finding it is shown for, and the model's output."""

    picture: str
    overlay: str
    outline: str
    """The finding's outline as an SVG path, empty where its location is not known or it is absent."""
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
        """Whether any film shows where its finding is."""
        return any(film.outline for film in self.films)


def read_gallery(folder: Path, remedy: str) -> Gallery | None:
    """Return the gallery of a folder, None where there is none.

    Raises:
        RunError: It is damaged; the line ends with the remedy.
        DataError: A picture is missing.
    """
    path = folder / SUMMARY
    if not path.is_file():
        return None
    content = read_json(path)
    try:
        hashes = content.get(FILES)
        films = [_shown(folder, entry, hashes) for entry in content["films"]]
        return Gallery(
            content["model"], content["fraction"], content["rule"], content["layer"], films
        )
    except (KeyError, TypeError, AttributeError, StopIteration) as error:
        raise RunError(f"{path} is damaged: {remedy}.") from error


def _shown(folder: Path, entry: Mapping[str, Any], hashes: Mapping[str, str] | None) -> Shown:
    def picture(kind: str) -> str:
        path = folder / Path(entry["pictures"][kind]).name  # nothing outside the gallery's folder
        return as_jpeg(bytes_of(path, hashes), str(path))

    rows = [
        Row(row["finding"], row["probability"], row["threshold"], row["called"], row["present"])
        for row in entry["findings"]
    ]
    return Shown(
        picture=picture("film"),
        overlay=picture("overlay"),
        outline=_outline(folder, entry["pictures"]["mask"], hashes),
        finding=entry["finding"],
        outcome=entry["outcome"],
        view=VIEWS.get(str(entry["view"]), "view not stated"),
        rows=rows,
        called=entry["called"],
        missed=entry["missed"],
        false_calls=entry["false_calls"],
    )


def _outline(folder: Path, name: str | None, hashes: Mapping[str, str] | None) -> str:
    if name is None:
        return ""
    data = np.frombuffer(bytes_of(folder / Path(name).name, hashes), np.uint8)
    mask = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE) if len(data) else None
    return "" if mask is None else outline(np.asarray(mask) > 0)
