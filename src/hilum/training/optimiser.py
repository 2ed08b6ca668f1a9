"""Optimisers, with weight decay where it belongs."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import nn

from hilum.training.lars import Lars
from hilum.training.learner import Learner
from hilum.training.options import LoopOptions

FRACTION = "fraction"
"""Key of a parameter group that learns with a fraction of the learning rate."""


class Builder(Protocol):
    """Signature of an entry of OPTIMISERS."""

    def __call__(
        self, module: nn.Module, options: LoopOptions, *, fused: bool
    ) -> torch.optim.Optimizer:
        """Return the optimiser of the module's trained parameters; ``fused`` as for ``adamw``."""
        ...


def build_optimiser(
    module: nn.Module, options: LoopOptions, *, fused: bool = True
) -> torch.optim.Optimizer:
    """Return the optimiser that the options name.

    Args:
        module: The trained module.
        options: Its name, learning rate, weight decay and momentum.
        fused: As for ``adamw``, where it applies.
    """
    return OPTIMISERS[options.optimiser](module, options, fused=fused)


def adamw(
    module: nn.Module, lr: float, weight_decay: float, *, fused: bool = True
) -> torch.optim.AdamW:
    """Return AdamW over the trained parameters; norms and biases (one dimension or none) take no weight decay.

    Args:
        module: The trained module.
        lr: Learning rate.
        weight_decay: Decoupled weight decay.
        fused: Whether to update in one pass over memory, three times as fast on a CPU. It requires
            that a parameter, its gradient and its moments lie in memory in the same order,
            as autograd and ``restore`` leave them. Not under a loss scaler whose gradients are
            clipped: it would divide by the scale after the clipping.

    Source: Loshchilov and Hutter, arXiv 1711.05101.
    """
    return torch.optim.AdamW(_groups(module, weight_decay), lr=lr, fused=fused)


def sgd(module: nn.Module, lr: float, weight_decay: float, momentum: float) -> torch.optim.SGD:
    """Return SGD with momentum over the trained parameters; norms and biases take no weight decay.

    Not fused: that refuses parameters whose first gradient comes later than the others', as a
    method may have them.

    Args:
        module: The trained module.
        lr: Learning rate.
        weight_decay: L2 penalty, added to the gradient.
        momentum: Fraction of the last step that is kept.
    """
    return torch.optim.SGD(_groups(module, weight_decay), lr=lr, momentum=momentum)


def lars(module: nn.Module, lr: float, weight_decay: float, momentum: float) -> Lars:
    """Return LARS over the trained parameters; norms and biases take neither weight decay nor a layer's rate.

    Args:
        module: The trained module.
        lr: Learning rate.
        weight_decay: L2 penalty, added to the gradient.
        momentum: Fraction of the last step that is kept.
    """
    return Lars(_groups(module, weight_decay, adapt=True), lr=lr, momentum=momentum)


def set_lr(optimiser: torch.optim.Optimizer, lr: float) -> None:
    """Give every parameter group this learning rate, or its fraction of it."""
    for group in optimiser.param_groups:
        group["lr"] = lr * group.get(FRACTION, 1.0)


def _groups(module: nn.Module, weight_decay: float, **more: Any) -> list[dict[str, Any]]:
    """Return two groups for each fraction of the learning rate, the largest first.

    Weights have weight decay and ``more``, norms and biases none of it.
    """
    fractions = module.learning_rates() if isinstance(module, Learner) else {}
    trained = [
        (parameter, fractions.get(name, 1.0))
        for name, parameter in module.named_parameters()
        if parameter.requires_grad
    ]
    spared = dict.fromkeys(more, False)
    groups: list[dict[str, Any]] = []
    for fraction in sorted({fraction for _, fraction in trained}, reverse=True):
        own = [parameter for parameter, other in trained if other == fraction]
        kept = {} if fraction == 1 else {FRACTION: fraction}
        groups += [
            {
                "params": [p for p in own if p.ndim > 1],
                "weight_decay": weight_decay,
                **more,
                **kept,
            },
            {"params": [p for p in own if p.ndim <= 1], "weight_decay": 0.0, **spared, **kept},
        ]
    return [group for group in groups if group["params"]]


def _adamw(module: nn.Module, options: LoopOptions, *, fused: bool) -> torch.optim.Optimizer:
    return adamw(module, options.lr, options.weight_decay, fused=fused)


def _sgd(module: nn.Module, options: LoopOptions, *, fused: bool) -> torch.optim.Optimizer:  # noqa: ARG001
    return sgd(module, options.lr, options.weight_decay, options.momentum)


def _lars(module: nn.Module, options: LoopOptions, *, fused: bool) -> torch.optim.Optimizer:  # noqa: ARG001
    return lars(module, options.lr, options.weight_decay, options.momentum)


OPTIMISERS: dict[str, Builder] = {"adamw": _adamw, "sgd": _sgd, "lars": _lars}
"""Value of ``--train.optimiser`` -> its builder."""
