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


def cosine_rise(start: float, progress: float) -> float:
    """Return the decay at a share of the training done: ``start`` at 0, 1 at 1, along a cosine.

    Source: section 3.2 of BYOL, arXiv 2006.07733.

    >>> cosine_rise(0.99, 0.0), cosine_rise(0.99, 1.0)
    (0.99, 1.0)
    """
    return 1 - (1 - start) * (1 + math.cos(math.pi * progress)) / 2
