"""Calibration folded into a classifier's output layer, so that whoever uses the model has calibrated probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import nn

from hilum.metrics.calibration import Calibration


def fold(head: nn.Linear, calibrations: Sequence[Calibration | None]) -> nn.Linear:
    """Return an output layer that gives calibrated logits; the one given is left alone.

    ``(w x + b) / temperature + shift`` is again a linear layer, with ``w / temperature`` and
    ``b / temperature + shift``.

    Args:
        head: [F] outputs with a bias.
        calibrations: [F]; None leaves that output as it is.

    Raises:
        ValueError: The numbers of outputs and calibrations differ, or the layer has no bias.
    """
    if len(calibrations) != head.out_features or head.bias is None:
        raise ValueError(
            f"{len(calibrations)} calibrations for {head}: one for each output, and a bias, are needed"
        )
    kept = [Calibration(1.0, 0.0) if one is None else one for one in calibrations]
    temperature, shift = torch.tensor(
        kept, dtype=head.weight.dtype, device=head.weight.device
    ).T  # [F] each
    folded = deepcopy(head)
    with torch.no_grad():
        folded.weight.div_(temperature[:, None])
        folded.bias.div_(temperature).add_(shift)
    return folded
