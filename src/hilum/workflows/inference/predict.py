"""Prediction: probabilities of every finding for film files or a store, as a CSV."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hilum.bundle.predictor import Predictor
from hilum.errors import OptionError
from hilum.files import replacing
from hilum.images.films import Films
from hilum.images.store import MANIFEST
from hilum.listener import SILENT, Listener
from hilum.training.inference import describe_device
from hilum.workflows.inference.image_files import Numbered, readable

BATCH = 64
"""Film files that go through the network together."""


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
        OptionError: ``out`` is a folder.
        RunError: The run has no classifier.
        DataError: Not one film could be read, or the store was prepared in another way than the
            model.
    """
    if out.is_dir():
        raise OptionError(
            f"--out is {out}, a folder: give a file name, such as {out / 'predictions.csv'}."
        )
    predictor = Predictor.load(run, device)
    listener.device(describe_device(predictor.device))
    failed: dict[str, str] = {}
    if len(films) == 1 and (films[0] / MANIFEST).is_file():
        table = _store_table(predictor, films[0], listener)
    else:
        table = _file_table(predictor, films, failed, listener)
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as aside:
        table.to_csv(aside, index=False, float_format="%.6f")
    return PredictResult(out, len(table), failed)


def _store_table(predictor: Predictor, folder: Path, listener: Listener) -> pd.DataFrame:
    films = Films.open([folder])
    rows = np.arange(len(films), dtype=np.int64)
    scores = predictor.score_films(
        films, rows, lambda done, total: listener.progress("predict", done, total)
    )
    return _table(predictor, list(films.catalog["path"]), scores)


def _file_table(
    predictor: Predictor, films: Sequence[Path], failed: dict[str, str], listener: Listener
) -> pd.DataFrame:
    """Return the table of the films that can be read; the others go to ``failed`` with the reason."""
    paths: list[str] = []
    scores: list[list[float]] = []
    listener.progress("predict", 0, len(films))
    for batch in _batches(readable(predictor, films, failed, listener, "give it alone")):
        images = predictor.standardised([prepared for _, _, prepared in batch])
        scores += [list(row.values()) for row in predictor.probabilities(images)]
        paths += [str(film) for _, film, _ in batch]
        listener.progress("predict", batch[-1][0], len(films))
    return _table(predictor, paths, np.array(scores, np.float32))


def _batches(films: Iterator[Numbered]) -> Iterator[list[Numbered]]:
    while batch := list(islice(films, BATCH)):
        yield batch


def _table(predictor: Predictor, paths: list[str], scores: Any) -> pd.DataFrame:
    table = pd.DataFrame(scores, columns=list(predictor.findings))
    called = [
        "|".join(predictor.called(dict(zip(predictor.findings, row, strict=True))))
        for row in scores.tolist()
    ]
    table.insert(0, "film", paths)
    return table.assign(called=called)
