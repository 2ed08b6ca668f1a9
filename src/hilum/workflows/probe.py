"""Probing: what frozen features already know of the findings, by nearest neighbours and by a linear layer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hilum.bundle.model_folder import described, is_model
from hilum.bundle.predictor import choose_device
from hilum.bundle.seen import were_seen
from hilum.bundle.start import Start, start_from
from hilum.classifier.probes import PENALTIES, LinearProbe, knn_scores
from hilum.errors import DataError
from hilum.images.films import Films
from hilum.listener import SILENT, Listener
from hilum.metrics.ranking import auroc
from hilum.metrics.results import Evaluation
from hilum.metrics.summary import evaluate_findings
from hilum.training.batches import Rows
from hilum.training.inference import over_films
from hilum.workflows.finetune import labelled_rows, learnt_columns, note_never_labelled, training_labels
from hilum.workflows.options import ProbeOptions
from hilum.workflows.parts import Parts, truth_of

HELD_OUT = 5
"""One training patient in so many chooses the linear probe's penalty."""


@dataclass(frozen=True)
class ProbeResult:
    """Both probes' evaluations, and what was probed on what."""

    subject: str
    split: str
    fraction: float
    training_films: int
    penalty: float
    knn: Evaluation
    linear: Evaluation

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain values, with the keys that others rely on."""
        knn, linear = self.knn.to_json(), self.linear.to_json()
        return {
            "subject": self.subject,
            "split": self.split,
            "fraction": self.fraction,
            "training_films": self.training_films,
            "films": self.linear.films,
            "patients": self.linear.patients,
            "penalty": self.penalty,
            "findings_scored": list(self.linear.findings_scored),
            **{f"knn_{name}": knn[name] for name in ("auroc_macro", "auroc_macro_interval", "auroc")},
            **{f"linear_{name}": linear[name] for name in ("auroc_macro", "auroc_macro_interval", "auroc")},
        }


@dataclass(frozen=True)
class _Labelled:
    """Features of films with their targets and weights, all [n, ...], and their patients."""

    features: Tensor
    targets: Tensor
    weights: Tensor
    patients: NDArray[np.int64]

    def where(self, chosen: NDArray[np.bool_]) -> _Labelled:
        picked = torch.from_numpy(chosen)
        return _Labelled(self.features[picked], self.targets[picked], self.weights[picked], self.patients[chosen])


def probe(subject: str, options: ProbeOptions, listener: Listener = SILENT) -> ProbeResult:
    """Measure what the frozen features of a run, file, ImageNet's or random weights know of the findings.

    The penalty of the linear probe is chosen on a fifth of the training patients; neither validation nor test films
    choose anything.

    Raises:
        HilumError: The user can mend it; see the line.
    """
    films = Films.open(options.data)
    parts = Parts.of(films)
    targets, weights = training_labels(films, options.labels)
    rows = labelled_rows(parts.needed("train", options.fraction, options.draw), weights)
    learnt = learnt_columns(weights[rows])
    note_never_labelled(films.findings, [films.findings[column] for column in learnt], listener)
    targets, weights = targets[:, learnt], weights[:, learnt]
    tested = parts.needed(options.split)
    size = _size(subject, films, options)
    start = _start(subject, films, tested, size, options, listener)
    device = choose_device(options.device)
    start.backbone.to(device)
    embedded = over_films(
        start.backbone, films, np.concatenate([rows, tested]), size,
        lambda done, total: listener.progress("embed", done, total),
    )  # fmt: skip
    features = torch.from_numpy(embedded)
    known = _Labelled(
        features[: len(rows)],
        torch.from_numpy(targets[rows]),
        torch.from_numpy(weights[rows]),
        films.patient_codes[rows],
    )
    penalty = choose_penalty(known, options.seed)
    linear = LinearProbe(known.features, known.targets, known.weights, penalty)(features[len(rows) :])
    knn = knn_scores(features[len(rows) :], known.features, known.targets, known.weights, options.neighbours)
    evaluations = [_evaluate(films, tested, learnt, scores.numpy(), options) for scores in (knn, linear)]
    return ProbeResult(subject, options.split, options.fraction, len(rows), penalty, *evaluations)


def choose_penalty(known: _Labelled, seed: int) -> float:
    """Return the penalty with the best mean AUROC on a fifth of the patients, fitted on the others."""
    patients = np.unique(known.patients)
    held = np.random.default_rng(seed).permutation(patients)[: max(len(patients) // HELD_OUT, 1)]
    out = np.isin(known.patients, held)
    if out.all():
        return PENALTIES[len(PENALTIES) // 2]
    inside, outside = known.where(~out), known.where(out)
    scores = [_mean_auroc(outside, LinearProbe(inside.features, inside.targets, inside.weights, p)) for p in PENALTIES]
    return PENALTIES[int(np.argmax(scores))]


def _mean_auroc(known: _Labelled, linear: LinearProbe) -> float:
    logits, counts = linear(known.features).numpy(), known.weights.numpy() > 0
    truth = known.targets.numpy() >= 0.5
    values = [auroc(truth[cells, f], logits[cells, f]) for f, cells in enumerate(counts.T)]
    known_values = [value for value in values if value == value]
    return float(np.mean(known_values)) if known_values else 0.0


def _start(subject: str, films: Films, tested: Rows, size: int, options: ProbeOptions, listener: Listener) -> Start:
    start = start_from(subject, options.backbone, size, options.seed)
    for note in start.notes:
        listener.note(note)
    if start.preparation is not None:
        films.refuse_other_preparation(start.preparation)
    seen = were_seen(films.catalog.iloc[tested], start.seen)
    if seen.any():
        raise DataError(
            f"{subject} was trained on {int(seen.sum())} of the {len(tested)} films of {options.split!r}: "
            "choose another --split, or a run that left them out."
        )
    return start


def _size(subject: str, films: Films, options: ProbeOptions) -> int:
    if options.size is not None:
        return options.size
    return described(Path(subject)).size if is_model(Path(subject)) else films.preparation.size


def _evaluate(
    films: Films, rows: Rows, columns: list[int], scores: NDArray[np.float32], options: ProbeOptions
) -> Evaluation:
    truth, counts = truth_of(films, rows, options.labels.unstated)
    return evaluate_findings(
        truth[:, columns], counts[:, columns], scores, films.patient_codes[rows],
        [films.findings[column] for column in columns],
        None, options.resamples, options.seed, options.min_positives,
    )  # fmt: skip
