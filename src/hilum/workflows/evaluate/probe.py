"""Probing: how well frozen features predict the findings, by kNN and by a linear layer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hilum.arrays import BoolArray, FloatArray, Rows
from hilum.bundle.initialization import initial_weights, input_size
from hilum.bundle.model_folder import is_model
from hilum.bundle.predictor import choose_device
from hilum.bundle.training_manifest import FILMS, key_notes, were_seen
from hilum.classifier.probes import PENALTIES, LinearProbe, knn_scores
from hilum.counts import counted
from hilum.errors import DataError
from hilum.group_key import group_key
from hilum.images.films import Films
from hilum.listener import SILENT, Listener
from hilum.metrics.comparisons import compare_models
from hilum.metrics.ranking import auroc
from hilum.metrics.resampling import EvaluationLabels
from hilum.metrics.results import Comparison, Evaluation
from hilum.metrics.summary import evaluate_findings
from hilum.training.inference import describe_device, over_films
from hilum.workflows.data.subsets import Subsets, truth_of
from hilum.workflows.data.targets import label_kinds, labelled_rows, probe_labels
from hilum.workflows.evaluate.options import ProbeOptions

HELD_OUT = 5
"""One training patient in so many chooses the linear probe's penalty."""


@dataclass(frozen=True)
class Against:
    """The subject minus another's frozen features, on the same films, resampled in pairs."""

    subject: str
    knn: Comparison
    linear: Comparison

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain values."""
        content: dict[str, Any] = {"subject": self.subject}
        for name, comparison in (("knn", self.knn), ("linear", self.linear)):
            macro = comparison.auroc_macro
            content[f"{name}_auroc_macro"] = macro.value
            content[f"{name}_auroc_macro_interval"] = (
                None if macro.interval is None else list(macro.interval)
            )
        return content


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
    against: Against | None = None

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
            **{
                f"knn_{name}": knn[name]
                for name in ("auroc_macro", "auroc_macro_interval", "auroc")
            },
            **{
                f"linear_{name}": linear[name]
                for name in ("auroc_macro", "auroc_macro_interval", "auroc")
            },
            "against": None if self.against is None else self.against.to_json(),
        }


@dataclass(frozen=True)
class _Labelled:
    """Features of films with their targets and weights, all [n, ...], and their patients."""

    features: Tensor
    targets: Tensor
    weights: Tensor
    patients: NDArray[np.int64]

    def where(self, chosen: BoolArray) -> _Labelled:
        picked = torch.from_numpy(chosen)
        return _Labelled(
            self.features[picked], self.targets[picked], self.weights[picked], self.patients[chosen]
        )


@dataclass(frozen=True)
class _Task:
    """What every subject is probed on: labelled rows, rows to score, and their labels."""

    films: Films
    rows: Rows
    tested: Rows
    findings: list[str]
    targets: FloatArray
    weights: FloatArray
    truth: FloatArray
    counts: BoolArray

    @staticmethod
    def of(options: ProbeOptions, listener: Listener) -> _Task:
        films = Films.open(options.data, listener=listener)
        subsets = Subsets.of(films)
        targets, weights = probe_labels(films, options.labels)
        rows = labelled_rows(
            subsets.needed("train", options.fraction, options.subset_seed), weights
        )
        kinds = label_kinds(targets, weights, rows)
        learnt = kinds.learnt
        findings = [films.findings[column] for column in learnt]
        for line in kinds.left_out(films.findings):
            listener.note(line)
        tested = subsets.needed(options.split)
        truth, counts = truth_of(films, tested, options.labels.unstated)
        columns = np.array(learnt)
        return _Task(
            films, rows, tested, findings,
            targets[rows][:, columns], weights[rows][:, columns], truth[:, columns], counts[:, columns],
        )  # fmt: skip

    @property
    def labels(self) -> EvaluationLabels:
        patients = self.films.patient_codes[self.tested]
        return EvaluationLabels.of(self.truth, self.counts, patients)


@dataclass(frozen=True)
class _Scores:
    """Both probes' scores of the test films, [n, F] each, and the linear one's penalty."""

    backbone: str
    knn: FloatArray
    linear: FloatArray
    penalty: float


def probe(subject: str | Path, options: ProbeOptions, listener: Listener = SILENT) -> ProbeResult:
    """Probe the frozen features of a run, a file, ImageNet's or random weights.

    The penalty of the linear probe is chosen on a fifth of the training patients; neither
    validation nor test films choose anything. With ``options.against`` a second subject is probed
    in the same way, and the difference has intervals paired within each resample; random
    and ImageNet's weights then are those of the subject's network unless ``options.backbone`` names
    another.

    Raises:
        HilumError: The user can mend it; see the line.
    """
    subject = str(subject)
    task = _Task.of(options, listener)
    mine = _score(subject, options.backbone, task, options, listener)
    labels, how, against = task.labels, options.intervals, None
    if options.against is not None:
        backbone = None if is_model(Path(options.against)) else options.backbone or mine.backbone
        other = _score(options.against, backbone, task, options, listener)
        against = Against(
            options.against,
            knn=compare_models(labels, mine.knn, other.knn, task.findings, how),
            linear=compare_models(labels, mine.linear, other.linear, task.findings, how),
        )
    return ProbeResult(
        subject,
        options.split,
        options.fraction,
        len(task.rows),
        mine.penalty,
        knn=evaluate_findings(labels, mine.knn, task.findings, options=how),
        linear=evaluate_findings(labels, mine.linear, task.findings, options=how),
        against=against,
    )


def _score(
    subject: str, backbone: str | None, task: _Task, options: ProbeOptions, listener: Listener
) -> _Scores:
    """Fit both probes on the subject's features of the labelled films and score the others."""
    size = input_size(subject, options.size, task.films.preparation)
    start = initial_weights(subject, backbone, size, options.seed, options.allow_partial)
    for note in start.notes:
        listener.note(note)
    if start.preparation is not None:
        task.films.refuse_other_preparation(start.preparation)
    test_films = task.films.columns(FILMS, task.tested)
    key = group_key(task.films.stores[0].folder)
    for note in key_notes(start.seen, key, subject):
        listener.note(note)
    seen = were_seen(test_films, start.seen, task.films.preparation.size, key)
    if seen.any():
        raise DataError(
            f"{subject} was trained on {int(seen.sum())} of the {counted(len(task.tested), 'film')} of "
            f"{options.split!r}: choose another --split, or a run that left them out."
        )
    device = choose_device(options.device)
    listener.device(describe_device(device))
    start.backbone.to(device)
    embedded = over_films(
        start.backbone, task.films, np.concatenate([task.rows, task.tested]), size,
        lambda done, total: listener.progress("embed", done, total),
    )  # fmt: skip
    features, labelled = torch.from_numpy(embedded), len(task.rows)
    known = _Labelled(
        features[:labelled],
        torch.from_numpy(task.targets),
        torch.from_numpy(task.weights),
        task.films.patient_codes[task.rows],
    )
    penalty = choose_penalty(known, options.seed)
    linear = LinearProbe(known.features, known.targets, known.weights, penalty)(features[labelled:])
    knn = knn_scores(
        features[labelled:], known.features, known.targets, known.weights, options.neighbours
    )
    return _Scores(start.backbone.name, knn.numpy(), linear.numpy(), penalty)


def choose_penalty(known: _Labelled, seed: int) -> float:
    """Return the penalty of the best mean AUROC on a fifth of the patients."""
    patients = np.unique(known.patients)
    held_out = np.random.default_rng(seed).permutation(patients)[
        : max(len(patients) // HELD_OUT, 1)
    ]
    out = np.isin(known.patients, held_out)
    if out.all():
        return PENALTIES[len(PENALTIES) // 2]
    inside, outside = known.where(~out), known.where(out)
    truth, counts = outside.targets.numpy() >= 0.5, outside.weights.numpy() > 0
    scores = []
    for penalty in PENALTIES:
        linear = LinearProbe(inside.features, inside.targets, inside.weights, penalty)
        logits = linear(outside.features).numpy()
        areas = [auroc(truth[cells, f], logits[cells, f]) for f, cells in enumerate(counts.T)]
        known_areas = [area for area in areas if not math.isnan(area)]  # both classes are there
        scores.append(float(np.mean(known_areas)) if known_areas else 0.0)
    return PENALTIES[int(np.argmax(scores))]
