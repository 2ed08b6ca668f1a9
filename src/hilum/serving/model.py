"""What the service needs of a model, and a run behind it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hilum.arrays import FloatArray
from hilum.errors import RunError
from hilum.files import sha256
from hilum.images.enhance import Preparation

if TYPE_CHECKING:
    from hilum.bundle.description import Description

THRESHOLDS_FROM = (
    "validation films of the model's own training data, by the largest sensitivity + specificity; another hospital's "
    "films may need others"
)


@dataclass(frozen=True)
class ModelFacts:
    """What is known of a model beside its weights."""

    kind: str
    """run or bundle."""
    sha256: str
    """Hash of the file that vouches for the model's others, or of its weights."""
    backbone: str
    size: int
    """Side of the network's input in pixels."""
    preparation: Preparation
    findings: tuple[str, ...]
    thresholds: dict[str, float | None]
    not_called: dict[str, str] = field(default_factory=dict)
    """Finding -> why it has no threshold."""
    notes: tuple[str, ...] = ()
    batch: int = 4
    """Films that go through the network together, at most. On a CPU more are no quicker, and their answers come, and
    with them the next films, in bursts, between which cores stand idle."""

    def called(self, probabilities: dict[str, float]) -> list[str]:
        """Return the findings whose probability reaches their threshold."""
        return [
            name
            for name, value in probabilities.items()
            if (threshold := self.thresholds.get(name)) is not None and value >= threshold
        ]


class ServedModel(Protocol):
    """A model as the service uses it, from one thread."""

    facts: ModelFacts

    def logits(self, images: NDArray[np.uint8]) -> FloatArray:
        """Return logits, float32 [B, F], of prepared films [B, size, size]."""

    def heatmap(self, image: NDArray[np.uint8], finding: int) -> FloatArray:
        """Return where the network looks for one finding, float32 [size, size] from 0 to 1."""

    def features(self, images: NDArray[np.uint8]) -> FloatArray:
        """Return what films are compared by, float32 [B, D], of prepared films [B, size, size].

        Raises:
            OptionError: A bundle of an earlier version has none.
        """


def open_model(path: Path, device: str, threads: int | None) -> ServedModel:
    """Return the model of a bundle, for which torch is not imported, or of a run.

    Raises:
        RunError: There is none, it is damaged, or it was pretrained only.
        OptionError: The device is not there.
    """
    from hilum.bundle.exported import is_exported
    from hilum.bundle.starter import resolved

    path = resolved(path)
    return BundleModel(path, threads) if is_exported(path) else RunModel(path, device, threads)


class BundleModel:
    """A bundle of `hilum export`, computed by onnxruntime, with class-activation maps."""

    def __init__(self, path: Path, threads: int | None) -> None:
        """Load a bundle.

        Raises:
            RunError: It is damaged, or was pretrained only.
            OptionError: onnxruntime is not installed.
        """
        from hilum.bundle.onnx_model import OnnxModel

        self._model = OnnxModel(path, threads)
        self.facts = facts_of("bundle", self._model.sha256, self._model.description)
        self.logits = self._model.logits
        self.heatmap = self._model.heatmap
        self.features = self._model.features


class RunModel:
    """A run, computed by torch, with Grad-CAM."""

    def __init__(self, path: Path, device: str, threads: int | None) -> None:
        """Load a run or its model folder.

        Raises:
            RunError: There is none, it is damaged, or it was pretrained only.
            OptionError: The device is not there.
        """
        import torch

        from hilum.bundle.model_folder import MANIFEST, age_notes, weights_file
        from hilum.bundle.predictor import Predictor

        if threads is not None:
            torch.set_num_threads(threads)
        self._predictor = Predictor.load(path, device)
        weights = weights_file(path)
        manifest = weights.with_name(MANIFEST)
        hashed = sha256(manifest if manifest.is_file() else weights)
        facts = facts_of("run", hashed, self._predictor.description, age_notes(path))
        self.facts = replace(facts, batch=16) if self._predictor.device.type == "cuda" else facts

    def logits(self, images: NDArray[np.uint8]) -> FloatArray:
        """Return logits, float32 [B, F], of prepared films [B, size, size]."""
        import torch

        with torch.inference_mode():
            logits = self._predictor.classifier(self._predictor.standardised(list(images)))
        return np.asarray(logits.float().cpu().numpy())

    def features(self, images: NDArray[np.uint8]) -> FloatArray:
        """Return the backbone's pooled features, float32 [B, D], of prepared films [B, size, size]."""
        import torch

        with torch.inference_mode():
            features = self._predictor.model.backbone(self._predictor.standardised(list(images)))
        return np.asarray(features.float().cpu().numpy())

    def heatmap(self, image: NDArray[np.uint8], finding: int) -> FloatArray:
        """Return the Grad-CAM map of one finding, float32 [size, size] from 0 to 1."""
        from hilum.heatmaps.gradcam import explain

        standardised = self._predictor.standardised([image])
        maps = explain(self._predictor.classifier, standardised, [finding]).maps
        return np.asarray(maps[0, 0].cpu().numpy())


def facts_of(
    kind: str, hashed: str, description: Description, notes: tuple[str, ...] = ()
) -> ModelFacts:
    """Return the facts that a model's description holds.

    Raises:
        RunError: It was pretrained only.
    """
    if not description.findings:
        raise RunError(
            "this model was pretrained only and calls no findings: run `hilum finetune --init RUN` first."
        )
    thresholds: dict[str, Any] = {
        name: description.thresholds.get(name) for name in description.findings
    }
    return ModelFacts(
        kind,
        hashed,
        description.backbone,
        description.size,
        Preparation.from_json(description.preparation),
        description.findings,
        thresholds,
        dict(description.not_called),
        (*notes, *description.call_notes()),
    )
