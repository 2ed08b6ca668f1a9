"""What the loop trains: a batch goes in, a loss comes out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor, nn

from hilum.nn.backbones import Backbone


class Batch(NamedTuple):
    """Films on the device; ``patient`` and ``study`` are integer codes, ``crops`` is filled by the loop.

    images  [B, 1, H, W] uint8
    index   [B] place of the film among all films of the run
    patient [B]
    study   [B]
    labels  [B, F] targets, or None without labels
    weights [B, F] how much each label counts, or None without labels
    crops   tuple of [B, 1, size, size] float32, or None
    """

    images: Tensor
    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    patient: Tensor
    study: Tensor
    labels: Tensor | None = None
    weights: Tensor | None = None
    crops: tuple[Tensor, ...] | None = None


class Learner(nn.Module, ABC):
    """The base of every method and of the classifier; it owns its backbone and all state that training moves."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    @abstractmethod
    def make_crops(self, images: Tensor, index: Tensor, seed: int, epoch: int) -> tuple[Tensor, ...]:
        """Return the augmented crops of films [B, 1, H, W] uint8, each float32 [B, 1, size, size]."""

    @abstractmethod
    def forward(self, batch: Batch) -> Tensor:
        """Return the loss of a batch (scalar); the only door that autocast and DDP watch."""

    def after_step(self, progress: float) -> None:
        """Act after each optimiser step; ``progress`` is the share of all steps done."""

    def chance_loss(self) -> float | None:
        """Return the loss in nats of a network that knows nothing, None where that has no meaning."""
        return None
