"""Localisation: how often a model's heatmaps point at what is there, beside the same network with random weights."""

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
"""Draws of random weights whose scores are meant: one network's chance habits are not the
control's."""
BATCH = 32


@dataclass(frozen=True)
class Scores:
    """What one network reached on each shown finding, [n]: hits and overlaps from 0 to 1, and empty maps as 1."""

    hits: DoubleArray
    overlaps: DoubleArray
    habit: DoubleArray
    """Hits of another patient's map of the same finding: what pointing at the usual place gives."""
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
    """The hit rate less that of a point drawn by lot: random weights like edges, and may do worse
    than chance."""
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
    """The shown findings that every model is scored on, and the resamples that all of them share."""

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
        """Gather what is shown on a store's films.

        Raises:
            ValueError: Nothing is shown.
        """
        names = tuple(dict.fromkeys(one.finding for one in shown))
        order = [name for name in store.findings if name in names]
        order += [name for name in names if name not in order]
        patients = [str(store.catalog["patient"].iloc[one.row]) for one in shown]
        places = Places.of([one.finding for one in shown], patients, order)
        return cls(store, tuple(shown), places, places.weightings(resamples, seed), listener)

    @property
    def films(self) -> int:
        """How many films are scored."""
        return len({one.row for one in self.shown})

    @property
    def covered(self) -> DoubleArray:
        """The share of its film that each shown finding covers, [n]."""
        return np.array([one.mask.mean() for one in self.shown], np.float64)

    def chance(self) -> Located:
        """Return the share of a film that a finding covers: what a point drawn by lot hits."""
        return self.mean(self.covered)

    def mean(self, values: DoubleArray) -> Located:
        """Return the means of a score by finding and over findings."""
        return located(values, self.places, self.weights)

    def difference(self, values: DoubleArray) -> Located:
        """Return the means of a paired difference by finding and over findings."""
        return located_difference(values, self.places, self.weights)

    def compare(self, model: Scores, control: Scores) -> Localisation:
        """Return a model's scores beside the control's."""
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
        """Return what a network reaches.

        Args:
            classifier: In evaluation mode.
            findings: Its outputs.
            size: Pixels of the films that it sees.
            label: What the listener is told.

        Raises:
            OptionError: The network has no maps.
        """
        found = {kind: np.zeros(len(self.shown)) for kind in ("hits", "overlaps", "habit", "empty")}
        layer, done = "", 0
        for name in self.places.names:
            mine = [place for place, one in enumerate(self.shown) if one.finding == name]
            heats: list[FloatArray] = []
            for batch in (mine[start : start + BATCH] for start in range(0, len(mine), BATCH)):
                rows = [self.shown[place].row for place in batch]
                maps, layer = self._maps(classifier, rows, outputs_for(name, findings), size)
                heats += list(maps)
                done += len(batch)
                self.listener.progress(f"look: {label}", done, len(self.shown))
            for number, place in enumerate(mine):
                mask = self.shown[place].mask[None]
                own, other = (
                    _enlarged(heats[i], mask.shape[1:])[None]
                    for i in (number, self._other(mine, number))
                )
                found["hits"][place], found["habit"][place] = (
                    pointing_hits(one, mask)[0] for one in (own, other)
                )
                found["overlaps"][place], found["empty"][place] = (
                    overlaps(own, mask)[0],
                    not own.any(),
                )
        return Scores(**found, layer=layer)

    def _other(self, mine: list[int], number: int) -> int:
        """Return which of these shown findings is next of another patient, in the same view where there is one.

        Where there is no other patient it is the finding itself.
        """
        views = self.store.catalog["view_position"]
        patient, view = (
            self.places.patient,
            [str(views.iloc[self.shown[place].row]) for place in mine],
        )
        after = [(number + step) % len(mine) for step in range(1, len(mine))]
        others = [i for i in after if patient[mine[i]] != patient[mine[number]]]
        alike = [i for i in others if view[i] == view[number]]
        return next(iter([*alike, *others]), number)

    def _maps(
        self, classifier: Classifier, rows: list[int], outputs: list[int], size: int
    ) -> tuple[FloatArray, str]:
        """Return the films' maps [B, H, W] of the output that is most probable on each, and the line on the layer."""
        device = next(classifier.parameters()).device
        films = torch.from_numpy(self.store.read(np.array(rows))).unsqueeze(1).to(device)
        images = whole_film(films, size)
        found = explain(classifier, images, outputs)
        maps = found.maps.detach().cpu().numpy()
        if len(outputs) == 1:
            return maps[:, 0], found.note
        with torch.inference_mode():
            best = classifier(images)[:, outputs].argmax(dim=1).cpu().numpy()
        return maps[np.arange(len(rows)), best], found.note


def model_scores(judge: Judge, predictor: Predictor, label: str) -> Scores:
    """Return what a trained model reaches."""
    return judge.score(predictor.classifier, predictor.findings, predictor.description.size, label)


def control_scores(judge: Judge, predictor: Predictor) -> Scores:
    """Return what the model's network reaches with random weights and head, the mean over several draws.

    Source: the model randomisation test of Adebayo 2018 (arXiv 1810.03292).
    """
    drawn = []
    for seed in range(CONTROLS):
        classifier = random_classifier(predictor, seed)
        label = f"random weights, draw {seed + 1}"
        drawn.append(judge.score(classifier, predictor.findings, predictor.description.size, label))
    means = {
        name: np.mean([getattr(one, name) for one in drawn], axis=0)
        for name in ("hits", "overlaps", "habit", "empty")
    }
    return Scores(**means, layer=drawn[0].layer)


def random_classifier(predictor: Predictor, seed: int) -> Classifier:
    """Return a model's network as it is before any training, weights and head from the seed."""
    description = predictor.description
    backbone = new_backbone(description.backbone, description.size, seed)
    with seeded(seed):
        head = nn.Linear(backbone.out_features, len(description.findings))
    return Classifier(backbone, head).to(predictor.device).eval()


def _enlarged(heat: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """Return a map at a mask's size."""
    resized = cv2.resize(heat, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, np.float32)
