"""SimCLR: tell each crop's positive from all other crops of the batch.

Source: Chen 2020, arXiv 2002.05709.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from hilum.augment.crops import CropRecipe, two_crops
from hilum.augment.presets import SIMCLR
from hilum.errors import OptionError
from hilum.losses.contrastive import nt_xent
from hilum.nn.backbones import Backbone
from hilum.nn.collectives import gather, gather_with_gradient, process_rank
from hilum.nn.heads import mlp
from hilum.options import refuse_below
from hilum.training.learner import Batch, Learner


@dataclass(frozen=True, kw_only=True)
class SimCLROptions:
    """SimCLR for tens of thousands of films.

    The paper, for a million images: batch 4096, temperature 0.1. Only the films of one batch, over
    all processes, are negatives: --train.accumulate adds none.
    """

    embedding_size: int = 128
    """Size of the embeddings that are compared."""
    hidden_size: int = 0
    """Width of the projector's hidden layer; 0 takes the number of the backbone's features."""
    batch_norm: bool = True
    """Normalise the projector's hidden layer over the batch of each process."""
    temperature: float = 0.2
    """Softmax temperature; lower weighs the nearest negatives more."""
    decoupled: bool = False
    """Leave the positive out of the softmax's denominator (DCL, arXiv 2110.06848), so that an easy
    positive does not weaken the gradient: for batches of a few hundred films and
    fewer."""
    mask_same_patient: bool = True
    """Leave out negatives that show the crop's own patient."""
    positives: Literal["crop", "study", "patient"] = "crop"
    """Positive pair: two crops of the same film, or of another film of its study or patient where
    there is one."""
    crops: CropRecipe = SIMCLR
    """The pipeline of both crops; for films above 96 px the literature takes a min_scale of 0.08 to
    0.3."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            OptionError: An option lies outside its range.
        """
        refuse_below(self, {"embedding_size": 1, "hidden_size": 0}, "method.")
        if not self.temperature > 0:
            raise OptionError(
                f"--method.temperature is {self.temperature}: allowed is above 0, such as 0.2."
            )

    def for_films(self, count: int) -> SimCLROptions:  # noqa: ARG002
        """Return the options as they are: none depends on the number of films."""
        return self


class SimCLR(Learner):
    """One encoder that sees both crops; see SimCLROptions."""

    Options = SimCLROptions
    remedy = "a higher --method.temperature such as 0.5"

    def __init__(self, backbone: Backbone, options: SimCLROptions, size: int) -> None:
        super().__init__(backbone)
        self.options, self.size = options, size
        features = backbone.out_features
        hidden = options.hidden_size or features
        self.projector = mlp(
            features, hidden, options.embedding_size, batch_norm=options.batch_norm
        )

    def make_crops(self, batch: Batch, seed: int) -> tuple[Tensor, ...]:
        """Return two crops of each film, from the same pipeline."""
        return two_crops(
            batch.images,
            batch.index,
            self.options.crops,
            self.size,
            seed,
            batch.epoch,
            positives=batch.positives,
        )

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss (scalar), averaged over this process's crops."""
        if batch.crops is None:
            raise ValueError("the batch has no crops")
        if len(batch.index) < 2:
            raise OptionError(
                "--train.batch-size is 1: SimCLR needs 2 or more, since the other films are the negatives."
            )
        # One pass over both crops: the batch statistics cannot tell which of them a vector comes
        # from.
        first, second = self.embed(torch.cat(batch.crops)).chunk(2)  # [B, E] each
        allowed = (
            batch.patient[:, None] != gather(batch.patient)
            if self.options.mask_same_patient
            else None
        )  # [B, N]
        return nt_xent(
            first,
            second,
            self.options.temperature,
            gathered=(gather_with_gradient(first), gather_with_gradient(second)),
            start=process_rank() * len(first),
            allowed=allowed,
            decoupled=self.options.decoupled,
        )

    def embed(self, images: Tensor) -> Tensor:
        """Return the projections [B, E] of films or crops."""
        embeddings: Tensor = self.projector(self.backbone(images))
        return embeddings

    def chance_loss(self, batch_size: int) -> float:
        """Return ln(2B - 1), the number of candidates; ln(2B - 2) where the positive is left out of the denominator."""
        return math.log(2 * batch_size - 1 - self.options.decoupled)
