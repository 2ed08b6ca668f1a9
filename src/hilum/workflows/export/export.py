"""Export: a finished run as one folder for Hugging Face, timm, onnxruntime and Hilum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hilum.bundle.description import HASH, Description
from hilum.bundle.exported import (
    CARD,
    CHECKS,
    DESCRIPTION,
    FORMAT,
    GRAPH,
    SCRIPT,
    WEIGHTS,
    ExportedContent,
    GraphRecord,
    file_records,
    is_exported,
)
from hilum.bundle.model_folder import Model, load_model
from hilum.bundle.onnx_model import OnnxModel
from hilum.bundle.onnx_scan import scan
from hilum.bundle.predictor import Predictor
from hilum.errors import DataError, HilumError, OptionError, RunError
from hilum.files import new_folder, sha256, write_bytes, write_hashed_json, write_json
from hilum.images.enhance import Preparation
from hilum.images.films import Films
from hilum.listener import SILENT, Listener
from hilum.nn.joined import is_joined
from hilum.options import as_path
from hilum.phantoms.cohort import cohort
from hilum.phantoms.film import draw
from hilum.phantoms.options import PhantomOptions
from hilum.training.checkpoint import write_tensors
from hilum.training.options_file import read_options_file
from hilum.training.run_folder import read_metrics
from hilum.version import __version__
from hilum.workflows.evaluate.record import EvaluationRecord, Evaluations
from hilum.workflows.export.ancestry import ancestry, warnings_of
from hilum.workflows.export.card import card, public_name, without_names
from hilum.workflows.export.graph import (
    FEATURES,
    FILM,
    LOGITS,
    MAPS,
    Graph,
    onnx_bytes,
    refuse_training_mode,
)
from hilum.workflows.export.options import ExportOptions
from hilum.workflows.export.proof import LIMIT, Proof, prove
from hilum.workflows.export.script import predict_script
from hilum.workflows.export.timm_weights import from_folder, timm_network, write_config
from hilum.workflows.pseudo_label.starting_run import kept_run

NOTHING: Mapping[str, EvaluationRecord] = {}
FILMS = 14
"""Films on which model.onnx is compared with torch."""


@dataclass(frozen=True)
class ExportResult:
    """The folder, and how far its model.onnx is from torch."""

    out: Path
    proof: Proof
    maps: bool
    """Whether model.onnx has class-activation maps."""

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain values."""
        return {"out": str(self.out), "maps": self.maps, "proof": asdict(self.proof)}


def export(run: str | Path, options: ExportOptions, listener: Listener = SILENT) -> ExportResult:
    """Write a run's model as a folder that opens in Hilum, timm, onnxruntime and on the Hugging Face Hub.

    Args:
        run: A finished run, or its model folder.
        options: Where to, and licences.
        listener: Receives notes and progress.

    Raises:
        RunError: There is no model, it is damaged or joined, or ONNX or timm compute something else than torch.
        OptionError: The folder holds something else, or a package is not installed.
    """
    run = as_path("run", run)
    if is_exported(run):
        raise OptionError(f"{run} is an exported bundle already: give the run that it came from.")
    _refuse_other_folder(options.out)
    model = load_model(run)
    if is_joined(model.description.backbone):
        raise RunError(
            f"{run} is a joined model ({model.description.backbone}), which no single network of timm holds: "
            "serve the run itself (hilum serve RUN), or export a model of one of its starts."
        )
    films, films_from = proof_films(run, model.description)
    origin = ancestry(lineage_start(run), options.init_licence)
    notes = [*warnings_of(origin)]
    if options.licence is None:
        notes.append("no licence is given for these weights: --licence names it in the card")
    evaluations, validation = _results(run)
    listener.progress("export", 0, 3)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with new_folder(options.out) as aside:
        content = write_model(aside, model, options.licence, origin, evaluations)
        listener.progress("export", 1, 3)
        proof = check_model(aside, model, films, films_from, listener)
        listener.progress("export", 2, 3)
        write_bytes(aside / SCRIPT, predict_script(__version__).encode())
        text = card(_public(model.description), content, evaluations, proof, validation)
        write_bytes(aside / CARD, text.encode())
        write_hashed_json(aside / CHECKS, {"files": file_records(aside), "onnx": asdict(proof)})
        _ = OnnxModel(aside)  # whatever would be refused later is refused now
        listener.progress("export", 3, 3)
    for note in notes:
        listener.note(note)
    return ExportResult(options.out, proof, content.graph.maps is not None)


