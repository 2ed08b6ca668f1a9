"""AdamW with weight decay where it belongs."""

from __future__ import annotations

import torch
from torch import nn


def adamw(module: nn.Module, lr: float, weight_decay: float, *, fused: bool = True) -> torch.optim.AdamW:
    """Return AdamW over the trained parameters; norms and biases (one dimension or none) take no weight decay.

    Args:
        module: What is trained.
        lr: Learning rate.
        weight_decay: Decoupled weight decay.
        fused: Whether to update in one pass over memory, three times as fast on a CPU. It takes for granted that a
            parameter, its gradient and its moments lie in memory in the same order, as autograd and ``restore`` leave
            them. Not under a loss scaler whose gradients are clipped: it would divide by the scale after the clipping.

    Source: Loshchilov and Hutter, arXiv 1711.05101.
    """
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=lr, fused=fused)


def set_lr(optimiser: torch.optim.Optimizer, lr: float) -> None:
    """Give every parameter group this learning rate."""
    for group in optimiser.param_groups:
        group["lr"] = lr
