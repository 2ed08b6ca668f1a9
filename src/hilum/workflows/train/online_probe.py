"""The online probe: what features know of the findings while they are learnt, measured on training patients alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hilum.arrays import BoolArray, FloatArray, Rows
from hilum.classifier.probes import LinearProbe, knn_scores
from hilum.errors import RunError
from hilum.images.films import Films
from hilum.labels import LabelOptions
from hilum.listener import Listener
from hilum.metrics.ranking import auroc
from hilum.training.inference import over_films
from hilum.training.learner import Learner
from hilum.workflows.data.subsets import truth_of
from hilum.workflows.data.targets import training_labels

FITTED_SHARE = 2 / 3
"""Share of the slice's patients that the probes are fitted on; the others are scored."""
FEWEST = 10
"""Films with a finding, and without it, that both parts need for it to be probed."""
PENALTY = 1e-1
"""Strength of the linear probe's ridge: the strongest of those that `hilum probe` tries, since the
films are few."""
NEIGHBOURS = 50


@dataclass(frozen=True)
class OnlineProbe:
    """A slice of labelled films, some to fit both probes on and some to score; called with a learner, it measures it.

    The labels are read here and go nowhere else.
    """

    films: Films
    size: int
    fitted: Rows
    scored: Rows
    findings: tuple[str, ...]
    targets: FloatArray
    """[m, F] of the fitted films."""
    weights: FloatArray
    """[m, F] how much each target counts."""
    truth: FloatArray
    """[n, F] of the scored films."""
    counts: BoolArray
    """[n, F] which cells are scored."""

    def __call__(self, learner: Learner) -> dict[str, Any]:
        """Return the AUROC of both probes by finding and their means, of a backbone's features as they are.

        Raises:
            RunError: A feature is not finite.
        """
        features = torch.from_numpy(
            over_films(
                learner.backbone, self.films, np.concatenate([self.fitted, self.scored]), self.size
            )
        )
        if not bool(features.isfinite().all()):
            raise RunError(
                "the features of films are not finite: nothing bad was saved. "
                "Start again in another --out with a lower --train.lr."
            )
        known, asked = features[: len(self.fitted)], features[len(self.fitted) :]
        targets, weights = torch.from_numpy(self.targets), torch.from_numpy(self.weights)
        knn = self._auroc(knn_scores(asked, known, targets, weights, NEIGHBOURS))
        linear = self._auroc(LinearProbe(known, targets, weights, PENALTY)(asked))
        named = zip(self.findings, knn, linear, strict=True)
        return {
            "films": len(features),
            "knn": round(float(np.mean(knn)), 5),
            "linear": round(float(np.mean(linear)), 5),
            "findings": {name: {"knn": round(k, 5), "linear": round(v, 5)} for name, k, v in named},
        }

    def _auroc(self, scores: Tensor) -> list[float]:
        columns = zip(self.truth.T, self.counts.T, scores.numpy().T, strict=True)
        return [auroc(truth[cells], values[cells]) for truth, cells, values in columns]


def online_probe(
    films: Films, rows: Rows, count: int, size: int, seed: int, listener: Listener
) -> OnlineProbe | None:
    """Return a probe of whole patients among these films, or None, with a note, where they have too few labels.

    Args:
        films: Where to read from.
        rows: [n] of the training films; none of validation or test.
        count: How many films to take, at most.
        size: Height and width in pixels of what the network sees.
        seed: Chooses the patients.
        listener: Hears why there is no probe.
    """
    if not films.findings:
        listener.note("the stores have no labels: no online probe")
        return None
    targets, weights = training_labels(films, LabelOptions())
    labelled = rows[weights[rows].any(axis=1)]
    fitted, scored = patient_slice(labelled, films.patient_codes[labelled], count, seed)
    truth, counts = truth_of(films, scored, LabelOptions().unstated)
    enough = _enough(targets[fitted], weights[fitted] > 0) & _enough(truth, counts)
    if not enough.any():
        listener.note(
            f"no finding has {FEWEST} labelled training films with it and without it to fit a probe on, "
            "and as many to score: no online probe"
        )
        return None
    findings = tuple(name for name, taken in zip(films.findings, enough, strict=True) if taken)
    return OnlineProbe(
        films, size, fitted, scored, findings,
        targets[fitted][:, enough], weights[fitted][:, enough], truth[:, enough], counts[:, enough],
    )  # fmt: skip


def patient_slice(
    rows: Rows, patients: NDArray[np.int64], count: int, seed: int
) -> tuple[Rows, Rows]:
    """Return at most ``count`` rows of whole patients drawn by the seed: two thirds of the patients, and the others.

    The patients drawn from the first one on whose films would exceed the count are left out.
    """
    names, films = np.unique(patients, return_counts=True)
    order = np.random.default_rng([seed, len(rows)]).permutation(len(names))
    taken = order[np.cumsum(films[order]) <= count]
    border = round(len(taken) * FITTED_SHARE)
    parts = (taken[:border], taken[border:])
    fitted, scored = (np.sort(rows[np.isin(patients, names[part])]) for part in parts)
    return fitted, scored


def _enough(truth: FloatArray, cells: BoolArray) -> BoolArray:
    """Return for each finding [F] whether enough of its cells [n, F] say present, and enough absent."""
    present = ((truth >= 0.5) & cells).sum(axis=0)
    return np.asarray((present >= FEWEST) & (cells.sum(axis=0) - present >= FEWEST))
