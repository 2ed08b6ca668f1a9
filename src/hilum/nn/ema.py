"""The exponential moving average of a network: a slow, frozen copy that follows the trained one."""

from __future__ import annotations

import copy
import math
from typing import TypeVar

import torch
from torch import nn

Module = TypeVar("Module", bound=nn.Module)


def frozen_copy(module: Module) -> Module:
    """Return a copy that no gradient reaches."""
    return copy.deepcopy(module).requires_grad_(False)


@torch.no_grad()
def ema_update(slow: nn.Module, fast: nn.Module, decay: float) -> None:
    """Move every parameter of ``slow`` towards ``fast``: slow = decay * slow + (1 - decay) * fast.

    Buffers (batch-norm statistics) are left to the slow network's own forward passes.

    Raises:
        ValueError: The decay lies outside 0 to 1.
    """
    if not 0 <= decay <= 1:
        raise ValueError(f"the decay is {decay}, expected 0 to 1")
    torch._foreach_lerp_(list(slow.parameters()), list(fast.parameters()), 1 - decay)


@torch.no_grad()
def average_into(slow: nn.Module, fast: nn.Module, share: float) -> None:
    """Move everything in ``slow`` that share of the way to ``fast``, batch-norm statistics included.

    For a copy that is never trained itself; counters are copied.

    Args:
        slow: The network to change.
        fast: A network of the same tensors.
        share: 0 leaves ``slow`` as it is, 1 makes it equal to ``fast``.

    Raises:
        ValueError: The share lies outside 0 to 1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"the share is {share}, expected 0 to 1")
    for mine, other in zip(slow.state_dict().values(), fast.state_dict().values(), strict=True):
        if mine.is_floating_point():
            mine.lerp_(other.to(mine.dtype), share)
        else:
            mine.copy_(other)


class WeightAverage(nn.Module):
    """A network whose weights are the moving average of a trained one's; it is never trained itself.

    The decay rises with the number of steps t, as (1 + t) / (10 + t), to its own value: a short
    training does not end with what it started from.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__()
        self.network, self.decay, self.steps = frozen_copy(network).eval(), decay, 0

    def update(self, trained: nn.Module) -> None:
        """Move towards the trained network; call it once after each step."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        average_into(self.network, trained, 1 - decay)

    def get_extra_state(self) -> torch.Tensor:
        """Return the number of steps, which travels with the weights."""
        return torch.tensor(self.steps)

    def set_extra_state(self, state: torch.Tensor) -> None:
        """Take the number of steps."""
        self.steps = int(state)


def cosine_rise(start: float, progress: float) -> float:
    """Return the decay at a share of the training done: ``start`` at 0, 1 at 1, along a cosine.

    Source: section 3.2 of BYOL, arXiv 2006.07733.

    >>> cosine_rise(0.99, 0.0), cosine_rise(0.99, 1.0)
    (0.99, 1.0)
    """
    return 1 - (1 - start) * (1 + math.cos(math.pi * progress)) / 2
