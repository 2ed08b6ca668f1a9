"""A study's gallery: films with heatmaps of its best model, and a description without patients."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hilum.annotations.known import Annotations
from hilum.arrays import BoolArray, FloatArray, Rows
from hilum.bundle.predictor import Predictor
from hilum.catalog import ABSENT, PRESENT, UNCERTAIN
from hilum.errors import RunError
from hilum.files import file_hashes, new_folder, write_hashed_json
from hilum.findings import positions
from hilum.heatmaps.gradcam import explain
from hilum.heatmaps.overlay import enlarged, overlay, write_picture
from hilum.images.films import Films
from hilum.workflows.data.subsets import Subsets, truth_of
from hilum.workflows.evaluate.predictions import read_predictions
from hilum.workflows.study.gallery_selection import RULE, Choice, choose_films

SUMMARY = "gallery.json"
FILES = "files"
"""Key of the summary: SHA-256 of the pictures by name."""
FORMAT = 1
WORDS = {PRESENT: "present", ABSENT: "absent", UNCERTAIN: "uncertain"}
NOT_STATED = "not stated"


@dataclass(frozen=True)
class Read:
    """A model's probabilities of films with their labels; columns are the model's findings."""

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
    def of(cls, predictor: Predictor, run: Path, films: Films, split: str) -> Read:
        """Score a split by the model, from its saved predictions where they are of these films.

        Raises:
            DataError: The split is empty, or the films were prepared in another way than the
                model's.
        """
        predictor.refuse_other_preparation(films)
        rows = Subsets.of(films).needed(split)
        truth, counts = truth_of(films, rows, predictor.description.unstated)
        matches = positions(predictor.findings, films.findings)
        columns = [column for column in matches if column is not None]
        if len(columns) < len(matches):
            raise ValueError("the model calls findings that the store it was trained on lacks")
        saved, names = pd.DataFrame(), list(predictor.findings)
        with suppress(RunError):  # missing or damaged: scored anew
            saved = read_predictions(run / f"predictions-{split}.parquet")
        if {"path", *names} <= set(saved) and list(saved["path"]) == list(
            films.catalog["path"].iloc[rows]
        ):
            probabilities = saved[names].to_numpy(np.float32)
        else:
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
    folder: Path, read: Read, annotations: Annotations | None, about: dict[str, Any]
) -> None:
    """Write pictures and ``gallery.json`` into a folder, in place of an earlier gallery.

    No name, path or patient of a film is written: a film is the store's row. ``about`` says which
    model it is.

    Args:
        folder: Where to.
        read: The model's probabilities.
        annotations: Masks or boxes of the findings, None where there are none.
        about: Put before the films.

    Raises:
        OptionError: The model has no maps.
    """
    with new_folder(folder) as aside:
        films, note = [], ""
        for number, choice in enumerate(read.choices(), start=1):
            entry, note = _film(aside, f"{number:02d}", read, choice, annotations)
            films.append(entry)
        summary = {"format": FORMAT, **about, "rule": RULE, "layer": note, "films": films}
        summary["notice"] = read.predictor.description.notice
        shown = sorted(picture.name for picture in aside.glob("*.png"))
        write_hashed_json(aside / SUMMARY, {**summary, FILES: file_hashes(aside, shown)})


def _film(
    folder: Path, stem: str, read: Read, choice: Choice, annotations: Annotations | None
) -> tuple[dict[str, Any], str]:
    row = int(read.rows[choice.film])
    film = read.films.read(np.array([row]))[0]
    explained = explain(
        read.predictor.classifier, read.predictor.standardised([film]), [choice.finding]
    )
    name = read.predictor.findings[choice.finding]
    mask = (
        annotations.masks(str(read.films.catalog["path"].iloc[row])).get(name)
        if annotations
        else None
    )
    pictures = {
        "film": enlarged(film),
        "overlay": overlay(film, explained.maps[0, 0].detach().cpu().numpy()),
    }
    if mask is not None:
        pictures["mask"] = np.where(mask, np.uint8(255), np.uint8(0))
    for kind, picture in pictures.items():
        write_picture(folder / f"{stem}-{kind}.png", picture)
    view = read.films.catalog["view_position"].iloc[row]
    entry = {
        "pictures": {
            kind: f"{stem}-{kind}.png" if kind in pictures else None
            for kind in ("film", "overlay", "mask")
        },
        "finding": name,
        "outcome": choice.outcome,
        "source": str(read.films.catalog["source"].iloc[row]),
        "row": row,
        "view": None if pd.isna(view) else str(view),
        **_findings(read, choice.film),
    }
    return entry, explained.note


def _findings(read: Read, film: int) -> dict[str, Any]:
    """Return a film's probabilities and labels, most probable finding first, and its errors."""
    rows = []
    for column in np.argsort(-read.probabilities[film], kind="stable").tolist():
        probability, threshold = float(read.probabilities[film, column]), read.thresholds[column]
        called = threshold is not None and probability >= threshold
        known = bool(read.counts[film, column])
        rows.append(
            {
                "finding": read.predictor.findings[column],
                "probability": probability,
                "threshold": threshold,
                "called": called,
                "label": WORDS.get(float(read.labels[film, column]), NOT_STATED),
                "present": bool(read.truth[film, column] == PRESENT) if known else None,
            }
        )
    return {
        "findings": rows,
        "called": [row["finding"] for row in rows if row["called"]],
        "missed": [
            row["finding"]
            for row in rows
            if row["present"] and not row["called"] and row["threshold"] is not None
        ],
        "false_calls": [
            row["finding"] for row in rows if row["called"] and row["present"] is False
        ],
    }
