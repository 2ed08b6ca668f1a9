"""The supervised learner: fine-tuning on labels with the cells that count."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from hilum.augment.crops import CropRecipe, augment
from hilum.augment.presets import FINETUNE_STRONG
from hilum.classifier.network import Classifier
from hilum.classifier.objective import Objective
from hilum.classifier.options import EVERYTHING, Tuning
from hilum.losses.classification import binary_cells
from hilum.nn.backbones import Backbone
from hilum.nn.ema import WeightAverage, average_into, frozen_copy
from hilum.training.learner import Batch, Learner

PROBE, MEAN, TUNED = "probe", "mean", "tuned"
"""Names of the candidates."""
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
        tuning: Tuning = EVERYTHING,
    ) -> None:
        """Put an untrained head on a backbone.

        Args:
            backbone: Where to start from.
            findings: What the outputs mean and cost; a number stands for that many findings and the
                cross-entropy.
            recipe: Augmentation of the training films.
            size: Pixels of a crop's side.
            freeze: Whether only the head learns; the backbone then stays in evaluation mode.
            tuning: How far the network may move from where it starts.
        """
        super().__init__(backbone)
        self.objective = Objective(findings) if isinstance(findings, int) else findings
        self.head = nn.Linear(backbone.out_features, self.objective.outputs)
        nn.init.zeros_(self.head.bias)
        self.recipe, self.size, self.freeze, self.tuning = recipe, size, freeze, tuning
        backbone.requires_grad_(not freeze)
        self.averaged: WeightAverage | None = None
        self.probe: Classifier | None = None

    def begin_copies(self) -> None:
        """Take the copies that the tuning asks for, of the network as it is now: call it before the first step."""
        start = Classifier(self.backbone, self.head)
        average = self.tuning.average
        self.averaged = WeightAverage(start, average) if average else None
        self.probe = frozen_copy(start).eval() if self.tuning.probe_first else None

    @property
    def classifier(self) -> Classifier:
        """The network that training gives, from standardised films to logits, one a finding."""
        return self._folded(self._tuned)

    @property
    def _tuned(self) -> Classifier:
        """The average of the weights where there is one, else the network that is trained."""
        trained = Classifier(self.backbone, self.head)
        return trained if self.averaged is None else cast("Classifier", self.averaged.network)

    def candidates(self) -> dict[str, Classifier]:
        """Return the networks that validation chooses among, by name.

        With ``probe_first`` these are the linear probe that training started from, the tuned network,
        and the network whose weights are the mean of both (Wortsman 2022, arXiv 2109.01903).
        """
        if self.probe is None:
            return {TUNED: self.classifier}
        middle = frozen_copy(self.probe)
        average_into(middle, self._tuned, 0.5)
        named = {PROBE: self.probe, MEAN: middle, TUNED: self._tuned}
        return {name: self._folded(network) for name, network in named.items()}

    def _folded(self, network: Classifier) -> Classifier:
        return Classifier(network.backbone, self.objective.fold(network.head))

    def learning_rates(self) -> dict[str, float]:
        """Return each parameter's fraction of the learning rate: 1 for the head, less towards the input."""
        backbone, decay = self.tuning.backbone_rate, self.tuning.layer_decay
        return {
            f"backbone.{name}": backbone * decay**above
            for name, above in self.backbone.stages_above().items()
        }

    def after_step(self, progress: float) -> None:  # noqa: ARG002
        """Move the averaged network."""
        if self.averaged is not None:
            self.averaged.update(Classifier(self.backbone, self.head))

    def train(self, mode: bool = True) -> SupervisedLearner:
        """Switch training mode; a frozen backbone and the copies stay in evaluation mode.

        With ``keep_norm`` so do the norms of the backbone: statistics of a few hundred films are worse
        than those of all that it was pretrained on.
        """
        super().train(mode)
        if self.freeze:
            self.backbone.eval()
        if self.tuning.keep_norm:
            for module in self.backbone.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        for copy in (self.averaged, self.probe):
            if copy is not None:
                copy.eval()
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

    def set_head(self, weight: Tensor, bias: Tensor) -> None:
        """Put a probe's layer into the head: weight [F, D] and bias [F] for the backbone's own features.

        Raises:
            ValueError: The head has other outputs, as where uncertain is a class of its own.
        """
        if weight.shape != self.head.weight.shape:
            raise ValueError(
                f"the probe has weights of {tuple(weight.shape)}, the head {tuple(self.head.weight.shape)}"
            )
        with torch.no_grad():
            self.head.weight.copy_(weight)
            self.head.bias.copy_(bias)

    def make_crops(self, batch: Batch, seed: int) -> tuple[Tensor, ...]:
        """Return one augmented crop of each film; a film that is drawn again in an epoch gets another.

        Films without labels have a second, strong crop.
        """
        index = (
            batch.index if batch.repeat is None else batch.index + (batch.repeat << _REPEAT_SHIFT)
        )
        light = augment(batch.images, index, self.recipe, self.size, seed, batch.epoch, crop=0)
        last = self.tuning.unlabelled
        if not last:
            return (light,)
        strong = augment(
            batch.images[-last:], index[-last:], FINETUNE_STRONG, self.size, seed, batch.epoch, crop=1
        )  # fmt: skip
        return light, strong

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss (scalar) of the augmented films."""
        if batch.crops is None or batch.labels is None or batch.weights is None:
            raise ValueError("the batch needs crops, labels and weights")
        last = self.tuning.unlabelled
        if not last:
            loss: Tensor = self.objective(
                self.head(self.backbone(batch.crops[0])), batch.labels, batch.weights
            )
            return loss
        light, strong = batch.crops
        outputs = self.head(self.backbone(torch.cat([light[:-last], strong])))
        labelled: Tensor = self.objective(
            outputs[:-last], batch.labels[:-last], batch.weights[:-last]
        )
        targets = self.soft_targets(light[-last:], batch.labels[-last:])
        return labelled + self.tuning.soft_weight * binary_cells(outputs[-last:], targets).mean()

    @torch.no_grad()
    def soft_targets(self, light: Tensor, known: Tensor) -> Tensor:
        """Return the targets [U, F] of films without labels: the averaged network's probabilities of light crops.

        Further networks count as much each: ``known`` [U, F] is the mean of theirs.

        Source: the averaged teacher of Tarvainen 2017 (arXiv 1703.01780), light and strong crops as in
            FixMatch (arXiv 2001.07685), without its threshold.
        """
        if self.averaged is None:
            raise ValueError("soft targets need an averaged network")
        own: Tensor = self.averaged.network(light).float().sigmoid()
        others = self.tuning.starts
        return torch.lerp(own, known, others / (1 + others))
