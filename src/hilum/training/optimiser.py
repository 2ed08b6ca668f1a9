"""AdamW with weight decay where it belongs."""

from __future__ import annotations

import torch
from torch import nn


def adamw(module: nn.Module, lr: float, weight_decay: float) -> torch.optim.AdamW:
    """Return AdamW over the trained parameters; norms and biases (one dimension or none) take no weight decay.

    Source: Loshchilov and Hutter, arXiv 1711.05101.
    """
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=lr)


def set_lr(optimiser: torch.optim.Optimizer, lr: float) -> None:
    """Give every parameter group this learning rate."""
    for group in optimiser.param_groups:
        group["lr"] = lr