def write_model(
    folder: Path,
    model: Model,
    licence: str | None = None,
    origin: tuple[Mapping[str, Any], ...] = (),
    evaluations: Mapping[str, EvaluationRecord] = NOTHING,
) -> ExportedContent:
    """Write weights, config.json, model.onnx and model.json into a folder.

    Raises:
        RunError: The network cannot be exported.
    """
    description = model.description
    side = Preparation.from_json(description.preparation).size
    for module in filter(None, (model.backbone, model.head)):
        module.cpu().eval()
    network, head = timm_network(model)
    write_tensors(folder / WEIGHTS, dict(network.state_dict()))
    write_config(folder, network, model, licence)
    graph = Graph(model, side).eval()
    refuse_training_mode(graph)
    data = onnx_bytes(graph, side)
    try:
        scan(data)
    except ValueError as error:
        raise RunError(
            f"{description.backbone} cannot be exported: {error}. Choose another."
        ) from error
    write_bytes(folder / GRAPH, data)
    with torch.inference_mode():
        outputs = graph(torch.zeros(2, 1, side, side, dtype=torch.uint8))
    record = GraphRecord(
        FILM,
        side,
        LOGITS if description.findings else FEATURES,
        outputs[0].shape[1],
        MAPS if graph.layout else None,
        tuple(outputs[1].shape[2:]) if graph.layout else None,
        FEATURES,
        outputs[-1].shape[1],
    )
    results = {name: _held_out(one) for name, one in evaluations.items()}
    content = ExportedContent(record, head, licence, origin, __version__, results)
    described = replace(_public(description), format=FORMAT)
    write_json(
        folder / DESCRIPTION,
        {**asdict(described), **asdict(content), HASH: sha256(folder / WEIGHTS)},
    )
    return content


def check_model(
    folder: Path,
    model: Model,
    films: NDArray[np.uint8],
    films_from: str,
    listener: Listener = SILENT,
) -> Proof:
    """Compare model.onnx and timm's reading of a folder with torch.

    Raises:
        RunError: One differs by more than LIMIT.
    """
    predictor = Predictor(model, torch.device("cpu"))
    module = model.backbone if model.head is None else predictor.classifier
    standardised = predictor.standardised(list(films))
    with torch.inference_mode():
        expected: Tensor = module(standardised)
        by_timm = from_folder(folder, model.backbone.fit(standardised))
    if by_timm.shape != expected.shape or not float((by_timm - expected).abs().max()) <= LIMIT:
        raise RunError(
            f"timm computes something else from the exported folder than {model.description.backbone} does: "
            "nothing was written; choose another --backbone."
        )
    return prove(
        (folder / GRAPH).read_bytes(), films, expected.numpy(), films_from,
        lambda done, total: listener.progress("compare with torch", done, total),
    )  # fmt: skip


def check_bundle(folder: Path) -> Proof:
    """Compare what an exported folder's weights, model.onnx and timm compute, on drawn phantoms.

    Raises:
        RunError: It is damaged, or they differ.
    """
    model = load_model(folder)
    _ = OnnxModel(folder)
    return check_model(folder, model, phantoms(model.description), "drawn phantoms")


def proof_films(run: Path, description: Description) -> tuple[NDArray[np.uint8], str]:
    """Return prepared films of the run's own store, else phantoms, and where they come from in words."""
    try:
        films = Films.open([Path(folder) for folder in _stores(read_options_file(run)[0])])
        films.refuse_other_preparation(Preparation.from_json(description.preparation))
        if films.stores[0].fingerprint != description.training_data["stores"][0]["fingerprint"]:
            raise DataError("another store is there now")
        rows = np.unique(np.linspace(0, len(films) - 1, FILMS).astype(np.int64))
        return films.read(rows), "films of its store"
    except (HilumError, OSError, LookupError):
        # A model folder alone, or a store that was moved.
        return phantoms(description), "drawn phantoms, as the run's store was not found"


def phantoms(description: Description) -> NDArray[np.uint8]:
    """Return FILMS drawn films prepared for a model, uint8 [FILMS, P, P]."""
    preparation = Preparation.from_json(description.preparation)
    cast = cohort(PhantomOptions(count=FILMS))
    return np.stack(
        [preparation.apply(draw(film, max(64, preparation.size), seed=0)[0]) for film in cast]
    )


def _stores(options: Mapping[str, Any]) -> list[str]:
    """Return the folders of the stores that a run's options name.

    Raises:
        DataError: They name none.
    """
    for name, block in options.items():
        if name != "record" and isinstance(block, Mapping):
            if "data" in block:
                data = block["data"]
                return [data] if isinstance(data, str) else list(data)
            return _stores(block)
    raise DataError("the options name no store")


def lineage_start(run: Path) -> Path:
    """Return the run whose model rounds of pseudo-labels kept, if it is there; of any other run, its own folder."""
    try:
        return kept_run(run)
    except RunError:
        return run


def _results(run: Path) -> tuple[Mapping[str, EvaluationRecord], float | None]:
    """Return a run's evaluations by public names, and its best score on validation films."""
    metrics = read_metrics(run)
    try:
        evaluations = Evaluations.from_json(metrics).evaluations
    except ValueError as error:
        raise RunError(f"{run}: its results are damaged ({error}).") from error
    public = {public_name(name): one for name, one in evaluations.items()}
    return public, (metrics.get("training") or {}).get("best")


def _held_out(evaluation: EvaluationRecord) -> dict[str, Any]:
    """Return what ``model.json`` holds of an evaluation."""
    return {
        "films": evaluation.films,
        "patients": evaluation.patients,
        "auroc": evaluation.auroc.to_json(),
        "findings_scored": evaluation.findings_scored,
        "findings": {name: one.auroc.to_json() for name, one in evaluation.findings.items()},
    }


def _public(description: Description) -> Description:
    """Return a description without names of data sets that are not public."""
    return replace(description, training_data=without_names(description.training_data))


def _refuse_other_folder(out: Path) -> None:
    if out.exists() and not (out.is_dir() and (is_exported(out) or not any(out.iterdir()))):
        raise OptionError(
            f"--out is {out}, which holds something else than an exported bundle: choose a new or empty folder."
        )
