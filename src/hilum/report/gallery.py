"""Films on the page: samples with their labels, and heatmaps beside probabilities and the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum.catalog import PRESENT, UNCERTAIN
from hilum.errors import DataError
from hilum.phantoms import read_masks
from hilum.report.pictures import as_jpeg, outline
from hilum.report.read import Demo, bytes_of

SAMPLES = 8
TOP = 3
"""Findings of a film whose heatmaps are shown: those with the highest probabilities."""
SIDE = 256
"""Least pixels of a picture's side."""
COLOURS = 6
"""Of outlines, in the page's style."""
NO_FINDING = "No Finding"


@dataclass(frozen=True)
class Outline:
    """A finding's outline in a frame of 100 x 100, and its place among the page's outline colours."""

    finding: str
    path: str
    colour: int


@dataclass(frozen=True)
class Sample:
    """A film with what its labels say and the outlines of what was drawn."""

    picture: str
    view: str
    present: list[str]
    uncertain: list[str]
    outlines: list[Outline]


@dataclass(frozen=True)
class Heat:
    """One finding's heatmap and overlay on a film."""

    finding: str
    probability: float
    heatmap: str
    overlay: str
    outline: str
    present: bool | None


@dataclass(frozen=True)
class Row:
    """One line of a film's table: the finding, its probability, its threshold, and whether it is called and there."""

    finding: str
    probability: float
    threshold: float | None
    called: bool
    present: bool | None

    @property
    def outcome(self) -> str:
        """One of found, missed, wrongly called, and nothing for what is rightly left alone or not known."""
        if self.present is None:
            return ""
        if self.present:
            return "found" if self.called else "missed"
        return "wrongly called" if self.called else ""


@dataclass(frozen=True)
class Explained:
    """A film with its heatmaps and its table."""

    picture: str
    path: str
    view: str
    outlines: list[Outline]
    heats: list[Heat]
    rows: list[Row]

    def named(self, outcome: str) -> list[str]:
        """Return the findings of an outcome."""
        return [row.finding for row in self.rows if row.outcome == outcome]


def samples(demo: Demo) -> list[Sample]:
    """Return films drawn by the demo's seed from the training part."""
    rows = demo.split.rows(demo.store.catalog, "train")
    chosen = np.random.default_rng(demo.seed).permutation(rows)[:SAMPLES]
    return [_sample(demo, int(row)) for row in chosen]


def explained(demo: Demo) -> list[Explained]:
    """Return the films that heatmaps were drawn of.

    Raises:
        DataError: A film or picture is missing.
    """
    rows = {path: row for row, path in enumerate(demo.store.catalog["path"])}
    unknown = [path for path, _ in demo.explained if path not in rows]
    if unknown:
        raise DataError(f"{demo.store.folder} lacks the film {unknown[0]}: run the demo again in a new folder.")
    return [_explained(demo, rows[path], path, told) for path, told in demo.explained]


def _sample(demo: Demo, row: int) -> Sample:
    path = str(demo.store.catalog["path"].iloc[row])
    labels = dict(zip(demo.store.findings, demo.store.labels[row].tolist(), strict=True))
    return Sample(
        picture=as_jpeg(bytes_of(demo.phantoms / path), path, SIDE),
        view=_view(demo, row),
        present=[name for name, label in labels.items() if label == PRESENT],
        uncertain=[name for name, label in labels.items() if label == UNCERTAIN],
        outlines=_outlines(demo, _masks(demo, path)),
    )


def _explained(demo: Demo, row: int, path: str, told: Mapping[str, Any]) -> Explained:
    folder = demo.explanations / told["folder"]
    thresholds = demo.explainer.run.model["thresholds"]
    labels = dict(zip(demo.store.findings, demo.store.labels[row].tolist(), strict=True))
    table = [
        Row(name, chance, thresholds.get(name), name in told["called"], _present(labels.get(name)))
        for name, chance in sorted(told["probabilities"].items(), key=lambda entry: -entry[1])
    ]
    shown = [entry for entry in table if entry.finding in told["drawn"] and entry.finding != NO_FINDING][:TOP]
    masks = _masks(demo, path)
    return Explained(
        picture=as_jpeg(bytes_of(demo.phantoms / path), path, SIDE),
        path=path,
        view=_view(demo, row),
        outlines=_outlines(demo, masks),
        heats=[_heat(folder, entry, masks) for entry in shown],
        rows=table,
    )


def _outlines(demo: Demo, masks: Mapping[str, NDArray[np.bool_]]) -> list[Outline]:
    drawn = [name for name in demo.store.findings if name in masks and masks[name].any()]
    return [Outline(name, outline(masks[name]), place % COLOURS) for place, name in enumerate(drawn)]


def _heat(folder: Path, row: Row, masks: Mapping[str, NDArray[np.bool_]]) -> Heat:
    stem = row.finding.casefold().replace(" ", "-").replace("/", "-")
    pictures: Sequence[str] = [
        as_jpeg(bytes_of(path), str(path))
        for path in (folder / f"{stem}-{kind}.png" for kind in ("heatmap", "overlay"))
    ]
    drawn = outline(masks[row.finding]) if row.finding in masks else ""
    return Heat(row.finding, row.probability, pictures[0], pictures[1], drawn, row.present)


def _present(label: float | None) -> bool | None:
    return None if label is None or label not in (0.0, PRESENT) else label == PRESENT


def _masks(demo: Demo, path: str) -> Mapping[str, NDArray[np.bool_]]:
    return read_masks((demo.phantoms / "masks" / path).with_suffix(".png"))


def _view(demo: Demo, row: int) -> str:
    view = demo.store.catalog["view_position"].iloc[row]
    return {"PA": "PA", "AP": "AP", "LATERAL": "lateral"}.get(str(view), "view not stated")
