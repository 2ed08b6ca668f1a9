"""Localisation: how often heatmaps point at the finding; the control has random weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from hilum.annotations.known import Shown, outputs_for
from hilum.arrays import DoubleArray, FloatArray
from hilum.augment.crops import whole_film
from hilum.bundle.initialization import new_backbone, seeded
from hilum.bundle.predictor import Predictor
from hilum.classifier.network import Classifier
from hilum.heatmaps.gradcam import explain
from hilum.heatmaps.localisation import (
    Located,
    Places,
    located,
    located_difference,
    overlaps,
    pointing_hits,
)
from hilum.images.store import Store
from hilum.listener import SILENT, Listener

CONTROLS = 3
"""Random initialisations that the control averages over: one network may be lucky."""
BATCH = 32


@dataclass(frozen=True)
class Scores:
    """One network's scores of each shown finding, [n]: hits, overlaps (0 to 1), empty maps (1)."""

    hits: DoubleArray
    overlaps: DoubleArray
    habit: DoubleArray
    """Hits of another patient's map of the same finding: those of pointing at the usual site."""
    empty: DoubleArray
    layer: str


@dataclass(frozen=True)
class Localisation:
    """A model's pointing game and overlap, the control's, and the paired differences."""

    hit_rate: Located
    iou: Located
    control_hit_rate: Located
    control_iou: Located
    difference_hit_rate: Located
    difference_iou: Located
    beyond_chance: Located
    """The hit rate less that of a random point; random weights prefer edges and may do worse."""
    habit: Located
    beyond_habit: Located
    """The hit rate less that of another patient's map, in pairs."""
    empty: float
    control_empty: float
    layer: str

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "hit_rate": self.hit_rate.to_json(),
            "iou": self.iou.to_json(),
            "empty_maps": self.empty,
            "control": {
                "hit_rate": self.control_hit_rate.to_json(),
                "iou": self.control_iou.to_json(),
                "empty_maps": self.control_empty,
                "draws": CONTROLS,
            },
            "difference": {
                "hit_rate": self.difference_hit_rate.to_json(),
                "iou": self.difference_iou.to_json(),
            },
            "beyond_chance": self.beyond_chance.to_json(),
            "habit": self.habit.to_json(),
            "beyond_habit": self.beyond_habit.to_json(),
            "layer": self.layer,
        }


