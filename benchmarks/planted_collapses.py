"""Methods that measure themselves as they train, and the same methods broken so that they collapse.

Each break is one that a slip in the code could bring about. ``collapse_check.py`` trains them
beside the whole ones.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hilum.losses.byol import byol_loss
from hilum.losses.contrastive import info_nce
from hilum.losses.swav import swapped_prediction
from hilum.losses.vicreg import vicreg_loss
from hilum.methods import METHODS
from hilum.methods.byol import BYOL
from hilum.methods.moco import MoCo
from hilum.methods.simclr import SimCLR
from hilum.methods.swav import SwAV
from hilum.methods.vicreg import VICReg
from hilum.training.learner import Batch, Learner


class Measured(Learner):
    """Says at each look how much nearer the two crops of a film lie than those of two films; training is as it was.

    The alarm does not know that number: it judges whole films without their twins.
    """

    seen: tuple[Tensor, ...] = ()

    def make_crops(self, batch: Batch, seed: int) -> tuple[Tensor, ...]:
        """Return the method's crops, and keep the first two of each film."""
        crops = super().make_crops(batch, seed)  # type: ignore[safe-super]
        self.seen = crops[:2]
        return crops

    def diagnose(self, embeddings: Tensor) -> dict[str, float]:
        """Return what the method does, and ``margin``: mean cosine of twins less that of two films' crops."""
        self.eval()  # a look gives every module its mode back
        first, second = (F.normalize(self.embed(crop).double(), dim=1) for crop in self.seen)
        cosines = first @ second.T  # [B, B]
        positives, count = cosines.diagonal().mean(), len(cosines)
        others = (cosines.sum() - cosines.diagonal().sum()) / (count * (count - 1))
        return {**super().diagnose(embeddings), "margin": float(positives - others)}


class MeasuredMoCo(Measured, MoCo):
    """MoCo."""


class MeasuredSimCLR(Measured, SimCLR):
    """SimCLR."""


class MeasuredBYOL(Measured, BYOL):
    """BYOL."""


class MeasuredSwAV(Measured, SwAV):
    """SwAV."""


class MeasuredVICReg(Measured, VICReg):
    """VICReg."""


class MoCoWithoutNegatives(MeasuredMoCo):
    """Only draws a crop to its twin: the term that pushes films apart is lost."""

    def forward(self, batch: Batch) -> Tensor:
        """Return 2 - 2 cos of query and key."""
        assert batch.crops is not None
        query = self.projector(self.backbone(batch.crops[0]))
        return byol_loss(query, self._keys(batch.crops[1]))


class MoCoWithStaleQueue(MeasuredMoCo):
    """Never pushes a key: the negatives stay the random vectors that the queue begins with."""

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss against the queue as it began."""
        assert batch.crops is not None
        query = self.projector(self.backbone(batch.crops[0]))
        return info_nce(
            query, self._keys(batch.crops[1]), self.queue.embeddings, self.options.temperature
        )


class MoCoWithWrongTwins(MeasuredMoCo):
    """Takes another film's crop for the twin: keys are not put back in order after the shuffle."""

    def _keys(self, crops: Tensor) -> Tensor:
        return super()._keys(crops).roll(1, dims=0)


class SimCLRWithoutNegatives(MeasuredSimCLR):
    """Only draws the two crops of a film together, both with gradient."""

    def forward(self, batch: Batch) -> Tensor:
        """Return 2 - 2 cos of the twins."""
        assert batch.crops is not None
        return byol_loss(*self.embed(torch.cat(batch.crops)).chunk(2))


class SimCLRWithWrongTwins(MeasuredSimCLR):
    """Takes the next film's crop for the twin."""

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss of pairs that have nothing to do with each other."""
        assert batch.crops is not None
        return super().forward(
            batch._replace(crops=(batch.crops[0], batch.crops[1].roll(1, dims=0)))
        )


class SimCLRWithBlackCrops(MeasuredSimCLR):
    """Is shown nothing: its crops come out black."""

    def make_crops(self, batch: Batch, seed: int) -> tuple[Tensor, ...]:
        """Return black crops, and keep them."""
        self.seen = tuple(torch.zeros_like(crop) for crop in super().make_crops(batch, seed))
        return self.seen


class SwAVWithBlackCrops(MeasuredSwAV):
    """Is shown nothing: its crops come out black."""

    def make_crops(self, batch: Batch, seed: int) -> tuple[Tensor, ...]:
        """Return black crops, and keep the global ones."""
        crops = tuple(torch.zeros_like(crop) for crop in super().make_crops(batch, seed))
        self.seen = crops[:2]
        return crops


class VICRegWithBlackCrops(MeasuredVICReg):
    """Is shown nothing: its crops come out black."""

    def make_crops(self, batch: Batch, seed: int) -> tuple[Tensor, ...]:
        """Return black crops, and keep them."""
        self.seen = tuple(torch.zeros_like(crop) for crop in super().make_crops(batch, seed))
        return self.seen


class VICRegWithoutVariance(MeasuredVICReg):
    """Draws twins together and keeps dimensions apart; that films must differ is lost."""

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss without its variance."""
        assert batch.crops is not None
        return vicreg_loss(*self.embed(torch.cat(batch.crops)).chunk(2), variance=0.0)


class BYOLWithoutPredictor(MeasuredBYOL):
    """The online projection is compared with the target's as it is."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.predictor = nn.Identity()  # type: ignore[assignment]


class BYOLWithoutTarget(BYOLWithoutPredictor):
    """No predictor, no slow copy, and a gradient on both sides: twins are drawn together and nothing else."""

    def forward(self, batch: Batch) -> Tensor:
        """Return 2 - 2 cos of the twins."""
        assert batch.crops is not None
        return byol_loss(*(self.embed(crop) for crop in batch.crops))


class SwAVWithoutSinkhorn(MeasuredSwAV):
    """Codes are a softmax of the scores: nothing keeps all films from one prototype."""

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss of predicting codes that nothing balances."""
        assert batch.crops is not None
        embeddings = self._embed_crops(batch.crops)
        scores = self.prototypes(embeddings, frozen=batch.epoch < self.options.freeze_epochs)
        return swapped_prediction(
            scores, self._unbalanced(scores[:2].detach()), self.options.temperature
        )

    def _unbalanced(self, scores: Tensor) -> Tensor:
        return (scores / self.options.epsilon).softmax(dim=2)


class SwAVWithOneCode(SwAVWithoutSinkhorn):
    """Codes balanced over the wrong axis: every film gets the same one, that of the batch."""

    def _unbalanced(self, scores: Tensor) -> Tensor:
        return super()._unbalanced(scores).mean(dim=1, keepdim=True).expand_as(scores)


def register() -> None:
    """Enter all of them into the table of methods, as a method of one's own would be; names are the classes'."""
    for learner in (*Measured.__subclasses__(), *BROKEN):
        METHODS[learner.__name__] = (
            f"{learner.__module__}:{learner.__name__}",
            str(learner.__doc__),
        )


BROKEN: tuple[type[Measured], ...] = (
    MoCoWithoutNegatives,
    MoCoWithStaleQueue,
    MoCoWithWrongTwins,
    SimCLRWithoutNegatives,
    SimCLRWithWrongTwins,
    SimCLRWithBlackCrops,
    SwAVWithBlackCrops,
    VICRegWithBlackCrops,
    VICRegWithoutVariance,
    BYOLWithoutPredictor,
    BYOLWithoutTarget,
    SwAVWithoutSinkhorn,
    SwAVWithOneCode,
)
