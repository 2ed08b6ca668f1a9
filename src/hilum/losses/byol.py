"""BYOL's loss: how far a prediction points away from what it predicts."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def byol_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Return 2 - 2 cos, the squared distance of the unit vectors, averaged over the rows.

    Args:
        prediction: [B, E], any length.
        target: [B, E], any length; row i is what row i predicts. Gradient reaches it unless the
            caller detached it.

    Returns: Scalar from 0 (same direction) by 2 (at right angles) to 4 (opposite), always computed
        in float32.

    Source: eq. 2 of arXiv 2006.07733.
    """
    with torch.autocast(prediction.device.type, enabled=False):
        prediction, target = (
            F.normalize(vectors.float(), dim=1) for vectors in (prediction, target)
        )
        return 2 - 2 * (prediction * target).sum(dim=1).mean()
