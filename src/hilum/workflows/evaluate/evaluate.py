"""Evaluation: a fine-tuned run measured on films it never saw, with intervals over patients."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hilum.arrays import FloatArray, Rows
from hilum.bundle.description import Description
from hilum.bundle.model_folder import DESCRIPTION, WEIGHTS, age_notes
from hilum.bundle.predictor import Predictor
from hilum.bundle.training_manifest import key_notes, were_seen
from hilum.counts import counted
from hilum.errors import DataError, RunError, did_you_mean
from hilum.files import sha256
from hilum.findings import positions
from hilum.group_key import group_key
from hilum.images.films import Films
from hilum.listener import SILENT, Listener
from hilum.metrics.results import Evaluation
from hilum.metrics.summary import evaluate_findings
from hilum.options import as_path, plain
from hilum.training.inference import describe_device
from hilum.training.run_folder import MODEL, changed_metrics
from hilum.workflows.data.subsets import Subsets, truth_of
from hilum.workflows.evaluate.details import Details, ScoredFilms, measure_details
from hilum.workflows.evaluate.options import EvaluateOptions
from hilum.workflows.evaluate.predictions import read_predictions, write_predictions


@dataclass(frozen=True)
class EvaluateResult:
    """An evaluation, the films it is of, and the path of the predictions."""

    evaluation: Evaluation
    details: Details
    films: ScoredFilms
    """The films that were measured, with the scores."""
    name: str
    """The split, with the source before it where it is not the run's own data."""
    predictions: Path
    dropped: int
    """Films left out because the model was trained on them."""
    lines: tuple[str, ...]
    not_called: Mapping[str, str] = field(default_factory=dict)
    """Finding -> why the model never calls it."""
    call_notes: tuple[str, ...] = ()
    """The same as lines for the user."""

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain values, with the keys that others rely on."""
        return {
            "name": self.name,
            **self.evaluation.to_json(),
            **self.details.to_json(),
            "not_called": dict(self.not_called),
            "dropped_seen": self.dropped,
            "predictions": str(self.predictions),
        }


NAMES = ("source", "path", "patient")
"""Columns that predictions are kept with."""


def evaluate(
    run: str | Path, options: EvaluateOptions, listener: Listener = SILENT
) -> EvaluateResult:
    """Measure a fine-tuned run on a split of a store; writes predictions, adds to metrics.json.

    Raises:
        RunError: The run has no classifier, or is a bare bundle.
        DataError: The model was trained on films of that split, no finding is shared, or the
            preparation differs.
    """
    run = as_path("run", run)
    if (run / DESCRIPTION).is_file():  # predictions name patients: never into a shared bundle
        raise RunError(
            f"{run} is a bundle, and predictions would be written into it: "
            "give the run's folder that holds it as model/."
        )
    films = Films.open([options.data], listener=listener)
    predictor = Predictor.load(run, options.device)
    listener.device(describe_device(predictor.device))
    for note in age_notes(run):
        listener.note(note)
    predictor.refuse_other_preparation(films)
    model = predictor.description
    unstated = options.unstated or model.unstated
    columns = _shared_findings(predictor, films, options.findings)
    fresh, dropped = _fresh_films(run, predictor, films, options, listener)
    rows = fresh.index.to_numpy()
    name = _evaluation_name(model, films, options.split)
    predictions = run / f"predictions-{name}.parquet"
    scores = _predictions(predictions, run, predictor, films, fresh, listener)
    mine, theirs = list(columns), list(columns.values())
    truth, counts = truth_of(films, rows, unstated)
    scored = ScoredFilms(
        findings=tuple(predictor.findings[column] for column in mine),
        truth=truth[:, theirs],
        counts=counts[:, theirs],
        scores=scores[:, mine],
        patients=films.patient_codes[rows],
        studies=films.study_codes[rows],
        catalog=films.columns(rows=rows),
    )
    thresholds = [model.thresholds.get(finding) for finding in scored.findings]
    evaluation = evaluate_findings(
        scored.labels, scored.scores, scored.findings, thresholds, options.intervals
    )
    details = measure_details(scored, evaluation, model, options, films.stores[0])
    lines = _lines(predictor, films, options, dropped, details.calibration.worsened())
    reasons = model.not_called
    not_called = {finding: reasons[finding] for finding in scored.findings if finding in reasons}
    result = EvaluateResult(
        evaluation, details, scored, name, predictions, dropped, lines,
        not_called, tuple(model.call_notes()),
    )  # fmt: skip
    given = {key: value for key, value in plain(asdict(options)).items() if key != "device"}
    given["unstated"] = unstated
    with changed_metrics(run) as metrics:
        metrics.setdefault("evaluations", {})[name] = {**result.to_json(), "options": given}
    return result


def saved_scores(run: Path, films: Films, rows: Rows, split: str) -> pd.DataFrame:
    """Return a run's saved probabilities of these films, a row a film and a column a finding.

    Raises:
        RunError: It was not evaluated on these films.
    """
    path = run / f"predictions-{split}.parquet"
    remedy = f"run `hilum evaluate {run} --data {films.stores[0].folder} --split {split}`."
    table = read_predictions(path)
    if "path" not in table or list(table["path"]) != list(films.columns(["path"], rows)["path"]):
        raise RunError(f"{path} is of other films: {remedy}")
    return table


def _evaluation_name(model: Description, films: Films, split: str) -> str:
    """Return the split; on another store, or one of several that the run used, the source before it."""
    stores = model.training_data.get("stores", [])
    own = [store["fingerprint"] for store in stores] == [films.stores[0].fingerprint]
    return split if own else f"{films.sources[0]}-{split}"


def _fresh_films(
    run: Path,
    predictor: Predictor,
    films: Films,
    options: EvaluateOptions,
    listener: Listener,
) -> tuple[pd.DataFrame, int]:
    """Return names of the films that the model was not trained on, indexed by row, and how many others there are."""
    rows = Subsets.of(films).needed(options.split)
    key, model_seen = group_key(options.data), predictor.model.seen
    for note in key_notes(model_seen, key, run):
        listener.note(note)
    named = films.columns([*NAMES, "pixels"], rows)  # once: a path of a million takes its time
    seen = were_seen(named, model_seen, films.preparation.size, key)
    if seen.any() and not options.exclude_training_images:
        names = ", ".join(named.loc[seen, "path"][:3])
        raise DataError(
            f"{run} was trained on {int(seen.sum())} of the {counted(len(rows), 'film')} of "
            f"{options.split!r} ({names}{' …' if seen.sum() > 3 else ''}): give another --split, "
            "or --exclude-training-images to leave them out."
        )
    if seen.all():
        raise DataError(
            f"{run} was trained on all {counted(len(rows), 'film')} of {options.split!r}: nothing is left."
        )
    return named.loc[~seen, list(NAMES)], int(seen.sum())


def _predictions(
    path: Path,
    run: Path,
    predictor: Predictor,
    films: Films,
    named: pd.DataFrame,
    listener: Listener,
) -> FloatArray:
    """Return the probabilities [n, F], saved ones if they are of the same model and films."""
    identity: dict[str, Any] = {
        "model": sha256(run / MODEL / WEIGHTS),
        "data": films.fingerprint,
        "rows": len(named),
    }
    rows, table = named.index.to_numpy(), named.reset_index(drop=True)
    saved = None
    with suppress(RunError):  # missing or damaged: computed anew
        saved = read_predictions(path)
    fits = saved is not None and (
        saved.attrs == identity
        and list(saved["path"]) == list(table["path"])
        and set(predictor.findings) <= set(saved.columns)
    )
    if saved is None or not fits:
        scores = predictor.score_films(
            films, rows, lambda done, total: listener.progress("evaluate", done, total)
        )
        saved = pd.concat([table, pd.DataFrame(scores, columns=list(predictor.findings))], axis=1)
        try:
            write_predictions(path, saved, identity)
        except OSError as error:
            raise RunError(
                f"{path} cannot be written ({error.strerror}): make the run's folder writable, and room on its disk."
            ) from error
    return saved[list(predictor.findings)].to_numpy(np.float32)


def _shared_findings(
    predictor: Predictor, films: Films, requested: tuple[str, ...]
) -> dict[int, int]:
    """Return the model's column -> the store's column, of the findings to be measured."""
    if not films.findings:
        raise DataError(
            f"{films.stores[0].folder} has no labels to measure by: "
            "prepare it from a source with findings."
        )
    columns = enumerate(positions(predictor.findings, films.findings))
    shared = {mine: theirs for mine, theirs in columns if theirs is not None}
    if requested:
        chosen = positions(requested, predictor.findings)
        for name, column in zip(requested, chosen, strict=True):
            if column not in shared:
                allowed = [predictor.findings[mine] for mine in shared]
                raise DataError(
                    f"finding {name!r} is not shared by model and store: "
                    f"allowed are {', '.join(allowed)}.{did_you_mean(name, allowed)}"
                )
        shared = {mine: theirs for mine, theirs in shared.items() if mine in chosen}
    if not shared:
        raise DataError(
            f"model ({', '.join(predictor.findings)}) and store ({', '.join(films.findings)}) "
            "share no finding: map the store's names when preparing it."
        )
    return shared


def _lines(
    predictor: Predictor, films: Films, options: EvaluateOptions, dropped: int, worsened: str | None
) -> tuple[str, ...]:
    lines = []
    columns = positions(predictor.findings, films.findings)
    missing = [
        name for name, column in zip(predictor.findings, columns, strict=True) if column is None
    ]
    if missing:
        lines.append(f"{films.sources[0]} says nothing of {', '.join(missing)}: not measured")
    stores = predictor.description.training_data.get("stores", [])
    of_run = [
        store["split"] for store in stores if store["fingerprint"] == films.stores[0].fingerprint
    ]
    if of_run and Subsets.of(films).splits[0].hash not in of_run:
        lines.append(
            f"{films.sources[0]} was split anew after the run: "
            "films that chose its epoch and thresholds may be among these"
        )
    if dropped:
        lines.append(
            f"{counted(dropped, 'film')} that the model was trained on {'is' if dropped == 1 else 'are'} left out"
        )
    if options.split == "val":
        lines.append(
            "thresholds, calibration and the stopping epoch were chosen on these validation films: "
            "the numbers flatter"
        )
    if worsened is not None:
        lines.append(worsened)
    return tuple(lines)
