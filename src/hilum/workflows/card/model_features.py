"""What a card takes from a run: features for label issues, and scores beside the probes'."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from hilum.arrays import BoolArray, FloatArray, Rows
from hilum.bundle.initialization import initial_weights, input_size
from hilum.bundle.model_folder import is_model, load_model
from hilum.bundle.predictor import choose_device
from hilum.bundle.training_manifest import FILMS, key_notes, were_seen
from hilum.classifier.linear_baseline import linear_baseline_scores
from hilum.errors import RunError
from hilum.group_key import group_key
from hilum.images.enhance import Preparation
from hilum.images.films import Films
from hilum.labels import LabelOptions
from hilum.listener import Listener
from hilum.training.inference import as_probabilities, describe_device, over_films
from hilum.workflows.card.shortcuts import LEARNT
from hilum.workflows.data.targets import label_kinds, labelled_rows, probe_labels

CLASSIFIER = "the run's own classifier"
LINEAR = "a linear layer on the run's frozen features, trained on the training set"


@dataclass(frozen=True)
class Reader:
    """A run's features of all films, and what its classifier, if it has one, says of them."""

    kind: str
    """How it was trained, such as ``moco`` or ``finetune``; the subject's own name where it is no
    run."""
    backbone: str
    features: FloatArray
    """[N, E]."""
    probabilities: FloatArray | None
    """[N, M]; None after pretraining."""
    findings: tuple[str, ...]
    seen: BoolArray
    """[N], the films that it was trained on."""

    @property
    def says(self) -> str:
        """What its scores are, in words."""
        return LINEAR if self.probabilities is None else CLASSIFIER

    def of(self, rows: Rows) -> Reader:
        """Return what it says of some films alone."""
        chosen = None if self.probabilities is None else self.probabilities[rows]
        return replace(
            self, features=self.features[rows], probabilities=chosen, seen=self.seen[rows]
        )

    def scores(
        self, films: Films, rows: Rows, tested: Rows, seed: int, learnt: int = LEARNT
    ) -> tuple[FloatArray, list[str]]:
        """Return what it says of the tested films, [n, M], and of which findings.

        Args:
            films: All films.
            rows: Films that a linear layer may learn from, where the run has no classifier of its
                own.
            tested: [n] rows.
            seed: Of the patients that choose the layer's ridge.
            learnt: Films that it learns from at most, drawn by the seed: those of the shortcut
                probes.
        """
        if self.probabilities is not None:
            return self.probabilities[tested], list(self.findings)
        targets, weights = probe_labels(films, LabelOptions())
        rows = labelled_rows(rows, weights)
        if len(rows) > learnt:
            rows = np.sort(np.random.default_rng(seed).choice(rows, learnt, replace=False))
        columns = np.flatnonzero(label_kinds(targets, weights, rows).counted).tolist()
        scores = linear_baseline_scores(
            self.features[rows], targets[rows][:, columns], weights[rows][:, columns], films.patient_codes[rows],
            self.features[tested], seed,
        )  # fmt: skip
        return scores, [films.findings[column] for column in columns]


def read_with(subject: str, films: Films, device: str, seed: int, listener: Listener) -> Reader:
    """Return a run's features of all films.

    Args:
        subject: A run folder, a weights file, ``random`` or ``imagenet``.
        films: Prepared as the run's were.
        device: auto, cpu or cuda.
        seed: Of random weights.
        listener: Hears notes and progress.

    Raises:
        DataError: The films were prepared in another way than the run's.
        RunError: Its weights give features that are no numbers.
        HilumError: Anything else the user can mend; see the line.
    """
    size = input_size(subject, None, films.preparation)
    model = load_model(Path(subject)) if is_model(Path(subject)) else None
    if model is None:
        start = initial_weights(subject, None, size, seed)
        backbone, kind = start.backbone, Path(subject).name
    else:
        films.refuse_other_preparation(Preparation.from_json(model.description.preparation))
        backbone, kind = model.backbone, model.description.method
    chosen = choose_device(device)
    listener.device(describe_device(chosen))
    backbone.to(chosen)
    features = over_films(
        backbone,
        films,
        np.arange(len(films)),
        size,
        lambda done, total: listener.progress("features", done, total),
    )
    if not np.isfinite(features).all():
        raise RunError(
            f"{subject} gives features that are no numbers: its weights are damaged, give another run."
        )
    if model is None:
        seen = np.zeros(len(films), np.bool_)
        return Reader(kind, backbone.name, features, None, (), seen)
    key = group_key(films.stores[0].folder)
    for note in key_notes(model.seen, key, subject):
        listener.note(note)
    seen = were_seen(films.columns(FILMS), model.seen, films.preparation.size, key)
    probabilities = None
    if model.head is not None:
        with torch.inference_mode():
            outputs = model.head.cpu()(torch.from_numpy(features)).numpy()
        probabilities = as_probabilities(outputs)
    findings = model.description.findings
    return Reader(kind, backbone.name, features, probabilities, findings, seen)
