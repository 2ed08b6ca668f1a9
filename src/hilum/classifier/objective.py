"""What the classifier's outputs mean and cost: one output a finding, or three where uncertain is a class of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from hilum.classifier.options import LossOptions
from hilum.labels import UNCERTAIN_CLASS
from hilum.losses.class_weights import effective_number_weights, positive_weights
from hilum.losses.classification import (
    binary_cells,
    binary_focal_cells,
    masked_mean,
    softmax_cells,
    softmax_focal_cells,
)

CLASSES = 3
"""Absent, present, uncertain: the columns of counts and class weights."""


class Objective(nn.Module):
    """The loss of F findings, M of which have three outputs.

    The outputs are F + 2 M columns: every finding's logit, or its output for present where it has
    three; then the M outputs for absent; then the M for uncertain.
    """

    class_weights: Tensor

    def __init__(
        self,
        findings: int,
        multiclass: Sequence[int] = (),
        options: LossOptions | None = None,
        class_weights: Tensor | None = None,
    ) -> None:
        """Describe the loss.

        Args:
            findings: F.
            multiclass: Places of the findings whose uncertain cells are a class of their own.
            options: The loss and its strengths; cross-entropy unless given.
            class_weights: [F, 3]; None weighs every class 1.
        """
        super().__init__()
        self.findings, self.multiclass = findings, tuple(multiclass)
        self.binary = tuple(place for place in range(findings) if place not in self.multiclass)
        self.options = options or LossOptions()
        # Not persistent: it follows from the labels, and a checkpoint holds only what training
        # moves.
        self.register_buffer("class_weights", class_weights, persistent=False)

    @property
    def outputs(self) -> int:
        """Number of output columns."""
        return self.findings + 2 * len(self.multiclass)

    def forward(self, outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """Return the mean cost of the cells that count, scalar.

        Args:
            outputs: [B, F + 2 M].
            targets: [B, F], 0 to 1; UNCERTAIN_CLASS in uncertain cells of the M findings.
            weights: [B, F], 0 leaves the cell out.
        """
        if not self.multiclass:
            return masked_mean(self._binary(outputs, targets, self.class_weights), weights)
        binary, three = list(self.binary), list(self.multiclass)
        cells = torch.zeros_like(weights)
        cells[:, binary] = self._binary(
            outputs[:, binary], targets[:, binary], self._weights_of(binary)
        )
        cells[:, three] = self._three(
            self._triples(outputs), targets[:, three], self._weights_of(three)
        )
        return masked_mean(cells, weights)

    def fold(self, head: nn.Linear) -> nn.Linear:
        """Return a layer with one output a finding; of three outputs it is present less absent.

        Its probability is that of present among present and absent, which leaves uncertain aside:
        the softmax of two of the outputs is the logistic function of their difference.
        """
        if not self.multiclass:
            return head
        folded = nn.Linear(
            head.in_features, self.findings, device=head.weight.device, dtype=head.weight.dtype
        )
        three, absent = (
            list(self.multiclass),
            slice(self.findings, self.findings + len(self.multiclass)),
        )
        with torch.no_grad():
            for ours, theirs in ((folded.weight, head.weight), (folded.bias, head.bias)):
                ours.copy_(theirs[: self.findings])
                ours[three] -= theirs[absent]
        return folded

    def first_bias(self, counts: Tensor) -> Tensor:
        """Return the bias [F + 2 M] by which outputs start at each class's share.

        Args:
            counts: [F, 3], what the cells of each class weigh in the loss, by number and by class.
        """
        single = ((counts[:, 1] + 1) / (counts[:, :2].sum(1) + 2)).logit()
        if not self.multiclass:
            return single
        logs = (counts + 1).log() - (counts + 1).sum(1, keepdim=True).log()
        three = list(self.multiclass)
        single[three] = logs[three, 1]
        return torch.cat([single, logs[three, 0], logs[three, 2]])

    def _triples(self, outputs: Tensor) -> Tensor:
        """Return the outputs [B, M, 3] of the findings with three, by class."""
        absent, uncertain = outputs[:, self.findings :].chunk(2, dim=1)
        return torch.stack([absent, outputs[:, list(self.multiclass)], uncertain], dim=2)

    def _weights_of(self, places: list[int]) -> Tensor | None:
        # A buffer may be None, of which its type says nothing.
        weights = cast("Tensor | None", self.class_weights)
        return None if weights is None else weights[places]

    def _binary(self, logits: Tensor, targets: Tensor, class_weights: Tensor | None) -> Tensor:
        given = self.options
        if given.name == "focal":
            return binary_focal_cells(logits, targets, given.gamma, given.alpha, class_weights)
        return binary_cells(logits, targets, class_weights)

    def _three(self, triples: Tensor, classes: Tensor, class_weights: Tensor | None) -> Tensor:
        given = self.options
        if given.name == "focal":
            return softmax_focal_cells(triples, classes, given.gamma, given.alpha, class_weights)
        return softmax_cells(triples, classes, class_weights)


def class_counts(targets: Tensor, weights: Tensor) -> Tensor:
    """Return how many cells of each class there are, [F, 3]; a soft target counts in parts.

    Args:
        targets: [N, F], 0 to 1 or UNCERTAIN_CLASS.
        weights: [N, F], how often each cell counts.
    """
    uncertain = targets == UNCERTAIN_CLASS
    present, absent = targets, 1 - targets
    if not uncertain.any():  # mostly: copies of a large table are spared
        counts = [(cells * weights).sum(0) for cells in (absent, present)]
        return torch.stack([*counts, torch.zeros_like(counts[0])], dim=1)
    present, absent = (cells.masked_fill(uncertain, 0) for cells in (present, absent))
    return torch.stack([(cells * weights).sum(0) for cells in (absent, present, uncertain)], dim=1)


def class_weights(options: LossOptions, counts: Tensor) -> Tensor | None:
    """Return what each class weighs, [F, 3], for counts [F, 3]; None where all weigh alike."""
    if options.beta:
        return effective_number_weights(counts, options.beta)
    if options.positive_weight == "none":
        return None
    return positive_weights(
        counts, None if options.positive_weight == "balanced" else float(options.positive_weight)
    )
