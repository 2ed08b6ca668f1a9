"""A gallery of right and wrong calls with heatmaps, for a study's page and a run's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from hilum.errors import RunError
from hilum.pages.charts.pictures import as_jpeg, outline
from hilum.pages.read import bytes_of, read_json
from hilum.pages.wording import told_apart
from hilum.records import read_record
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
        """found, missed, wrongly called, never called, or nothing where it is rightly not called or not known."""
        if self.threshold is None:
            return "never called"
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
class PicturesRecord:
    """File names of a film's pictures in ``gallery.json``."""

    film: str
    overlay: str
    mask: str | None = None
    """Where the finding is; None where that is not known or it is absent."""


@dataclass(frozen=True)
class FilmRecord:
    """A film in ``gallery.json``."""

    finding: str
    outcome: str
    view: str | None
    pictures: PicturesRecord
    findings: tuple[Row, ...]
    called: tuple[str, ...]
    false_calls: tuple[str, ...]


@dataclass(frozen=True)
class GalleryRecord:
    """The content of ``gallery.json`` that pages show."""

    model: str
    fraction: float
    rule: str
    layer: str
    films: tuple[FilmRecord, ...]
    files: Mapping[str, str] | None = field(default=None, metadata={"key": FILES})
    """Hashes of the pictures; None in galleries of earlier versions."""


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
    try:
        content = read_record(GalleryRecord, read_json(path))
        if any(all(row.finding != film.finding for row in film.findings) for film in content.films):
            raise ValueError("a film's finding is not among its findings")
    except ValueError as error:
        raise RunError(f"{path} is damaged ({error!s:.80}): {remedy}.") from error
    films = [_shown(folder, film, content.files) for film in content.films]
    return Gallery(content.model, content.fraction, content.rule, content.layer, films)


def _shown(folder: Path, film: FilmRecord, hashes: Mapping[str, str] | None) -> Shown:
    def picture(name: str) -> str:
        path = folder / Path(name).name  # nothing outside the gallery's folder
        return as_jpeg(bytes_of(path, hashes), str(path))

    return Shown(
        picture=picture(film.pictures.film),
        overlay=picture(film.pictures.overlay),
        outline=_outline(folder, film.pictures.mask, hashes),
        finding=film.finding,
        outcome=film.outcome,
        view=VIEWS.get(str(film.view), "view not stated"),
        rows=list(film.findings),
        called=list(film.called),
        missed=[row.finding for row in film.findings if row.outcome == "missed"],
        false_calls=list(film.false_calls),
    )


def _outline(folder: Path, name: str | None, hashes: Mapping[str, str] | None) -> str:
    if name is None:
        return ""
    data = np.frombuffer(bytes_of(folder / Path(name).name, hashes), np.uint8)
    mask = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE) if len(data) else None
    return "" if mask is None else outline(np.asarray(mask) > 0)
