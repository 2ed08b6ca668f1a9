"""Heatmaps of a study: a gallery of the best model's right and wrong calls, and localisation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hilum.annotations.known import (
    STAND_INS,
    Annotations,
    annotations_of,
    likely_roots,
    shown_findings,
)
from hilum.arrays import Rows
from hilum.bundle.model_folder import described
from hilum.bundle.predictor import Predictor
from hilum.counts import counted
from hilum.errors import OptionError
from hilum.files import write_hashed_json
from hilum.heatmaps.localisation import LEAST_PATIENTS
from hilum.images.films import Films
from hilum.listener import SILENT, Listener
from hilum.workflows.data.subsets import Subsets
from hilum.workflows.evaluate.localisation import (
    CONTROLS,
    Judge,
    Scores,
    control_scores,
    model_scores,
)
from hilum.workflows.study.gallery import Read, write_gallery
from hilum.workflows.study.record import StudyCell, StudyRecord, read_study

FORMAT = 1
PART = "test"
MOST_FILMS = {"masks": 200, "boxes": 500}
"""Most films scored, sampled by a fixed seed among the unseen ones with annotations; boxes mark
one or two findings of a film, masks all of them."""
RESAMPLES, SEED, LEVEL = 2000, 0, 0.95


def explain_study(
    folder: Path, listener: Listener = SILENT, roots: Sequence[Path] = (), device: str = "auto"
) -> None:
    """Write ``explained/`` and ``localisation.json`` of a study from its finished fine-tunings.

    The gallery shows the model with the best validation AUROC at the largest fraction of the
    labels. Every model is scored at its largest fraction, with its network of random weights as
    control.

    Args:
        folder: The study's.
        listener: Hears notes and progress.
        roots: Folders of the data sets that the first store was prepared from, which hold
            masks or boxes. Those that the study's plan names as ``annotations`` are searched too.
        device: Of the networks.

    Raises:
        RunError: The study or a run of it is damaged.
        DataError: The first store is gone, has no test films, or a mask or box is damaged.
    """
    record = read_study(folder)
    cells = best_cells(record)
    if not cells or not record.stores:
        listener.note("no fine-tuning has finished: nothing to explain")
        write_hashed_json(record.localisation, _unavailable("no fine-tuning has finished"))
        return
    films = Films.open([record.stores[0].path])
    annotations = annotations_of(
        films.stores[0], [*roots, *likely_roots(folder, record.stores[0].path, record.plan)]
    )
    _explain_best(record, cells[0], films, annotations, listener, device)
    if isinstance(annotations, str):
        listener.note(f"localisation is not scored: {annotations}")
        write_hashed_json(record.localisation, _unavailable(annotations))
        return
    write_hashed_json(
        record.localisation, _localisation(record, cells, films, annotations, listener, device)
    )


def best_cells(record: StudyRecord) -> list[StudyCell]:
    """Return each model's fine-tuning of the best validation AUROC at its largest fraction.

    The best one of the largest fraction comes first; the others follow in the plan's order.
    Test films choose nothing.
    """
    known = [cell for cell in record.chosen(group="main") if cell.validation_auroc is not None]
    chosen: dict[str, StudyCell] = {}
    for cell in known:
        if cell.model not in chosen or _rank(cell) > _rank(chosen[cell.model]):
            chosen[cell.model] = cell
    cells = [chosen[model] for model in record.models if model in chosen]
    if not cells:
        return []
    first = max(cells, key=_rank)
    return [first, *(cell for cell in cells if cell is not first)]


def unseen_rows(films: Films) -> tuple[Rows, list[str]]:
    """Return the rows of films that neither trained nor chose a model, and their splits."""
    subsets = Subsets.of(films)
    rows = {split: subsets.rows(split) for split in (PART, "official-test")}
    return np.concatenate(list(rows.values())), [name for name, of in rows.items() if len(of)]


def _rank(cell: StudyCell) -> tuple[float, float]:
    return cell.fraction or 0.0, cell.validation_auroc or 0.0


def _explain_best(
    record: StudyRecord,
    cell: StudyCell,
    films: Films,
    annotations: Annotations | str,
    listener: Listener,
    device: str,
) -> None:
    predictor = Predictor.load(record.path(cell), device)
    listener.note(f"explains {cell.model} at {cell.fraction:.0%} of the labels")
    read = Read.of(predictor, record.path(cell), films, PART)
    try:
        write_gallery(
            record.explained,
            read,
            None if isinstance(annotations, str) else annotations,
            _about(cell),
        )
    except OptionError as error:
        listener.note(f"{cell.model} has no heatmaps: {error}")


@dataclass
class _Scorer:
    """Scores models on the same films; one control serves all models of a network."""

    judge: Judge
    record: StudyRecord
    device: str
    controls: dict[tuple[str, int, tuple[str, ...]], Scores] = field(default_factory=dict)

    def entry(self, cell: StudyCell) -> dict[str, Any]:
        """Return a model's entry of localisation.json."""
        predictor = Predictor.load(self.record.path(cell), self.device)
        try:
            scores = model_scores(self.judge, predictor, cell.model)
        except OptionError as error:
            return {**_about(cell), "reason": str(error)}
        network = predictor.description
        key = (network.backbone, network.size, network.findings)
        if key not in self.controls:
            self.controls[key] = control_scores(self.judge, predictor)
        compared = self.judge.compare(scores, self.controls[key])
        return {**_about(cell), "reason": None, **compared.to_json()}


def _localisation(
    record: StudyRecord,
    cells: Sequence[StudyCell],
    films: Films,
    annotations: Annotations,
    listener: Listener,
    device: str,
) -> dict[str, Any]:
    store = films.stores[0]
    rows, splits = unseen_rows(films)
    # Findings of every model: with few labels one may have learnt fewer.
    lists = [described(record.path(cell)).findings for cell in cells]
    common = [name for name in lists[0] if all(name in names for names in lists)]
    shown = shown_findings(store, rows, annotations, common, MOST_FILMS[annotations.kind], SEED)
    if not shown:
        return _unavailable(f"no {annotations.kind} are of the test films.")
    judge = Judge.of(store, shown, RESAMPLES, SEED, listener)
    listener.note(
        f"scores {counted(len(shown), 'finding')} on {counted(judge.films, 'film')} against {annotations.description}"
    )
    scorer = _Scorer(judge, record, device)
    names = judge.places.names
    return {
        "format": FORMAT,
        "reason": None,
        "source": store.source,
        "truth": {
            "kind": annotations.kind,
            "said": annotations.description,
            "stand_ins": {
                name: list(STAND_INS[name]) for name in names if name not in store.findings
            },
        },
        "parts": splits,
        "films": judge.films,
        "patients": judge.places.patient_count,
        "maps": {name: int((judge.places.finding == f).sum()) for f, name in enumerate(names)},
        "least_patients": LEAST_PATIENTS,
        "tolerance": 0.0,
        "resamples": RESAMPLES,
        "level": LEVEL,
        "control_draws": CONTROLS,
        "chance": judge.chance().to_json(),
        "models": [scorer.entry(cell) for cell in cells],
    }


def _about(cell: StudyCell) -> dict[str, Any]:
    """Return the keys that identify a model."""
    return {
        "model": cell.model,
        "cell": cell.id,
        "backbone": cell.backbone,
        "fraction": cell.fraction,
        "policy": cell.policy,
        "seed": cell.seed,
    }


def _unavailable(reason: str) -> dict[str, Any]:
    return {"format": FORMAT, "reason": reason, "models": []}
