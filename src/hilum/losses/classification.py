"""Multi-label classification losses over the cells that count."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def masked_bce(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Return the binary cross-entropy averaged over the weighted cells.

    Args:
        logits: [B, F].
        targets: [B, F], 0 to 1; any finite value where the weight is 0.
        weights: [B, F], 0 leaves the cell out.

    Returns:
        Scalar in nats, computed in float32; 0 (with a zero gradient) if every weight is 0.
    """
    with torch.autocast(logits.device.type, enabled=False):
        cells = F.binary_cross_entropy_with_logits(logits.float(), targets, reduction="none")
        return (cells * weights).sum() / weights.sum().clamp(min=1)
