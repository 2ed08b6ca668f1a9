"""BYOL: predict from one crop what a slow copy of the network makes of the other; there are no negatives.

Source: Grill 2020, arXiv 2006.07733.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from hilum.augment.crops import CropRecipe, two_crops
from hilum.augment.presets import BYOL_STRONG, BYOL_WEAK
from hilum.errors import OptionError
from hilum.losses.byol import byol_loss
from hilum.nn.backbones import Backbone
from hilum.nn.ema import cosine_rise, ema_update, frozen_copy
from hilum.nn.heads import mlp
from hilum.options import refuse_below
from hilum.training.learner import Batch, Learner


@dataclass(frozen=True, kw_only=True)
class BYOLOptions:
    """BYOL for tens of thousands of films.

    The paper, for a million images: hidden size 4096, embedding size 256, decay 0.996. Its learning
    rates are for LARS at batch 4096 and make AdamW collapse.
    """

    embedding_size: int = 256
    """Size of the embeddings that are compared."""
    hidden_size: int = 1024
    """Width of the hidden layers of projector and predictor."""
    batch_norm: bool = True
    """Normalise the hidden layers over the batch of each process; without it collapse is
    likelier."""
    ema_decay: float = 0.99
    """EMA decay of the target network, rising to 1 by a cosine."""
    positives: Literal["crop", "study", "patient"] = "crop"
    """Positive pair: the second crop is of the same film, or of another film of its study or patient
    where there is one."""
    crops: CropRecipe = BYOL_STRONG
    """The pipeline of the first crop, the strong one."""
    weak_crops: CropRecipe = BYOL_WEAK
    """The pipeline of the second crop, the weak one."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            OptionError: An option lies outside its range.
        """
        refuse_below(self, {"embedding_size": 1, "hidden_size": 1}, "method.")
        if not 0 <= self.ema_decay <= 1:
            raise OptionError(f"--method.ema-decay is {self.ema_decay}: allowed is 0 to 1.")

    def for_films(self, count: int) -> BYOLOptions:  # noqa: ARG002
        """Return the options as they are: none depends on the number of films."""
        return self


class BYOL(Learner):
    """An online network with a predictor, and a target network that follows it; see BYOLOptions."""

    Options = BYOLOptions
    remedy = "--method.batch-norm where it is off, or a higher --method.ema-decay such as 0.996"

    def __init__(self, backbone: Backbone, options: BYOLOptions, size: int) -> None:
        super().__init__(backbone)
        self.options, self.size = options, size
        hidden, embedding = options.hidden_size, options.embedding_size
        self.projector = mlp(
            backbone.out_features, hidden, embedding, batch_norm=options.batch_norm
        )
        self.predictor = mlp(embedding, hidden, embedding, batch_norm=options.batch_norm)
        self.target_backbone, self.target_projector = (
            frozen_copy(backbone),
            frozen_copy(self.projector),
        )

    def make_crops(self, batch: Batch, seed: int) -> tuple[Tensor, ...]:
        """Return a strong and a weak crop of each film."""
        strong, weak = self.options.crops, self.options.weak_crops
        return two_crops(
            batch.images,
            batch.index,
            strong,
            self.size,
            seed,
            batch.epoch,
            positives=batch.positives,
            second=weak,
        )

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss (scalar): each crop predicts the other, and the two losses are averaged.

        The paper sums them: with a rate that is not AdamW's, ours is half as steep.
        """
        if batch.crops is None:
            raise ValueError("the batch has no crops")
        if len(batch.index) < 2 and self.options.batch_norm:
            raise OptionError(
                "--train.batch-size is 1: BYOL needs 2 or more, or --method.no-batch-norm."
            )
        # The two pipelines differ, so each crop has batch statistics of its own, as published.
        strong, weak = (self.predictor(self.embed(crop)) for crop in batch.crops)  # [B, E] each
        with torch.no_grad():
            targets = [
                self.target_projector(self.target_backbone(crop)) for crop in batch.crops
            ]  # [B, E] each
        return (byol_loss(strong, targets[1]) + byol_loss(weak, targets[0])) / 2

    def after_step(self, progress: float) -> None:
        """Move the target network towards the online network."""
        decay = cosine_rise(self.options.ema_decay, progress)
        ema_update(self.target_backbone, self.backbone, decay)
        ema_update(self.target_projector, self.projector, decay)

    def embed(self, images: Tensor) -> Tensor:
        """Return the online projections [B, E] of films or crops."""
        embeddings: Tensor = self.projector(self.backbone(images))
        return embeddings

    def chance_loss(self, batch_size: int) -> float:  # noqa: ARG002
        """Return 2, the loss of predictions at right angles to their targets, where an untrained predictor begins.

        To stay there after warm-up means that nothing is learnt at all. To lie far below says
        little: one direction for all films has the loss 0, and what tells that collapse is how the
        embeddings spread.
        """
        return 2.0
