"""Evaluation: what a fine-tuned run is worth on films it never saw, with intervals over patients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hilum.arrays import FloatArray, Rows
from hilum.bundle.model_folder import DESCRIPTION, WEIGHTS, Description
from hilum.bundle.predictor import Predictor
from hilum.bundle.training_manifest import FILMS, were_seen
from hilum.errors import DataError, RunError, did_you_mean
from hilum.files import replacing, sha256, write_json
from hilum.findings import positions
from hilum.images.films import Films
from hilum.listener import SILENT, Listener
from hilum.metrics.results import Evaluation
from hilum.metrics.summary import evaluate_findings
from hilum.options import as_path, plain
from hilum.training.inference import describe_device
from hilum.training.run_folder import METRICS, MODEL, read_metrics
from hilum.workflows.data.subsets import Subsets, truth_of
from hilum.workflows.evaluate.details import Details, ScoredFilms, measure_details
from hilum.workflows.evaluate.options import EvaluateOptions


@dataclass(frozen=True)
class EvaluateResult:
    """An evaluation, of what, and where the predictions lie."""

    evaluation: Evaluation
    details: Details
    films: ScoredFilms
    """The films that were measured, with the scores."""
    name: str
    """The part, with the source before it where it is not the run's own data."""
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


def evaluate(
    run: str | Path, options: EvaluateOptions, listener: Listener = SILENT
) -> EvaluateResult:
    """Measure a fine-tuned run on a part of a store; writes predictions and adds to the run's metrics.json.

    Raises:
        RunError: The run has no classifier, or is a bare bundle.
        DataError: The model was trained on films of that part, no finding is shared, or the
            preparation differs.
    """
    run = as_path("run", run)
    _refuse_bundle(run)
    films = Films.open([options.data])
    predictor = Predictor.load(run, options.device)
    listener.device(describe_device(predictor.device))
    predictor.refuse_other_preparation(films)
    unstated = options.unstated or predictor.description.unstated
    columns = _shared_findings(predictor, films, options.findings)
    rows, dropped = _fresh_rows(run, predictor, films, options)
    own = _is_own(predictor, films)
    name = options.split if own else f"{films.sources[0]}-{options.split}"
    predictions = run / f"predictions-{name}.parquet"
    scores = _predictions(predictions, run, predictor, films, rows, listener)
    judged = _judged(predictor, films, rows, scores, unstated, columns)
    evaluation = _evaluate(judged, predictor.description, options)
    details = measure_details(judged, evaluation, predictor.description, options)
    lines = _lines(predictor, films, options, dropped, details.calibration.worsened())
    model = predictor.description
    result = EvaluateResult(
        evaluation, details, judged, name, predictions, dropped, lines,
        {finding: model.not_called[finding] for finding in judged.findings if finding in model.not_called},
        tuple(model.call_notes()),
    )  # fmt: skip
    _record(run, result, options, unstated)
    return result


def saved_scores(run: Path, films: Films, rows: Rows, split: str) -> pd.DataFrame:
    """Return a run's saved probabilities of these films, one row a film and one column a finding that it calls.

    Raises:
        RunError: It was not evaluated on these films.
    """
    path = run / f"predictions-{split}.parquet"
    remedy = f"run `hilum evaluate {run} --data {films.stores[0].folder} --split {split}`."
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read: {remedy}") from error
    if "path" not in table or list(table["path"]) != list(films.columns(["path"], rows)["path"]):
        raise RunError(f"{path} is of other films: {remedy}")
    return table


def _refuse_bundle(run: Path) -> None:
    """Predictions name films and patients, which must not get into a folder that is handed on."""
    if (run / DESCRIPTION).is_file():
        raise RunError(
            f"{run} is a bundle, and predictions would be written into it: "
            "give the run's folder that holds it as model/."
        )


def _fresh_rows(
    run: Path, predictor: Predictor, films: Films, options: EvaluateOptions
) -> tuple[Rows, int]:
    rows = Subsets.of(films).needed(options.split)
    seen = were_seen(films.columns(FILMS, rows), predictor.model.seen, films.preparation.size)
    if seen.any() and not options.exclude_training_images:
        names = ", ".join(films.columns(["path"], rows[seen][:3])["path"])
        raise DataError(
            f"{run} was trained on {int(seen.sum())} of the {len(rows)} films of {options.split!r} ({names}"
            f"{' …' if seen.sum() > 3 else ''}): give another --split, or --exclude-training-images to leave them out."
        )
    if seen.all():
        raise DataError(
            f"{run} was trained on all {len(rows)} films of {options.split!r}: nothing is left."
        )
    return rows[~seen], int(seen.sum())


def _is_own(predictor: Predictor, films: Films) -> bool:
    """Whether the run was made with this store alone; of several, each needs its name in what is written."""
    stores = predictor.description.training_data.get("stores", [])
    return [store["fingerprint"] for store in stores] == [films.stores[0].fingerprint]


