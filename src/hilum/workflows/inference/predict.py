"""Prediction: probabilities of every finding for film files or a store, as a CSV or in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hilum.bundle.film_reading import BATCH
from hilum.bundle.model_folder import age_notes
from hilum.bundle.predictor import Predictor
from hilum.csv_files import write_csv
from hilum.errors import OptionError
from hilum.images.films import Films
from hilum.listener import SILENT, Listener
from hilum.options import as_path
from hilum.training.inference import describe_device
from hilum.workflows.inference.film_names import FilmNames, film_names
from hilum.workflows.inference.image_files import (
    image_files,
    is_store,
    prepared_files,
    refuse_keeping,
)


@dataclass(frozen=True)
class FilmPrediction:
    """One film: what it is called in results, the probability of each finding, and the findings called."""

    film: str
    probabilities: dict[str, float]
    called: tuple[str, ...]
    looks_like: str
    """As `hilum.Predictor.looks_like` says it; nothing where nothing is odd."""


@dataclass(frozen=True)
class PredictResult:
    """The table's path, its number of films, the reason for each unreadable file, and what looks odd."""

    out: Path | None
    """None where no file was to be written: then ``predictions`` has the films."""
    films: int
    failed: dict[str, str]
    flagged: dict[str, int] = field(default_factory=dict)
    """Films by what they look like."""
    predictions: tuple[FilmPrediction, ...] = ()
    thresholds: Mapping[str, float | None] = field(default_factory=dict)
    """Of each finding; None where it is never called."""

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain values."""
        plain = {"films": self.films, "failed": self.failed, "flagged": self.flagged}
        if self.out is not None:
            return {"out": str(self.out), **plain}
        rows = [asdict(one) for one in self.predictions]
        return {**plain, "thresholds": dict(self.thresholds), "predictions": rows}


def predict(
    run: str | Path,
    films: str | Path | Sequence[str | Path],
    out: str | Path | None = None,
    device: str = "auto",
    listener: Listener = SILENT,
    *,
    keep_damaged: bool = False,
    keep: Sequence[str] = (),
    names_file: str | Path | None = None,
) -> PredictResult:
    """Write one row a film: its path, the probability of every finding, the findings called, and what it looks like.

    Without ``out`` the rows are in the result alone. A file that cannot be read is left out and named in the result.

    Args:
        run: A fine-tuned run, its bundle, or ``starter``.
        films: Image files, folders of them, ``@list.txt`` with one path a line, or one store.
        out: The CSV file to write, if any.
        device: auto, cpu or cuda.
        listener: Receives notes and progress.
        keep_damaged: Read JPEGs whose decoder reports damaged data.
        keep: Reasons for which a DICOM film is not left out, as of `hilum prepare dicom`.
        names_file: CSV to write, for your eyes alone: which film is which file, of DICOM films.

    Raises:
        OptionError: ``out`` is a folder or, of a store, missing; or damaged films are to be read of a store.
        RunError: The run has no classifier.
        DataError: Not one film could be read, or the store was prepared in another way than the
            model.
    """
    out = None if out is None else as_path("out", out)
    if out is not None and out.is_dir():
        raise OptionError(
            f"--out is {out}, a folder: give a file name, such as {out / 'predictions.csv'}."
        )
    files = image_files(films, listener)
    stored = len(files) == 1 and is_store(files[0])
    if stored and out is None:
        raise OptionError(f"{files[0]} is a store: give --out, such as predictions.csv.")
    refuse_keeping(keep_damaged, files)
    predictor = Predictor.load(as_path("run", run), device, keep_damaged=keep_damaged, keep=keep)
    listener.device(describe_device(predictor.device))
    for line in (*age_notes(as_path("run", run)), *predictor.description.call_notes()):
        listener.note(line)
    failed: dict[str, str] = {}
    if stored:
        scored = _score_store(predictor, files[0], listener)
    else:
        private = None if names_file is None else as_path("names_file", names_file)
        named = film_names(files, out, private)
        scored = _score_files(predictor, named, failed, listener)
    flagged = dict(Counter(filter(None, scored.flags)).most_common())
    rows = tuple(_predictions(predictor, scored))
    if out is None:
        thresholds = predictor.description.thresholds
        return PredictResult(None, len(rows), failed, flagged, rows, thresholds)
    write_predictions(out, predictor.findings, rows)
    return PredictResult(out, len(rows), failed, flagged)


def write_predictions(
    out: Path, findings: Sequence[str], predictions: Sequence[FilmPrediction]
) -> None:
    """Write the CSV: a row a film."""
    out.parent.mkdir(parents=True, exist_ok=True)
    columns = ["film", *findings, "called", "looks_like"]
    lines = [
        (film.film, *film.probabilities.values(), "|".join(film.called), film.looks_like)
        for film in predictions
    ]
    write_csv(out, columns, lines, "{:.6f}")


class _FilmScores(NamedTuple):
    """Films, the probabilities of each, and what it looks like."""

    paths: list[str]
    scores: list[list[float]]
    flags: list[str]


def _predictions(predictor: Predictor, scored: _FilmScores) -> Iterator[FilmPrediction]:
    for path, scores, flag in zip(*scored, strict=True):
        by_name = dict(zip(predictor.findings, scores, strict=True))
        yield FilmPrediction(path, by_name, tuple(predictor.called(by_name)), flag)


def _score_store(predictor: Predictor, folder: Path, listener: Listener) -> _FilmScores:
    store = Films.open([folder], listener=listener)
    rows = np.arange(len(store), dtype=np.int64)
    scores = predictor.score_films(
        store, rows, lambda done, total: listener.progress("predict", done, total)
    )
    return _FilmScores(list(store.catalog["path"]), scores.tolist(), store.stores[0].flags())


def _score_files(
    predictor: Predictor, named: FilmNames, failed: dict[str, str], listener: Listener
) -> _FilmScores:
    """Score the files that can be read; the others go to ``failed`` with the reason."""
    scored = _FilmScores([], [], [])
    listener.progress("predict", 0, len(named.files))
    images = prepared_files(predictor, named, failed, listener)
    while batch := list(islice(images, BATCH)):
        standardised = predictor.standardised([film.image for film in batch])
        scored.scores.extend(list(row.values()) for row in predictor.probabilities(standardised))
        scored.paths.extend(str(film.path) for film in batch)
        scored.flags.extend(film.flag for film in batch)
        listener.progress("predict", batch[-1].number, len(named.files))
    return scored
