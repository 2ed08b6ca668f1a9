"""Prediction: probabilities of every finding for film files or a store, as a CSV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hilum.bundle.predictor import Predictor
from hilum.errors import DataError
from hilum.files import replacing
from hilum.images.films import Films
from hilum.images.store import MANIFEST
from hilum.listener import SILENT, Listener


@dataclass(frozen=True)
class PredictResult:
    """Where the table is, how many films it has, and the films that could not be read with the reason."""

    out: Path
    films: int
    failed: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain values."""
        return {"out": str(self.out), "films": self.films, "failed": self.failed}


def predict(
    run: Path, films: Sequence[Path], out: Path, device: str = "auto", listener: Listener = SILENT
) -> PredictResult:
    """Write one row a film: its path, the probability of every finding, and the findings called.

    Args:
        run: A fine-tuned run or its bundle.
        films: Image files, or one store.
        out: The CSV file to write.
        device: auto, cpu or cuda.
        listener: Hears notes and progress.

    Raises:
        RunError: The run has no classifier.
        DataError: Not one film could be read, or the store was prepared in another way than the model.
    """
    predictor = Predictor.load(run, device)
    failed: dict[str, str] = {}
    if len(films) == 1 and (films[0] / MANIFEST).is_file():
        table = _store_table(predictor, films[0], listener)
    else:
        table = _file_table(predictor, films, failed, listener)
    if table.empty:
        raise DataError(
            f"none of the {len(films)} films could be read: {next(iter(failed.values()), 'none was given')}"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as aside:
        table.to_csv(aside, index=False, float_format="%.6f")
    return PredictResult(out, len(table), failed)


def _store_table(predictor: Predictor, folder: Path, listener: Listener) -> pd.DataFrame:
    films = Films.open([folder])
    rows = np.arange(len(films), dtype=np.int64)
    scores = predictor.score_films(films, rows, lambda done, total: listener.progress("predict", done, total))
    return _table(predictor, list(films.catalog["path"]), scores)


def _file_table(
    predictor: Predictor, films: Sequence[Path], failed: dict[str, str], listener: Listener
) -> pd.DataFrame:
    """Return the table of the films that can be read; the others go to ``failed`` with the reason."""
    paths, scores = [], []
    for number, film in enumerate(films, start=1):
        try:
            scores.append(list(predictor.predict(film).values()))
            paths.append(str(film))
        except DataError as error:
            failed[str(film)] = str(error)
            listener.note(f"{film} is left out: {error}")
        listener.progress("predict", number, len(films))
    return _table(predictor, paths, np.array(scores, np.float32).reshape(-1, len(predictor.findings)))


def _table(predictor: Predictor, paths: list[str], scores: Any) -> pd.DataFrame:
    table = pd.DataFrame(scores, columns=list(predictor.findings))
    called = ["|".join(predictor.called(dict(zip(predictor.findings, row, strict=True)))) for row in scores.tolist()]
    table.insert(0, "film", paths)
    return table.assign(called=called)
