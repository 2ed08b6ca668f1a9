"""VICReg: two crops of a film alike, while every dimension varies over films and says something of its own.

There are no negatives, no queue and no slow copy of the network.
Source: Bardes 2022, arXiv 2105.04906.
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
from hilum.losses.vicreg import EPSILON, vicreg_loss
from hilum.nn.backbones import Backbone
from hilum.nn.collectives import gather_with_gradient
from hilum.nn.heads import mlp
from hilum.options import refuse_below
from hilum.training.learner import Batch, Learner


@dataclass(frozen=True, kw_only=True)
class VICRegOptions:
    """VICReg for tens of thousands of films.

    The paper, for a million images: three layers of 8192, batch 2048, LARS. The batch of all
    processes is what varies: --train.accumulate does not enlarge it.
    """

    embedding_size: int = 256
    """Size of the embeddings; four times the batch, as in the paper: fewer films cannot fill more
    dimensions."""
    hidden_size: int = 512
    """Width of the projector's two hidden layers."""
    batch_norm: bool = True
    """Normalise the hidden layers over the batch of each process."""
    invariance: float = 25.0
    """Weight of how far the two crops of a film lie apart."""
    variance: float = 25.0
    """Weight of how far each dimension's deviation over the films lies below 1."""
    covariance: float = 1.0
    """Weight of how much dimensions vary together."""
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
        # One dimension has no other that it could vary with.
        refuse_below(self, {"embedding_size": 2, "hidden_size": 1}, "method.")
        for name in ("invariance", "variance"):
            if not getattr(self, name) > 0:
                raise OptionError(
                    f"--method.{name} is {getattr(self, name)}: allowed is above 0, such as 25."
                )
        if not self.covariance >= 0:
            raise OptionError(
                f"--method.covariance is {self.covariance}: allowed is 0 or more, such as 1."
            )

    def for_films(self, count: int) -> VICRegOptions:  # noqa: ARG002
        """Return the options as they are: none depends on the number of films."""
        return self


class VICReg(Learner):
    """One encoder that sees both crops; see VICRegOptions."""

    Options = VICRegOptions
    remedy = "a higher --method.variance such as 50"

    def __init__(self, backbone: Backbone, options: VICRegOptions, size: int) -> None:
        super().__init__(backbone)
        self.options, self.size = options, size
        self.projector = mlp(
            backbone.out_features,
            options.hidden_size,
            options.embedding_size,
            batch_norm=options.batch_norm,
            hidden_layers=2,
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
        """Return the loss (scalar) of the films of all processes: each gets the gradients of its own."""
        if batch.crops is None:
            raise ValueError("the batch has no crops")
        if len(batch.index) < 2:
            raise OptionError(
                "--train.batch-size is 1: VICReg needs 2 or more, since it measures how films differ."
            )
        # One pass over both crops: the batch statistics cannot tell which of them a vector comes
        # from.
        first, second = self.embed(torch.cat(batch.crops)).chunk(2)  # [B, E] each
        return vicreg_loss(
            gather_with_gradient(first),
            gather_with_gradient(second),
            invariance=self.options.invariance,
            variance=self.options.variance,
            covariance=self.options.covariance,
        )

    def embed(self, images: Tensor) -> Tensor:
        """Return the projections [B, E] of films or crops."""
        embeddings: Tensor = self.projector(self.backbone(images))
        return embeddings

    def diagnose(self, embeddings: Tensor) -> dict[str, float]:
        """Return ``deviation``: the standard deviation of a dimension over films, mean; the loss holds it at 1."""
        return {"deviation": float(embeddings.float().std(dim=0).mean())}

    def chance_loss(self, batch_size: int) -> float:  # noqa: ARG002
        """Return the loss where all embeddings are the same: the crops agree, and nothing varies."""
        return self.options.variance * (1 - math.sqrt(EPSILON))
