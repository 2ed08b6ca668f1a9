"""MoCo v2: tell each crop's positive from a queue of earlier crops.

Source: He 2020, arXiv 1911.05722; Chen 2020, arXiv 2003.04297.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from hilum.augment.crops import CropRecipe, two_crops
from hilum.augment.presets import MOCO
from hilum.errors import OptionError
from hilum.losses.contrastive import info_nce
from hilum.nn.backbones import Backbone
from hilum.nn.collectives import gather, own_rows, process_count
from hilum.nn.ema import cosine_rise, ema_update, frozen_copy
from hilum.nn.heads import mlp
from hilum.nn.queue import Queue
from hilum.options import refuse_below
from hilum.training.learner import Batch, Learner

SMALLEST_PART = 2
"""Films that a part of the keys has at least: one film alone has no batch statistics."""


@dataclass(frozen=True, kw_only=True)
class MoCoOptions:
    """MoCo v2 for tens of thousands of films.

    The paper, for a million images: queue 65,536, temperature 0.2, decay 0.999.
    """

    embedding_size: int = 128
    """Size of the embeddings that are compared."""
    queue_size: int = 4096
    """Earlier keys kept as negatives, at most; never above a quarter of the films."""
    temperature: float = 0.1
    """Softmax temperature; lower weighs the nearest negatives more."""
    ema_decay: float = 0.99
    """EMA decay of the key encoder, rising to 1 by a cosine."""
    mask_same_patient: bool = True
    """Leave out negatives that show the query's own patient."""
    decoupled: bool = False
    """Leave the positive out of the softmax's denominator (DCL, arXiv 2110.06848), so that an easy
    positive does not weaken the gradient."""
    symmetric: bool = False
    """Use both crops as query and as key: twice the work for each film."""
    key_splits: int = 2
    """Groups of shuffled keys that are normalised apart (shuffled batch norm), over all processes at
    least; 1 turns it off."""
    positives: Literal["crop", "study", "patient"] = "crop"
    """Positive pair: two crops of the same film, or of another film of its study or patient where
    there is one."""
    crops: CropRecipe = MOCO
    """The pipeline of both crops; for films above 96 px the literature takes a min_scale of 0.2 to
    0.3."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            OptionError: An option lies outside its range.
        """
        refuse_below(self, {"embedding_size": 1, "queue_size": 1, "key_splits": 1}, "method.")
        if not self.temperature > 0:
            raise OptionError(
                f"--method.temperature is {self.temperature}: allowed is above 0, such as 0.1."
            )
        if not 0 <= self.ema_decay <= 1:
            raise OptionError(f"--method.ema-decay is {self.ema_decay}: allowed is 0 to 1.")

    def for_films(self, count: int) -> MoCoOptions:
        """Return the options with the queue held to a quarter of ``count`` films."""
        return replace(self, queue_size=min(self.queue_size, max(count // 4, 1)))


class MoCo(Learner):
    """A query encoder that learns, and a key encoder that follows it; see MoCoOptions."""

    Options = MoCoOptions
    remedy = "a higher --method.temperature such as 0.2"

    def __init__(self, backbone: Backbone, options: MoCoOptions, size: int) -> None:
        super().__init__(backbone)
        self.options, self.size = options, size
        self.projector = mlp(backbone.out_features, backbone.out_features, options.embedding_size)
        self.key_backbone, self.key_projector = frozen_copy(backbone), frozen_copy(self.projector)
        self.queue = Queue(
            options.queue_size, options.embedding_size
        )  # embeddings and their patients

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
        """Return the loss (scalar). Stores the new keys: call it once a micro-batch."""
        if batch.crops is None:
            raise ValueError("the batch has no crops")
        first, second = batch.crops
        pairs = [(first, second), (second, first)] if self.options.symmetric else [(first, second)]
        keys = [self._keys(key_crop) for _, key_crop in pairs]  # each [N, E]
        negatives, patients = self.queue.copy()  # the push below would change them before backward
        allowed = (
            batch.patient[:, None] != patients if self.options.mask_same_patient else None
        )  # [B, K]
        self.queue.push(torch.cat(keys), gather(batch.patient).repeat(len(keys)))
        losses = []
        for (query_crop, _), key in zip(pairs, keys, strict=True):
            query = self.projector(self.backbone(query_crop))  # [B, E]
            losses.append(
                info_nce(
                    query,
                    own_rows(key),
                    negatives,
                    self.options.temperature,
                    allowed,
                    decoupled=self.options.decoupled,
                )
            )
        return torch.stack(losses).mean()

    @torch.no_grad()
    def _keys(self, crops: Tensor) -> Tensor:
        """Return the keys [N, E] of all processes' crops, in their order and of unit length.

        Batch statistics that a query shares with its key, and with no other, tell the two by what
        they have in common and not by what they show. So keys are shuffled over the processes, and
        normalised in parts that no query's batch matches (section 3.3 of arXiv 1911.05722, which
        has several devices).
        """
        if self.options.key_splits == 1:
            return gather(self._encoded(crops))
        everyone = gather(crops)
        order = shuffled_order(len(everyone), crops.device)
        own = everyone[own_rows(order)]
        groups = math.ceil(self.options.key_splits / process_count())
        parts = own.tensor_split(max(1, min(groups, len(own) // SMALLEST_PART)))
        shuffled = gather(torch.cat([self._encoded(part) for part in parts]))
        return shuffled[order.argsort()]

    def _encoded(self, crops: Tensor) -> Tensor:
        return F.normalize(self.key_projector(self.key_backbone(crops)).float(), dim=1)

    def after_step(self, progress: float) -> None:
        """Move the key encoder towards the query encoder."""
        decay = cosine_rise(self.options.ema_decay, progress)
        ema_update(self.key_backbone, self.backbone, decay)
        ema_update(self.key_projector, self.projector, decay)

    def embed(self, images: Tensor) -> Tensor:
        """Return the queries [B, E] of whole films."""
        embeddings: Tensor = self.projector(self.backbone(images))
        return embeddings

    def chance_loss(self, batch_size: int) -> float:  # noqa: ARG002
        """Return ln(queue + 1), or ln(queue) where the positive is left out of the denominator."""
        return math.log(self.options.queue_size + (not self.options.decoupled))


def shuffled_order(count: int, device: torch.device) -> Tensor:
    """Return the numbers below ``count`` in a random order, [count] on the device, alike in every process.

    Drawn on the CPU, which every process has and the loop seeds alike by the step. An index that
    lay there would make each use of it wait for the GPU, as would its copy from memory that is not
    pinned.
    """
    order = torch.randperm(count)
    return (
        order.pin_memory().to(device, non_blocking=True)
        if device.type == "cuda"
        else order.to(device)
    )