@dataclass(frozen=True)
class Judge:
    """The annotated findings that every model is scored on, and their common resamples."""

    store: Store
    shown: tuple[Shown, ...]
    places: Places
    weights: NDArray[np.uint16]
    listener: Listener = SILENT

    @classmethod
    def of(
        cls,
        store: Store,
        shown: Sequence[Shown],
        resamples: int,
        seed: int,
        listener: Listener = SILENT,
    ) -> Judge:
        """Return the judge of a store's annotated findings.

        Raises:
            ValueError: There is none.
        """
        names = tuple(dict.fromkeys(each.finding for each in shown))
        order = [name for name in store.findings if name in names]
        order += [name for name in names if name not in order]
        patients = [str(store.catalog["patient"].iloc[each.row]) for each in shown]
        places = Places.of([each.finding for each in shown], patients, order)
        return cls(store, tuple(shown), places, places.weightings(resamples, seed), listener)

    @property
    def films(self) -> int:
        """How many films are scored."""
        return len({each.row for each in self.shown})

    @property
    def covered(self) -> DoubleArray:
        """The fraction of its film that each shown finding covers, [n]."""
        return np.array([each.mask.mean() for each in self.shown], np.float64)

    def chance(self) -> Located:
        """Return the fraction of a film that a finding covers: the hit rate of a random point."""
        return self.mean(self.covered)

    def mean(self, values: DoubleArray) -> Located:
        """Return the means of a score by finding and over findings."""
        return located(values, self.places, self.weights)

    def difference(self, values: DoubleArray) -> Located:
        """Return the means of a paired difference by finding and over findings."""
        return located_difference(values, self.places, self.weights)

    def compare(self, model: Scores, control: Scores) -> Localisation:
        """Return a model's scores compared with the control's."""
        return Localisation(
            hit_rate=self.mean(model.hits),
            iou=self.mean(model.overlaps),
            control_hit_rate=self.mean(control.hits),
            control_iou=self.mean(control.overlaps),
            difference_hit_rate=self.difference(model.hits - control.hits),
            difference_iou=self.difference(model.overlaps - control.overlaps),
            beyond_chance=self.difference(model.hits - self.covered),
            habit=self.mean(model.habit),
            beyond_habit=self.difference(model.hits - model.habit),
            empty=float(model.empty.mean()),
            control_empty=float(control.empty.mean()),
            layer=model.layer,
        )

    def score(
        self, classifier: Classifier, findings: Sequence[str], size: int, label: str
    ) -> Scores:
        """Return a network's scores.

        Args:
            classifier: In evaluation mode.
            findings: Its outputs.
            size: Pixels of the films that it sees.
            label: For the progress.

        Raises:
            OptionError: The network has no maps.
        """
        scores = {
            kind: np.zeros(len(self.shown)) for kind in ("hits", "overlaps", "habit", "empty")
        }
        device = next(classifier.parameters()).device
        layer, done = "", 0
        for name in self.places.names:
            mine = [index for index, each in enumerate(self.shown) if each.finding == name]
            outputs = outputs_for(name, findings)
            heats: list[FloatArray] = []
            for batch in (mine[start : start + BATCH] for start in range(0, len(mine), BATCH)):
                rows = np.array([self.shown[index].row for index in batch])
                films = torch.from_numpy(self.store.read(rows)).unsqueeze(1).to(device)
                images = whole_film(films, size)  # [B, 1, H, W]
                explained = explain(classifier, images, outputs)
                maps, layer = explained.maps.detach().cpu().numpy(), explained.note
                best = np.zeros(len(rows), np.int64)
                if len(outputs) > 1:  # several stand in for the finding: the most probable one
                    with torch.inference_mode():
                        best = classifier(images)[:, outputs].argmax(dim=1).cpu().numpy()
                heats += list(maps[np.arange(len(rows)), best])
                done += len(batch)
                self.listener.progress(f"look: {label}", done, len(self.shown))
            for number, index in enumerate(mine):
                mask = self.shown[index].mask[None]
                height, width = mask.shape[1:]
                own, other = (
                    np.asarray(cv2.resize(heats[i], (width, height)), np.float32)[None]  # bilinear
                    for i in (number, self._other(mine, number))
                )
                scores["hits"][index], scores["habit"][index] = (
                    pointing_hits(heat, mask)[0] for heat in (own, other)
                )
                scores["overlaps"][index], scores["empty"][index] = (
                    overlaps(own, mask)[0],
                    not own.any(),
                )
        return Scores(**scores, layer=layer)

    def _other(self, mine: list[int], number: int) -> int:
        """Return the next of these findings of another patient, in the same view if there is one.

        Without another patient it is the finding itself.
        """
        views = self.store.catalog["view_position"]
        patient, view = (
            self.places.patient,
            [str(views.iloc[self.shown[index].row]) for index in mine],
        )
        after = [(number + step) % len(mine) for step in range(1, len(mine))]
        others = [i for i in after if patient[mine[i]] != patient[mine[number]]]
        alike = [i for i in others if view[i] == view[number]]
        return next(iter([*alike, *others]), number)


def model_scores(judge: Judge, predictor: Predictor, label: str) -> Scores:
    """Return a trained model's scores."""
    return judge.score(predictor.classifier, predictor.findings, predictor.description.size, label)


def control_scores(judge: Judge, predictor: Predictor) -> Scores:
    """Return the scores of the network with random weights and head, the mean over several.

    Source: the model randomisation test of Adebayo 2018 (arXiv 1810.03292).
    """
    drawn = []
    for seed in range(CONTROLS):
        classifier = random_classifier(predictor, seed)
        label = f"random weights, draw {seed + 1}"
        drawn.append(judge.score(classifier, predictor.findings, predictor.description.size, label))
    means = {
        name: np.mean([getattr(scores, name) for scores in drawn], axis=0)
        for name in ("hits", "overlaps", "habit", "empty")
    }
    return Scores(**means, layer=drawn[0].layer)


def random_classifier(predictor: Predictor, seed: int) -> Classifier:
    """Return a model's network before any training, weights and head from the seed."""
    description = predictor.description
    backbone = new_backbone(description.backbone, description.size, seed)
    with seeded(seed):
        head = nn.Linear(backbone.out_features, len(description.findings))
    return Classifier(backbone, head).to(predictor.device).eval()
