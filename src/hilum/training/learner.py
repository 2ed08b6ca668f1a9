"""The base class of what the loop trains, and its input: a batch in, a loss out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

from torch import Tensor, nn

from hilum.nn.backbones import Backbone


class Batch(NamedTuple):
    """Images on the device; ``patient`` and ``study`` are integer codes, the loop fills ``crops`` and ``epoch``.

    images    [B, 1, H, W] uint8
    index     [B] row of the image among all images of the run
    patient   [B]
    study     [B]
    labels    [B, F] targets, or None without labels
    weights   [B, F] weight of each label, or None without labels
    crops     tuple of [B, 1, size, size] float32, or None
    positives images [B, 1, H, W] and rows [B] of another film of the same patient or study (the film itself
              where there is no other), or None where both crops come from one film
    epoch     from 0
    repeat    [B] how often the film was drawn before in this epoch, or None where each comes once
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
    """The base of every method and of the classifier; owns its backbone and all state that training changes."""

    remedy: ClassVar[str] = ""
    """A further remedy when this method collapses or learns nothing, for warnings: such as one of its
    options."""
    size: int
    """Height and width in pixels of the crops; of the global ones where there are others."""
    crops_per_film: int = 2
    """How many crops of each film ``make_crops`` returns."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    @abstractmethod
    def make_crops(self, batch: Batch, seed: int) -> tuple[Tensor, ...]:
        """Return the augmented crops of a batch's films, each float32 [B, 1, size, size]."""

    def resize_crops(self, size: int) -> None:
        """Make crops of this height and width in pixels from now on; called where sizes increase during training."""
        self.size = size

    @abstractmethod
    def forward(self, batch: Batch) -> Tensor:
        """Return the loss of a batch (scalar); autocast and DDP wrap this call alone."""

    def learning_rates(self) -> dict[str, float]:
        """Return the fractions of the learning rate that parameters learn with, by name; 1 for the others."""
        return {}

    def after_step(self, progress: float) -> None:
        """Act after each optimiser step; ``progress`` is the fraction of all steps done."""

    def chance_loss(self, batch_size: int) -> float | None:  # noqa: ARG002
        """Return the loss of an untrained network, given B of all processes; None where that has no meaning."""
        return None

    def embed(self, images: Tensor) -> Tensor:
        """Return the vectors that the loss compares, [B, E], of whole standardised images: for monitoring alone."""
        features: Tensor = self.backbone(images)
        return features

    def diagnose(self, embeddings: Tensor) -> dict[str, float]:  # noqa: ARG002
        """Return further measures by name of whether the method works, from ``embed``'s [n, E]."""
        return {}