def _predictions(
    path: Path, run: Path, predictor: Predictor, films: Films, rows: Rows, listener: Listener
) -> FloatArray:
    """Return the probabilities [n, F], from the saved table where it is of the same model and films."""
    identity: dict[str, Any] = {
        "model": sha256(run / MODEL / WEIGHTS),
        "data": films.fingerprint,
        "rows": len(rows),
    }
    table = films.columns(["source", "path", "patient"], rows).reset_index(drop=True)
    saved = _saved(path, identity, table)
    if saved is None:
        scores = predictor.score_films(
            films, rows, lambda done, total: listener.progress("evaluate", done, total)
        )
        saved = pd.concat([table, pd.DataFrame(scores, columns=list(predictor.findings))], axis=1)
        saved.attrs = dict(identity.items())
        with replacing(path) as aside:
            saved.to_parquet(aside, index=False)
    return saved[list(predictor.findings)].to_numpy(np.float32)


def _saved(path: Path, identity: dict[str, Any], table: pd.DataFrame) -> pd.DataFrame | None:
    try:
        saved = pd.read_parquet(path)
    except (OSError, ValueError):  # not there, or not what it was: it is made anew
        return None
    fits = saved.attrs == identity and list(saved["path"]) == list(table["path"])
    return saved if fits else None


def _shared_findings(
    predictor: Predictor, films: Films, requested: tuple[str, ...]
) -> dict[int, int]:
    """Return the model's column -> the store's column, of the findings to be measured."""
    if not films.findings:
        raise DataError(
            f"{films.stores[0].folder} has no labels to measure by: prepare it from a source with findings."
        )
    places = positions(predictor.findings, films.findings)
    shared = {mine: theirs for mine, theirs in enumerate(places) if theirs is not None}
    if requested:
        chosen = positions(requested, predictor.findings)
        for name, place in zip(requested, chosen, strict=True):
            if place not in shared:
                names = [predictor.findings[mine] for mine in shared]
                raise DataError(
                    f"finding {name!r} is not shared by model and store: allowed are {', '.join(names)}."
                    f"{did_you_mean(name, names)}"
                )
        shared = {mine: theirs for mine, theirs in shared.items() if mine in chosen}
    if not shared:
        raise DataError(
            f"model ({', '.join(predictor.findings)}) and store ({', '.join(films.findings)}) "
            "share no finding: map the store's names when preparing it."
        )
    return shared


def _judged(
    predictor: Predictor,
    films: Films,
    rows: Rows,
    scores: FloatArray,
    unstated: str,
    columns: Mapping[int, int],
) -> ScoredFilms:
    mine, theirs = list(columns), list(columns.values())
    truth, counts = truth_of(films, rows, unstated)
    return ScoredFilms(
        findings=tuple(predictor.findings[column] for column in mine),
        truth=truth[:, theirs],
        counts=counts[:, theirs],
        scores=scores[:, mine],
        patients=films.patient_codes[rows],
        studies=films.study_codes[rows],
        catalog=films.columns(rows=rows),
    )


def _evaluate(films: ScoredFilms, model: Description, options: EvaluateOptions) -> Evaluation:
    return evaluate_findings(
        films.labels,
        films.scores,
        films.findings,
        [model.thresholds.get(name) for name in films.findings],
        options.intervals,
    )


def _lines(
    predictor: Predictor, films: Films, options: EvaluateOptions, dropped: int, worsened: str | None
) -> tuple[str, ...]:
    lines = []
    missing = [
        name
        for name, place in zip(
            predictor.findings, positions(predictor.findings, films.findings), strict=True
        )
        if place is None
    ]
    if missing:
        lines.append(f"{films.sources[0]} says nothing of {', '.join(missing)}: not measured")
    if _was_split_anew(predictor, films):
        lines.append(
            f"{films.sources[0]} was split anew after the run: films that chose its epoch and thresholds may "
            "be among these"
        )
    if dropped:
        lines.append(f"{dropped} films that the model was trained on are left out")
    if options.split == "val":
        lines.append(
            "thresholds, calibration and the stopping epoch were chosen on these validation films: the numbers flatter"
        )
    if worsened is not None:
        lines.append(worsened)
    return tuple(lines)


def _was_split_anew(predictor: Predictor, films: Films) -> bool:
    stores = predictor.description.training_data.get("stores", [])
    splits = [
        store["split"] for store in stores if store["fingerprint"] == films.stores[0].fingerprint
    ]
    return bool(splits) and Subsets.of(films).splits[0].hash not in splits


def _record(run: Path, result: EvaluateResult, options: EvaluateOptions, unstated: str) -> None:
    """Add the evaluation to the run's metrics."""
    metrics = read_metrics(run)
    options_said = {key: value for key, value in plain(asdict(options)).items() if key != "device"}
    options_said["unstated"] = unstated
    metrics.setdefault("evaluations", {})[result.name] = {
        **result.to_json(),
        "options": options_said,
    }
    write_json(run / METRICS, metrics)
