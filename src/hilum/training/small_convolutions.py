"""Convolutions over a map of 1 x 1 in float32 on the CPU: half precision leaves their gradient unwritten.

torch 2.15 leaves the outer entries of the weight's bfloat16 gradient as the memory was, where a
strided 3 x 3 convolution meets a map of 1 x 1; true are zeros. Small crops lead to such maps.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def compute_small_convolutions_in_float32(model: nn.Module) -> None:
    """Make every convolution of a kernel above 1 leave autocast where its map is 1 x 1."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and max(module.kernel_size) > 1:
            _leave_autocast(module)


def _leave_autocast(convolution: nn.Conv2d) -> None:
    left: list[torch.autocast] = []

    def enter(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        (images, *rest) = inputs
        if images.shape[-2:] != (1, 1) or images.device.type != "cpu":
            return None
        left.append(torch.autocast("cpu", enabled=False))
        left[-1].__enter__()  # type: ignore[no-untyped-call]
        return images.float(), *rest

    def leave(_: nn.Module, __: object, ___: object) -> None:
        if left:
            left.pop().__exit__(None, None, None)

    convolution.register_forward_pre_hook(enter)
    convolution.register_forward_hook(leave, always_call=True)
