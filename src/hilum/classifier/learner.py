"""The supervised learner: fine-tuning on labels with the cells that count."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hilum.augment.crops import CropRecipe, augment
from hilum.classifier.network import Classifier
from hilum.classifier.objective import Objective
from hilum.nn.backbones import Backbone
from hilum.training.learner import Batch, Learner

_REPEAT_SHIFT = 40
"""Films are far fewer than 2^40: their number and that of the draw share one key of the random
numbers."""


class SupervisedLearner(Learner):
    """A backbone and a linear layer, trained on augmented films."""

    crops_per_film = 1

    def __init__(
        self,
        backbone: Backbone,
        findings: int | Objective,
        recipe: CropRecipe,
        size: int,
        *,
        freeze: bool,
    ) -> None:
        """Put an untrained head on a backbone.

        Args:
            backbone: Where to start from.
            findings: What the outputs mean and cost; a number stands for that many findings and the
                cross-entropy.
            recipe: Augmentation of the training films.
            size: Pixels of a crop's side.
            freeze: Whether only the head learns; the backbone then stays in evaluation mode.
        """
        super().__init__(backbone)
        self.objective = Objective(findings) if isinstance(findings, int) else findings
        self.head = nn.Linear(backbone.out_features, self.objective.outputs)
        nn.init.zeros_(self.head.bias)
        self.recipe, self.size, self.freeze = recipe, size, freeze
        backbone.requires_grad_(not freeze)

    @property
    def classifier(self) -> Classifier:
        """The network that is being trained, from standardised films to logits, one a finding."""
        return Classifier(self.backbone, self.objective.fold(self.head))

    def train(self, mode: bool = True) -> SupervisedLearner:
        """Switch training mode; a frozen backbone keeps its batch-norm statistics."""
        super().train(mode)
        if self.freeze:
            self.backbone.eval()
        return self

    def initialise_head(self, counts: Tensor, seed: int) -> None:
        """Start each output at its class's fraction of ``counts`` [F, 3], with weights drawn by the seed.

        An output that starts at one half spends its first epoch on learning that findings are rare
        (Lin 2017, arXiv 1708.02002, section 4.1).
        """
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            self.head.weight.normal_(std=0.01, generator=generator)
            self.head.bias.copy_(self.objective.first_bias(counts))

    def make_crops(self, batch: Batch, seed: int) -> tuple[Tensor, ...]:
        """Return one augmented crop of each film; a film that is drawn again in an epoch gets another."""
        index = (
            batch.index if batch.repeat is None else batch.index + (batch.repeat << _REPEAT_SHIFT)
        )
        return (augment(batch.images, index, self.recipe, self.size, seed, batch.epoch, crop=0),)

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss (scalar) of the augmented films."""
        if batch.crops is None or batch.labels is None or batch.weights is None:
            raise ValueError("the batch needs crops, labels and weights")
        loss: Tensor = self.objective(
            self.head(self.backbone(batch.crops[0])), batch.labels, batch.weights
        )
        return loss
