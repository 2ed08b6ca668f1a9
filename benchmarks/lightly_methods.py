"""The methods as users of the public ``lightly`` package build them, to stand beside Hilum's in ``pretrain_speed.py``.

After lightly's own examples (docs.lightly.ai, examples: MoCo, SimCLR, BYOL, and SwAV with its
queue): its heads, losses, memory banks and momentum update, one pass through the network a crop,
SGD (Adam for SwAV) without clipping. Departures, each of which makes it quicker here: films are one
grey channel instead of three, and images lie channels-last. The sizes of heads, queue and
prototypes are Hilum's, so that both compute the same.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import timm
import torch
from lightly.loss import NegativeCosineSimilarity, NTXentLoss, SwaVLoss, VICRegLoss
from lightly.loss.memory_bank import MemoryBankModule
from lightly.models.modules import (
    BYOLPredictionHead,
    BYOLProjectionHead,
    MoCoProjectionHead,
    SimCLRProjectionHead,
    SwaVProjectionHead,
    SwaVPrototypes,
)
from lightly.models.modules.heads import VICRegProjectionHead
from lightly.models.utils import deactivate_requires_grad, update_momentum
from torch import Tensor, nn
from torch.nn import functional as F

from hilum.methods.byol import BYOLOptions
from hilum.methods.moco import MoCoOptions
from hilum.methods.simclr import SimCLROptions
from hilum.methods.swav import GLOBAL_CROPS, SwAVOptions
from hilum.methods.vicreg import VICRegOptions

Crops = Sequence[Tensor]
"""The crops of a batch, each [B, 1, size, size]."""


@dataclass(frozen=True)
class Place:
    """Where the methods compute and how: the backbone's name, the device, and the context of mixed precision."""

    backbone: str
    device: torch.device
    autocast: Callable[[], AbstractContextManager[object]]


class Method(nn.Module, ABC):
    """A model and one step of its training."""

    optimiser: torch.optim.Optimizer

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = place
        self.backbone = timm.create_model(place.backbone, in_chans=1, num_classes=0)
        self.features = self.backbone.num_features

    def ready(self) -> None:
        """Move to the device and make the optimiser; call it once all parts are there."""
        self.to(device=self.place.device, memory_format=torch.channels_last)
        self.optimiser = self.make_optimiser()

    def make_optimiser(self) -> torch.optim.Optimizer:
        """Return the example's optimiser."""
        return torch.optim.SGD(self.parameters(), lr=0.06)

    @abstractmethod
    def loss_of(self, crops: Crops) -> Tensor:
        """Return the loss of the crops, which lie on the device."""

    def before_step(self) -> None:
        """Do what the example does at the begin of each step."""

    def step(self, crops: Crops) -> None:
        """Take one step."""
        self.before_step()
        loss = self.loss_of([crop.to(self.place.device, non_blocking=True) for crop in crops])
        loss.backward()
        self.optimiser.step()
        self.optimiser.zero_grad()


class MoCo(Method):
    """After lightly's example of MoCo."""

    def __init__(self, place: Place, options: MoCoOptions) -> None:
        super().__init__(place)
        self.head = MoCoProjectionHead(self.features, self.features, options.embedding_size)
        self.key_backbone, self.key_head = copy.deepcopy(self.backbone), copy.deepcopy(self.head)
        deactivate_requires_grad(self.key_backbone)
        deactivate_requires_grad(self.key_head)
        self.loss = NTXentLoss(memory_bank_size=(options.queue_size, options.embedding_size))
        self.ready()

    def before_step(self) -> None:
        """Move the key encoder."""
        update_momentum(self.backbone, self.key_backbone, m=0.99)
        update_momentum(self.head, self.key_head, m=0.99)

    def loss_of(self, crops: Crops) -> Tensor:
        """Return the loss of queries against keys and the memory bank."""
        with self.place.autocast():
            query = self.head(self.backbone(crops[0]))
            key = self.key_head(self.key_backbone(crops[1])).detach()
        loss: Tensor = self.loss(query.float(), key.float())
        return loss


class SimCLR(Method):
    """After lightly's example of SimCLR."""

    def __init__(self, place: Place, options: SimCLROptions) -> None:
        super().__init__(place)
        hidden = options.hidden_size or self.features
        self.head = SimCLRProjectionHead(self.features, hidden, options.embedding_size)
        self.loss = NTXentLoss()
        self.ready()

    def loss_of(self, crops: Crops) -> Tensor:
        """Return the loss of the crops against each other."""
        with self.place.autocast():
            first, second = (self.head(self.backbone(crop)) for crop in crops)
        loss: Tensor = self.loss(first.float(), second.float())
        return loss


