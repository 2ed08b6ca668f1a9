"""The films of a study's gallery: pictures of where its best model looks, and a description without patients."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hilum.annotations.known import Annotations
from hilum.arrays import BoolArray, FloatArray, Rows
from hilum.bundle.predictor import Predictor
from hilum.catalog import ABSENT, PRESENT, UNCERTAIN
from hilum.files import canonical_json, new_folder
from hilum.findings import positions
from hilum.heatmaps.gradcam import explain
from hilum.heatmaps.overlay import enlarged, overlay, write_picture
from hilum.images.films import Films
from hilum.workflows.data.subsets import Subsets, truth_of
from hilum.workflows.study.gallery_selection import RULE, Choice, choose_films

SUMMARY = "gallery.json"
FORMAT = 1
WORDS = {PRESENT: "present", ABSENT: "absent", UNCERTAIN: "uncertain"}
NOT_STATED = "not stated"


@dataclass(frozen=True)
class Read:
    """What a model says of test films beside their labels; columns are the model's findings."""

    predictor: Predictor
    films: Films
    rows: Rows
    probabilities: FloatArray
    """[n, F]."""
    labels: FloatArray
    """[n, F] as the store has them, NaN where not stated."""
    truth: FloatArray
    """[n, F], 0 or 1."""
    counts: BoolArray
    """[n, F], which cells of the truth are known."""

    @classmethod
    def of(cls, predictor: Predictor, run: Path, films: Films, part: str) -> Read:
        """Read a part of the films by the model, from its saved predictions where they are of these films.

        Raises:
            DataError: The part is empty, or the films were prepared in another way than the
                model's.
        """
        predictor.refuse_other_preparation(films)
        rows = Subsets.of(films).needed(part)
        truth, counts = truth_of(films, rows, predictor.description.unstated)
        places = positions(predictor.findings, films.findings)
        columns = [place for place in places if place is not None]
        if len(columns) < len(places):
            raise ValueError("the model calls findings that the store it was trained on lacks")
        probabilities = _saved(run / f"predictions-{part}.parquet", predictor, films, rows)
        if probabilities is None:
            probabilities = predictor.score_films(films, rows)
        labels = films.labels[rows][:, columns]
        return cls(
            predictor, films, rows, probabilities, labels, truth[:, columns], counts[:, columns]
        )

    @property
    def thresholds(self) -> list[float | None]:
        """The thresholds chosen on validation films, [F]."""
        return [self.predictor.description.thresholds.get(name) for name in self.predictor.findings]

    def choices(self) -> list[Choice]:
        """Return the films of the gallery."""
        return choose_films(
            self.probabilities, self.truth, self.counts, self.thresholds, self.predictor.findings
        )


def write_gallery(
    folder: Path, read: Read, places: Annotations | None, about: dict[str, Any]
) -> None:
    """Write pictures and ``gallery.json`` into a folder, replacing an earlier gallery as a whole.

    No name, path or patient of a film is written: a film is the store's row. ``about`` says which
    model it is.

    Args:
        folder: Where to.
        read: What the model says.
        places: Where findings lie, None where that is not known.
        about: Put before the films.

    Raises:
        OptionError: The model has no maps.
    """
    with new_folder(folder) as aside:
        films, note = [], ""
        for number, choice in enumerate(read.choices(), start=1):
            entry, note = _film(aside, f"{number:02d}", read, choice, places)
            films.append(entry)
        summary = {"format": FORMAT, **about, "rule": RULE, "layer": note, "films": films}
        summary["notice"] = read.predictor.description.notice
        (aside / SUMMARY).write_bytes(canonical_json(summary))


def _film(
    folder: Path, stem: str, read: Read, choice: Choice, places: Annotations | None
) -> tuple[dict[str, Any], str]:
    row = int(read.rows[choice.film])
    film = read.films.read(np.array([row]))[0]
    found = explain(
        read.predictor.classifier, read.predictor.standardised([film]), [choice.finding]
    )
    name = read.predictor.findings[choice.finding]
    mask = places.masks(str(read.films.catalog["path"].iloc[row])).get(name) if places else None
    pictures = {
        "film": enlarged(film),
        "overlay": overlay(film, found.maps[0, 0].detach().cpu().numpy()),
    }
    if mask is not None:
        pictures["mask"] = np.where(mask, np.uint8(255), np.uint8(0))
    for kind, picture in pictures.items():
        write_picture(folder / f"{stem}-{kind}.png", picture)
    entry = {
        "pictures": {
            kind: f"{stem}-{kind}.png" if kind in pictures else None
            for kind in ("film", "overlay", "mask")
        },
        "finding": name,
        "outcome": choice.outcome,
        "source": str(read.films.catalog["source"].iloc[row]),
        "row": row,
        "view": _view(read.films, row),
        **_told(read, choice.film),
    }
    return entry, found.note


def _told(read: Read, film: int) -> dict[str, Any]:
    """Return all that the model says of a film beside its labels, most probable finding first."""
    rows = []
    for place in np.argsort(-read.probabilities[film], kind="stable").tolist():
        probability, threshold = float(read.probabilities[film, place]), read.thresholds[place]
        called = threshold is not None and probability >= threshold
        known = bool(read.counts[film, place])
        rows.append(
            {
                "finding": read.predictor.findings[place],
                "probability": probability,
                "threshold": threshold,
                "called": called,
                "label": WORDS.get(float(read.labels[film, place]), NOT_STATED),
                "present": bool(read.truth[film, place] == PRESENT) if known else None,
            }
        )
    return {
        "findings": rows,
        "called": [one["finding"] for one in rows if one["called"]],
        "missed": [one["finding"] for one in rows if one["present"] and not one["called"]],
        "false_calls": [
            one["finding"] for one in rows if one["called"] and one["present"] is False
        ],
    }


def _saved(path: Path, predictor: Predictor, films: Films, rows: Rows) -> FloatArray | None:
    """Return saved predictions [n, F] if they are of these films by this model's findings."""
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError):
        return None
    if not {"path", *predictor.findings} <= set(table) or list(table["path"]) != list(
        films.catalog["path"].iloc[rows]
    ):
        return None
    return table[list(predictor.findings)].to_numpy(np.float32)


def _view(films: Films, row: int) -> str | None:
    view = films.catalog["view_position"].iloc[row]
    return None if pd.isna(view) else str(view)
