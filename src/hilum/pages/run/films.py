"""Films of a run's page: a gallery with heatmaps, and ROC curves, from its store where that is still there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from hilum.annotations.known import PHANTOMS, annotations_of
from hilum.bundle.predictor import Predictor
from hilum.errors import HilumError
from hilum.files import read_hashed_json
from hilum.images.films import Films
from hilum.metrics.roc import roc_points
from hilum.pages.gallery import Gallery, read_gallery
from hilum.pages.read import Run
from hilum.training.run_folder import own_file
from hilum.workflows.data.subsets import Subsets, truth_of
from hilum.workflows.evaluate.predictions import read_predictions
from hilum.workflows.evaluate.record import EvaluationRecord
from hilum.workflows.study.gallery import SUMMARY, Read, write_gallery

FOLDER = "explained"
"""The gallery's folder in the run's; it is kept, so that the page can be built again without the store."""
SPLITS = ("test", "official-test", "val")
"""Where the films are from, the first that the run was measured on."""
REMEDY = "delete it and build the page again"

Curve = list[tuple[float, float]]


@dataclass(frozen=True)
class RunFilms:
    """The gallery of one split and the ROC curves of each, or the reason why there are none."""

    gallery: Gallery | None = None
    split: str = ""
    gallery_reason: str | None = None
    curves: Mapping[str, Mapping[str, Curve]] = field(default_factory=dict)
    """By evaluation and finding."""
    curves_reason: Mapping[str, str] = field(default_factory=dict)
    """By evaluation."""


def run_films(run: Run) -> RunFilms:
    """Return the films of a run's page; the gallery is made where it is not there yet.

    Raises:
        RunError: The gallery that is there, or saved predictions, are damaged.
    """
    for name in run.evaluations:  # what is damaged is refused, what is gone only left out
        if (saved := own_file(run.path, f"predictions-{name}.parquet")).is_file():
            read_predictions(saved)
    curves, reasons = {}, {}
    for name, evaluation in run.evaluations.items():
        try:
            curves[name] = _curves(run, name, evaluation)
        except (HilumError, OSError, ValueError, KeyError) as error:
            reasons[name] = _why(error)
    split = next((name for name in SPLITS if name in run.evaluations), None)
    if split is None:
        reason = "the run was measured on no split of its own store"
        return RunFilms(None, "", reason, curves, reasons)
    folder = run.path / FOLDER
    about = {
        "model": run.path.resolve().name,
        "fraction": float(run.options.get("fraction") or 1.0),
        "weights": run.model.weights_sha256,
        "split": split,
    }
    try:
        if not _is_there(folder, about):
            _make(run, split, run.evaluations[split], folder, about)
    except (HilumError, OSError, ValueError, KeyError) as error:
        return RunFilms(None, split, _why(error), curves, reasons)
    return RunFilms(read_gallery(folder, REMEDY), split, None, curves, reasons)


def _why(error: Exception) -> str:
    """Return why films are not at hand; paths of this machine are left out."""
    return (
        str(error)
        if isinstance(error, _MissingError)
        else "the store or its predictions have changed"
    )


class _MissingError(ValueError):
    """What a gallery or a curve needs is not there."""


def _films(run: Run, name: str, evaluation: EvaluationRecord) -> tuple[Films, pd.DataFrame]:
    """Return the store that the run was measured on, and the saved predictions.

    Raises:
        _MissingError: One of them is not there.
    """
    path = run.path / f"predictions-{name}.parquet"
    if not evaluation.options.data or not Path(evaluation.options.data).is_dir():
        raise _MissingError("the store that it was measured on is not there any more")
    if not path.is_file():
        raise _MissingError("its predictions are not there any more")
    return Films.open([Path(evaluation.options.data)]), read_predictions(path)


def _curves(run: Run, name: str, evaluation: EvaluationRecord) -> dict[str, Curve]:
    """Return the ROC curve of each finding, from the saved predictions and the store's labels."""
    films, predictions = _films(run, name, evaluation)
    rows = pd.Index(films.catalog["path"]).get_indexer(pd.Index(predictions["path"]))
    if (rows < 0).any():
        raise _MissingError("the store has other films now")
    truth, counts = truth_of(films, rows.astype(np.int64), evaluation.options.unstated)
    curves = {}
    for column, finding in enumerate(films.findings):
        if finding in evaluation.findings and finding in predictions:
            cells = counts[:, column]
            scores = predictions[finding].to_numpy(np.float64)[cells]
            curves[finding] = roc_points(truth[cells, column], scores) if cells.any() else []
    return curves


def _is_there(folder: Path, about: Mapping[str, object]) -> bool:
    try:
        content, _ = read_hashed_json(folder / SUMMARY)
    except FileNotFoundError:
        return False
    except ValueError:
        return True  # damaged, which reading it says in a line
    return all(content.get(key) == about[key] for key in about)


def _make(
    run: Run, split: str, evaluation: EvaluationRecord, folder: Path, about: dict[str, object]
) -> None:
    """Write the gallery with its heatmaps.

    Raises:
        _MissingError: The store is not there, or the saved predictions are of fewer films.
        HilumError: The network has no heatmaps, or the store does not fit the run.
    """
    films, predictions = _films(run, split, evaluation)
    predictor = Predictor.load(run.path, "cpu")
    rows = Subsets.of(films).rows(split)
    if list(predictions["path"]) != list(films.catalog["path"].iloc[rows]):
        raise _MissingError("its predictions are of other films than the store has in that split")
    known = annotations_of(films.stores[0], [films.stores[0].folder.parent / PHANTOMS])
    read = Read.of(predictor, run.path, films, split)
    write_gallery(folder, read, None if isinstance(known, str) else known, about)