class BYOL(Method):
    """After lightly's example of BYOL."""

    def __init__(self, place: Place, options: BYOLOptions) -> None:
        super().__init__(place)
        hidden, embedding = options.hidden_size, options.embedding_size
        self.head = BYOLProjectionHead(self.features, hidden, embedding)
        self.predictor = BYOLPredictionHead(embedding, hidden, embedding)
        self.target_backbone, self.target_head = (
            copy.deepcopy(self.backbone),
            copy.deepcopy(self.head),
        )
        deactivate_requires_grad(self.target_backbone)
        deactivate_requires_grad(self.target_head)
        self.loss = NegativeCosineSimilarity()
        self.ready()

    def before_step(self) -> None:
        """Move the target network."""
        update_momentum(self.backbone, self.target_backbone, m=0.99)
        update_momentum(self.head, self.target_head, m=0.99)

    def loss_of(self, crops: Crops) -> Tensor:
        """Return the loss of both predictions."""
        with self.place.autocast():
            predictions = [self.predictor(self.head(self.backbone(crop))) for crop in crops]
            targets = [self.target_head(self.target_backbone(crop)).detach() for crop in crops]
        pairs = zip(predictions, reversed(targets), strict=True)
        return (
            sum(
                (self.loss(guess.float(), target.float()) for guess, target in pairs),
                torch.zeros(()),
            )
            * 0.5
        )


class SwAV(Method):
    """After lightly's example of SwAV with a queue, which is in use from the first step on."""

    def __init__(self, place: Place, options: SwAVOptions) -> None:
        super().__init__(place)
        hidden, embedding = options.hidden_size or self.features, options.embedding_size
        self.head = SwaVProjectionHead(self.features, hidden, embedding)
        self.prototypes = SwaVPrototypes(embedding, n_prototypes=options.prototypes)
        banks = GLOBAL_CROPS if options.queue_size else 0
        self.queues = nn.ModuleList(
            MemoryBankModule(size=(options.queue_size, embedding)) for _ in range(banks)
        )
        self.loss = SwaVLoss(options.temperature, options.iterations, options.epsilon)
        self.ready()

    def make_optimiser(self) -> torch.optim.Optimizer:
        """Return the example's optimiser."""
        return torch.optim.Adam(self.parameters(), lr=0.001)

    def before_step(self) -> None:
        """Bring the prototypes back to unit length."""
        self.prototypes.normalize()

    def loss_of(self, crops: Crops) -> Tensor:
        """Return the loss of every crop against the codes of the global ones."""
        with self.place.autocast():
            vectors = [F.normalize(self.head(self.backbone(crop)).float(), dim=1) for crop in crops]
        scores = [self.prototypes(vector) for vector in vectors]
        loss: Tensor = self.loss(
            scores[:GLOBAL_CROPS], scores[GLOBAL_CROPS:], self._queued(vectors)
        )
        return loss.sum()

    @torch.no_grad()
    def _queued(self, vectors: Sequence[Tensor]) -> list[Tensor] | None:
        """Return the scores of earlier films and store those of this batch."""
        pairs = zip(self.queues, vectors, strict=False)
        return [self.prototypes(queue(vector, update=True)[1].T) for queue, vector in pairs] or None


class VICReg(Method):
    """After lightly's example of VICReg."""

    def __init__(self, place: Place, options: VICRegOptions) -> None:
        super().__init__(place)
        self.head = VICRegProjectionHead(
            self.features, options.hidden_size, options.embedding_size, num_layers=3
        )
        self.loss = VICRegLoss()
        self.ready()

    def loss_of(self, crops: Crops) -> Tensor:
        """Return the loss of the crops against each other."""
        with self.place.autocast():
            first, second = (self.head(self.backbone(crop)) for crop in crops)
        loss: Tensor = self.loss(first.float(), second.float())
        return loss


METHODS: dict[str, Callable[..., Method]] = {
    "moco": MoCo,
    "simclr": SimCLR,
    "byol": BYOL,
    "swav": SwAV,
    "vicreg": VICReg,
}
"""Name -> what builds it from a place and the options of Hilum's method."""
