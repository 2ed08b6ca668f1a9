"""What the loop trains: a batch goes in, a loss comes out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

from torch import Tensor, nn

from hilum.nn.backbones import Backbone


class Batch(NamedTuple):
    """Films on the device; ``patient`` and ``study`` are integer codes, ``crops`` and ``epoch`` are filled by the loop.

    images  [B, 1, H, W] uint8
    index   [B] place of the film among all films of the run
    patient [B]
    study   [B]
    labels  [B, F] targets, or None without labels
    weights [B, F] how much each label counts, or None without labels
    crops   tuple of [B, 1, size, size] float32, or None
    twins   films [B, 1, H, W] and places [B] of another film of the same patient or study (the film itself where there
            is no other), or None where both crops come from one film
    epoch   pass over the data, from 0
    repeat  [B] how often the film was drawn before in this epoch, or None where each comes once
    """

    images: Tensor
    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    patient: Tensor
    study: Tensor
    labels: Tensor | None = None
    weights: Tensor | None = None
    crops: tuple[Tensor, ...] | None = None
    positives: tuple[Tensor, Tensor] | None = None
    epoch: int = 0
    repeat: Tensor | None = None


class Learner(nn.Module, ABC):
    """The base of every method and of the classifier; it owns its backbone and all state that training moves."""

    remedy: ClassVar[str] = ""
    """What else helps this method when it collapses or learns nothing, such as an option of its
    own: for warnings."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    @abstractmethod
    def make_crops(self, batch: Batch, seed: int) -> tuple[Tensor, ...]:
        """Return the augmented crops of a batch's films, each float32 [B, 1, size, size]."""

    @abstractmethod
    def forward(self, batch: Batch) -> Tensor:
        """Return the loss of a batch (scalar); the only door that autocast and DDP watch."""

    def after_step(self, progress: float) -> None:
        """Act after each optimiser step; ``progress`` is the share of all steps done."""

    def chance_loss(self, batch_size: int) -> float | None:  # noqa: ARG002
        """Return the loss of a network that knows nothing, given B of all processes; None where that has no meaning."""
        return None

    def embed(self, images: Tensor) -> Tensor:
        """Return what the loss compares, [B, E], of whole standardised films [B, 1, size, size]: for watching only."""
        features: Tensor = self.backbone(images)
        return features

    def diagnose(self, embeddings: Tensor) -> dict[str, float]:  # noqa: ARG002
        """Return further numbers by name that tell whether the method works, of ``embed``'s [n, E]."""
        return {}
