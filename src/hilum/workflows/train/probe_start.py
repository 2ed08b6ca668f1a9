"""The linear probe that a few-label fine-tuning starts from (LP-FT: Kumar 2022, arXiv 2202.10054)."""

from __future__ import annotations

import numpy as np
import torch

from hilum.arrays import FloatArray, Rows
from hilum.classifier.learner import SupervisedLearner
from hilum.classifier.probes import PENALTIES, FeatureScale, LinearProbe, out_of_fold_logits
from hilum.images.films import Films
from hilum.metrics.ranking import mean_auroc_within_folds
from hilum.nn.backbones import Backbone
from hilum.stratify import folds
from hilum.training.inference import over_films
from hilum.workflows.train.training_set import TrainingSet

FOLDS = 5
"""Folds of the training patients that choose the penalty, each scored by a probe of the others."""


def start_at_probe(
    learner: SupervisedLearner,
    films: Films,
    training_set: TrainingSet,
    seed: int,
    device: torch.device,
    *,
    by_patient: bool,
) -> float:
    """Put a linear probe of the backbone's features of the training films into the head; return its penalty.

    Whole films are embedded, without augmentation. The penalty is chosen by cross-validation over
    the training patients. ``by_patient`` scales features also by how they vary within patients.
    """
    probe, penalty = fit_probe(
        learner.backbone, films, training_set, learner.size, seed, device, by_patient=by_patient
    )
    learner.set_head(*probe.layer())
    return penalty


def fit_probe(
    backbone: Backbone,
    films: Films,
    training_set: TrainingSet,
    size: int,
    seed: int,
    device: torch.device,
    *,
    by_patient: bool,
) -> tuple[LinearProbe, float]:
    """Return the linear probe of a backbone on the training films, and its penalty."""
    rows = training_set.rows
    features = torch.from_numpy(embedded(backbone, films, rows, size, device))
    targets = torch.from_numpy(training_set.labels.targets[rows])
    weights = torch.from_numpy(training_set.labels.weights[rows])
    patients = films.patient_codes[rows]
    truth, counts = targets.numpy() > 0.5, weights.numpy() > 0
    parts = folds(truth & counts, patients, FOLDS, seed)
    middle = PENALTIES[len(PENALTIES) // 2]
    of_patients = torch.from_numpy(patients.astype(np.int64)) if by_patient else None
    scores = {}
    if parts.max() > 0:  # of one patient nothing can be held out
        held_out = torch.from_numpy(parts)
        logits = out_of_fold_logits(features, targets, weights, held_out, PENALTIES, of_patients)
        for penalty, of_penalty in zip(PENALTIES, logits, strict=True):
            score = mean_auroc_within_folds(
                truth.astype(np.float32), counts, of_penalty.numpy(), parts
            )
            scores[penalty] = 0.0 if score is None else score
    best = max(scores, key=scores.__getitem__, default=middle)
    scale = FeatureScale(features, of_patients)
    return LinearProbe(features, targets, weights, best, scale), best


def embedded(
    backbone: Backbone, films: Films, rows: Rows, size: int, device: torch.device
) -> FloatArray:
    """Return the features [n, D] of whole films, computed on a device; the backbone is left on the CPU."""
    features = over_films(backbone.to(device), films, rows, size)
    backbone.to("cpu")
    return features
