"""Multi-label classification losses over the cells that count.

A finding has two classes, absent (0) and present (1), with one logit; or a third, uncertain (2),
with three. Class weights [F, 3] multiply what a cell costs. Everything is computed in float32, also
under autocast.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_LEAST = 1e-8
"""A power below 1 has no slope at 0, where a saturated output would lie."""


def masked_bce(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Return the binary cross-entropy averaged over the weighted cells.

    Args:
        logits: [B, F].
        targets: [B, F], 0 to 1; any finite value where the weight is 0.
        weights: [B, F], 0 leaves the cell out.

    Returns:
        Scalar in nats, computed in float32; 0 (with a zero gradient) if every weight is 0.
    """
    return masked_mean(binary_cells(logits, targets), weights)


def masked_mean(cells: Tensor, weights: Tensor) -> Tensor:
    """Return the mean of cells by their weights, both [B, F] float32; 0 if every weight is 0."""
    with torch.autocast(cells.device.type, enabled=False):
        return (cells * weights).sum() / weights.sum().clamp(min=1)


def binary_cells(logits: Tensor, targets: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Return the binary cross-entropy of each cell in nats.

    Args:
        logits: [B, F].
        targets: [B, F], 0 to 1.
        class_weights: [F, 2 or 3], of which the first two, absent and present, count; None weighs
            both 1.

    Returns:
        [B, F] float32: -(w1 t log p + w0 (1 - t) log(1 - p)).
    """
    with torch.autocast(logits.device.type, enabled=False):
        logits = logits.float()
        if class_weights is None:
            return F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        absent, present = class_weights[:, 0], class_weights[:, 1]
        return -(
            present * targets * F.logsigmoid(logits)
            + absent * (1 - targets) * F.logsigmoid(-logits)
        )


def binary_focal_cells(
    logits: Tensor, targets: Tensor, gamma: float, alpha: float, class_weights: Tensor | None = None
) -> Tensor:
    """Return the focal loss of each cell: its cross-entropy, less the better it is known.

    Args:
        logits: [B, F].
        targets: [B, F], 0 to 1.
        gamma: How strongly known cells are damped; 0 not at all.
        alpha: Weight of present cells, that of absent ones being 1 - alpha.
        class_weights: As in ``binary_cells``.

    Returns:
        [B, F] float32: a (1 - q)^gamma times the cross-entropy, where q = t p + (1 - t) (1 - p) and
        a = t alpha + (1 - t) (1 - alpha).

    Source: Lin 2017 (arXiv 1708.02002), equation 5; for a soft target as torchvision's
    ``sigmoid_focal_loss``. Lin divides a sum by the number of positives; here ``masked_mean``
    divides it by the cells that count.
    """
    with torch.autocast(logits.device.type, enabled=False):
        probability = torch.sigmoid(logits.float())
        missed = targets * (1 - probability) + (1 - targets) * probability  # 1 - q
        side = targets * alpha + (1 - targets) * (1 - alpha)
        return (
            side * missed.clamp(min=_LEAST) ** gamma * binary_cells(logits, targets, class_weights)
        )


def softmax_cells(logits: Tensor, classes: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Return the cross-entropy of each cell among three classes, in nats.

    Args:
        logits: [B, F, 3]: absent, present, uncertain.
        classes: [B, F], 0, 1 or 2, of any type.
        class_weights: [F, 3]; None weighs all 1.

    Returns:
        [B, F] float32.
    """
    with torch.autocast(logits.device.type, enabled=False):
        cells = -_of_class(F.log_softmax(logits.float(), dim=2), classes)
        return (
            cells
            if class_weights is None
            else cells * _of_class(class_weights.expand_as(logits), classes)
        )


def softmax_focal_cells(
    logits: Tensor, classes: Tensor, gamma: float, alpha: float, class_weights: Tensor | None = None
) -> Tensor:
    """Return the focal loss of each cell among three classes; ``alpha`` weighs present, 1 - alpha the other two.

    Shapes are those of ``softmax_cells``; the form is that of ``binary_focal_cells``, q being the
    probability of the cell's class.
    """
    with torch.autocast(logits.device.type, enabled=False):
        missed = 1 - _of_class(torch.softmax(logits.float(), dim=2), classes)
        side = torch.where(classes == 1, alpha, 1 - alpha)
        return (
            side * missed.clamp(min=_LEAST) ** gamma * softmax_cells(logits, classes, class_weights)
        )


def _of_class(values: Tensor, classes: Tensor) -> Tensor:
    """Return of values [B, F, C] those at each cell's class, [B, F]."""
    return values.gather(2, classes.long().unsqueeze(2)).squeeze(2)
