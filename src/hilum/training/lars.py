"""LARS: each layer's step is proportional to the norm of its weights, for large batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class Lars(torch.optim.Optimizer):
    """SGD with momentum whose gradients are scaled, layer by layer, to ``trust`` times the norm of the weights.

    With w the weights of a layer, g its gradient and b the weight decay:

        rate = trust * |w| / (|g| + b * |w|)        1 where |w| or |g| is 0
        v    = momentum * v + rate * (g + b * w)
        w    = w - lr * v

    A group with ``adapt=False`` takes rate = 1: norms and biases, as SimCLR and BYOL do. The
    learning rate is applied outside of the momentum, as in ``torch.optim.SGD``; the paper has it
    inside, which differs only while the rate changes. Nothing here waits for the device.

    Source: You, Gitman, Ginsburg, arXiv 1708.03888, algorithm 1.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = 0.001,
        adapt: bool = True,
    ) -> None:
        """Take the parameters, or groups of them with their own values.

        Args:
            params: Parameters, or groups.
            lr: Learning rate.
            momentum: Fraction of the last step that is kept, from 0 to below 1.
            weight_decay: L2 penalty, added to the gradient.
            trust: The paper's trust coefficient.
            adapt: Whether a layer's rate follows the size of its weights.
        """
        values = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "trust": trust,
            "adapt": adapt,
        }
        super().__init__(params, values)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Change the weights once; parameters without a gradient stay.

        Raises:
            ValueError: There is a closure, which LARS does not support.
        """
        if closure is not None:
            raise ValueError("LARS takes no closure")
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if weights:
                self._move(weights, group)

    def _move(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        steps = list(torch._foreach_add(gradients, weights, alpha=group["weight_decay"]))
        if group["adapt"]:
            rates = layer_rates(weights, gradients, group["weight_decay"], group["trust"])
            torch._foreach_mul_(steps, list(rates.unbind()))
        moments = [self._moment(weight) for weight in weights]
        torch._foreach_mul_(moments, group["momentum"])
        torch._foreach_add_(moments, steps)
        torch._foreach_add_(weights, moments, alpha=-group["lr"])

    def _moment(self, weight: Tensor) -> Tensor:
        state: dict[str, Tensor] = self.state[weight]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(weight)
        return state["momentum_buffer"]


def layer_rates(
    weights: list[Tensor], gradients: list[Tensor], weight_decay: float, trust: float
) -> Tensor:
    """Return the rate of each layer, [layers], on the device; 1 where the weights or the gradient are all 0."""
    lengths, slopes = (
        torch.stack(torch._foreach_norm(weights)),
        torch.stack(torch._foreach_norm(gradients)),
    )
    rates = trust * lengths / (slopes + weight_decay * lengths)
    return torch.where((lengths > 0) & (slopes > 0), rates, 1.0)
