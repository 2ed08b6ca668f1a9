"""SwAV: predict, from one crop, to which prototypes another crop of the film is assigned.

Source: Caron 2020, arXiv 2006.09882.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hilum.augment.crops import CropRecipe, multi_crop
from hilum.augment.presets import SWAV, SWAV_LOCAL
from hilum.errors import OptionError
from hilum.losses.swav import sinkhorn, swapped_prediction
from hilum.nn.backbones import Backbone, enlarged_size
from hilum.nn.collectives import gather, own_rows
from hilum.nn.heads import mlp
from hilum.nn.prototypes import Prototypes, effective_count
from hilum.nn.queue import NO_PATIENT, Queue
from hilum.options import refuse_below
from hilum.training.learner import Batch, Learner

GLOBAL_CROPS = 2
FILMS_PER_PROTOTYPE = 30
SMALLEST_LOCAL = 24
"""Pixels a side. From 16 px on downwards a network that shrinks by 32 has a single pixel before its
last step: it sees nothing of where things are, and torch 2.15 on a CPU leaves the weight gradient
of such a strided convolution uninitialised in bfloat16."""
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


@dataclass(frozen=True, kw_only=True)
class SwAVOptions:
    """SwAV for tens of thousands of films.

    The paper, for a million images: 3000 prototypes, queue 3840 (at batch 256) from epoch 15 of 200
    on. Its learning rates are for LARS. The first global crop and all local ones are always cut
    from the film itself.
    """

    embedding_size: int = 128
    """Size of the embeddings that are compared."""
    hidden_size: int = 0
    """Width of the projector's hidden layer; 0 takes the number of the backbone's features."""
    batch_norm: bool = True
    """Normalise the projector's hidden layer over the batch of each process."""
    prototypes: int = 200
    """Prototypes (cluster centres) at most; never above one for 30 films."""
    freeze_epochs: int = 1
    """Epochs at the start in which the prototypes are frozen."""
    temperature: float = 0.1
    """Softmax temperature of the predictions."""
    epsilon: float = 0.05
    """Softness of the assignments: 0.03 leaves chance sooner, and may cost the embeddings
    dimensions."""
    iterations: int = 3
    """Sinkhorn iterations, which balance the assignments over prototypes and films."""
    queue_size: int = 1024
    """Earlier films that help to balance the assignments, at most; never above a quarter of the
    films; 0 is none."""
    queue_from_epoch: int = 2
    """The first epoch, counted from 0, in which the queue is used; before that it only fills."""
    local_crops: int = 6
    """Small crops of each film beside the two global ones."""
    local_size: int = 0
    """Height and width of local crops in pixels; 0 takes about half of the film's, or what the
    backbone needs."""
    positives: Literal["crop", "study", "patient"] = "crop"
    """Positive pair: the second global crop is of the same film, or of another film of its study or
    patient where there is one."""
    crops: CropRecipe = SWAV
    """The pipeline of the two global crops; for films above 96 px the literature takes a min_scale
    of 0.14 to 0.3."""
    local: CropRecipe = SWAV_LOCAL
    """The pipeline of the local crops."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            OptionError: An option lies outside its range.
        """
        refuse_below(self, _SMALLEST, "method.")
        for name, usual in (("temperature", 0.1), ("epsilon", 0.03)):
            if not getattr(self, name) > 0:
                raise OptionError(
                    f"--method.{name} is {getattr(self, name)}: allowed is above 0, such as {usual}."
                )
        if 0 < self.local_size < SMALLEST_LOCAL:
            raise OptionError(
                f"--method.local-size is {self.local_size}: allowed is {SMALLEST_LOCAL} or more, or 0 for the usual."
            )

    def for_films(self, count: int) -> SwAVOptions:
        """Return the options with as many prototypes, and as long a queue, as ``count`` films can fill."""
        prototypes = min(self.prototypes, max(count // FILMS_PER_PROTOTYPE, 8))
        return replace(self, prototypes=prototypes, queue_size=min(self.queue_size, count // 4))


_SMALLEST = {
    "embedding_size": 1,
    "hidden_size": 0,
    "prototypes": 2,
    "freeze_epochs": 0,
    "iterations": 1,
    "queue_size": 0,
    "queue_from_epoch": 0,
    "local_crops": 0,
    "local_size": 0,
}


class SwAV(Learner):
    """One encoder for crops of two sizes, and the prototypes that its embeddings are assigned to; see SwAVOptions."""

    Options = SwAVOptions
    remedy = "a lower --method.epsilon such as 0.02, or fewer --method.prototypes"

    def __init__(self, backbone: Backbone, options: SwAVOptions, size: int) -> None:
        super().__init__(backbone)
        self.options, self.full_size = options, size
        self.crops_per_film = GLOBAL_CROPS + options.local_crops
        self.resize_crops(size)
        hidden = options.hidden_size or backbone.out_features
        self.projector = mlp(
            backbone.out_features, hidden, options.embedding_size, batch_norm=options.batch_norm
        )
        self.prototypes = Prototypes(options.prototypes, options.embedding_size)
        # An entry is both global crops of a film, one behind the other.
        self.queue = (
            Queue(options.queue_size, 2 * options.embedding_size) if options.queue_size else None
        )

    def make_crops(self, batch: Batch, seed: int) -> tuple[Tensor, ...]:
        """Return two global crops of each film, the second from its positive, then the film's local crops."""
        options = self.options
        return multi_crop(
            batch.images,
            batch.index,
            options.crops,
            self.size,
            seed,
            batch.epoch,
            local=options.local,
            local_crops=options.local_crops,
            local_size=self.local_size,
            positives=batch.positives,
        )

    def resize_crops(self, size: int) -> None:
        """Make global crops of this size, and local ones that fit it; one given in pixels keeps its proportion."""
        options, full = self.options, self.full_size
        self.size = self.local_size = size
        if options.local_crops:
            given = (
                max(SMALLEST_LOCAL, options.local_size * size // full) if options.local_size else 0
            )
            self.local_size = fitting_local_size(self.backbone, given, size)

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss (scalar), averaged over this process's films. Fills the queue: call it once a micro-batch."""
        if batch.crops is None:
            raise ValueError("the batch has no crops")
        if len(batch.index) < 2 and self.options.batch_norm:
            raise OptionError(
                "--train.batch-size is 1: SwAV needs 2 or more, or --method.no-batch-norm."
            )
        embeddings = self._embed_crops(batch.crops)  # [V, B, E]
        scores = self.prototypes(
            embeddings, frozen=batch.epoch < self.options.freeze_epochs
        )  # [V, B, K]
        codes = self._codes(embeddings[:GLOBAL_CROPS].detach(), batch)  # [2, B, K]
        return swapped_prediction(scores, codes, self.options.temperature)

    def after_step(self, progress: float) -> None:  # noqa: ARG002
        """Bring the prototypes back to unit length."""
        self.prototypes.normalise()

    def embed(self, images: Tensor) -> Tensor:
        """Return the projections [B, E] of films or crops."""
        embeddings: Tensor = self.projector(self.backbone(images))
        return embeddings

    def chance_loss(self, batch_size: int) -> float:  # noqa: ARG002
        """Return the logarithm of the number of prototypes; embeddings that are all alike end there too."""
        return math.log(self.options.prototypes)

    def diagnose(self, embeddings: Tensor) -> dict[str, float]:
        """Return ``prototypes_used``: the effective number that are some embedding's nearest, see effective_count."""
        return {
            "prototypes_used": effective_count(
                self.prototypes(F.normalize(embeddings.float(), dim=1))
            )
        }

    def _embed_crops(self, crops: tuple[Tensor, ...]) -> Tensor:
        """Return unit embeddings [V, B, E] in float32: one pass a size through the backbone, one through the projector.

        Batch norm in the backbone takes its statistics over the crops of one size, as published,
        that in the projector over all. Unlike there, running statistics follow the global crops
        alone, since what is used later sees films.
        """
        features = self.backbone(torch.cat(crops[:GLOBAL_CROPS]))  # [2 * B, D]
        if len(crops) > GLOBAL_CROPS:
            with _running_statistics_kept(self.backbone):
                local = self.backbone(torch.cat(crops[GLOBAL_CROPS:]))
            features = torch.cat([features, local])  # [V * B, D]
        embeddings = F.normalize(self.projector(features).float(), dim=1)
        return embeddings.view(len(crops), -1, embeddings.shape[1])

    @torch.no_grad()
    def _codes(self, embeddings: Tensor, batch: Batch) -> Tensor:
        """Return the codes [2, B, K] of this process's global crops [2, B, E], balanced over those of all processes.

        Every process computes all codes alike, which costs less than to meet at each iteration.
        """
        pairs = gather(embeddings.transpose(0, 1))  # [N, 2, E]
        films, known, present = len(pairs), pairs, None
        if self.queue is not None:
            if batch.epoch >= self.options.queue_from_epoch:
                stored, patients = self.queue.copy()
                known = torch.cat(
                    [pairs, stored.view(len(stored), *pairs.shape[1:])]
                )  # [N + Q, 2, E]
                # A mask and not an `if`, which would wait for the device: nothing of the queue
                # counts until it is full.
                full = (patients != NO_PATIENT).all()
                present = torch.cat([full.new_ones(films), full.expand(len(stored))])
            self.queue.push(pairs.flatten(1), gather(batch.patient))
        scores = self.prototypes(known)  # [N + Q, 2, K]
        epsilon, iterations = self.options.epsilon, self.options.iterations
        codes = [
            sinkhorn(scores[:, crop], epsilon, iterations, present)[:films]
            for crop in range(GLOBAL_CROPS)
        ]
        return torch.stack([own_rows(code) for code in codes])


def fitting_local_size(backbone: Backbone, local_size: int, size: int) -> int:
    """Return the side in pixels of local crops: as given, about half the film's, or what the network needs.

    Args:
        backbone: Built for films of ``size``.
        local_size: Side in pixels; 0 leaves it open.
        size: Side of the global crops in pixels.

    Raises:
        OptionError: It is larger than the film's, or the backbone cannot take it.
    """
    side = local_size or min(max(SMALLEST_LOCAL, math.ceil(size / 16) * 8), size)
    if side > size:
        raise OptionError(
            f"--method.local-size is {side} and films enter at {size} px: allowed is up to {size}."
        )
    if backbone.input_size is not None:
        return side  # the backbone enlarges what is smaller
    needed = min(enlarged_size(backbone.network, backbone.name, side) or side, size)
    if local_size and needed > local_size:
        raise OptionError(
            f"--method.local-size is {local_size}, too small for backbone {backbone.name!r}: "
            f"allowed is {needed} or more, or --method.local-crops 0."
        )
    return needed


@contextmanager
def _running_statistics_kept(module: nn.Module) -> Iterator[None]:
    """Let batch norms in the block normalise by their batch without it moving their running mean and variance."""
    norms = [part for part in module.modules() if isinstance(part, BATCH_NORMS)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
