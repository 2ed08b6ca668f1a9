"""Convolutions over small maps as matrix products on the CPU: several times faster there, and right in half precision.

The last stages of a network meet maps of a few places where films are small: 2 x 2 in a ResNet at 48 or 64 px.
oneDNN's convolution spends a large part of a training step on these, mostly on their weights' gradient;
the places' neighbourhoods, laid out as rows, times the kernel give the same by one product.

torch 2.15 also leaves the outer entries of the weight's bfloat16 gradient as the memory was, where a
strided 3 x 3 convolution meets a map of 1 x 1; true are zeros. In the product, entries of the kernel that
meet no place take no part, so that their gradient is zero. Convolutions that no product computes
(in groups, of timm's own classes) are computed in float32 over such a map.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MOST_PLACES = 9
"""Places of an output map, at most, for which the product is the faster of the two."""


def multiply_small_convolutions(model: nn.Module) -> None:
    """Have every plain convolution compute small maps by a matrix product while it trains on a CPU, in place.

    Parameters, their names and the mode of evaluation stay as they are; outputs differ in rounding alone.
    Convolutions of one entry, in groups, dilated ones, those that pad by other than zeros and classes of
    timm's own stay as they are, but leave autocast over a map of 1 x 1.
    """
    for module in model.modules():
        if not isinstance(module, nn.Conv2d) or max(module.kernel_size) == 1:
            continue  # a sum of two products' gradients of one entry loses the layout that DDP expects
        if type(module) is nn.Conv2d and _is_plain(module):
            module.__class__ = SmallMapConv2d
        else:
            _leave_autocast(module)


def _leave_autocast(convolution: nn.Conv2d) -> None:
    left: list[torch.autocast] = []

    def enter(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        (maps, *rest) = inputs
        if maps.shape[-2:] != (1, 1) or maps.device.type != "cpu":
            return None
        left.append(torch.autocast("cpu", enabled=False))
        left[-1].__enter__()  # type: ignore[no-untyped-call]
        return maps.float(), *rest

    def leave(_: nn.Module, __: object, ___: object) -> None:
        if left:
            left.pop().__exit__(None, None, None)

    convolution.register_forward_pre_hook(enter)
    convolution.register_forward_hook(leave, always_call=True)


def _is_plain(convolution: nn.Conv2d) -> bool:
    return (
        convolution.groups == 1
        and convolution.dilation == (1, 1)
        and convolution.padding_mode == "zeros"
        and not isinstance(convolution.padding, str)
    )


class SmallMapConv2d(nn.Conv2d):
    """``nn.Conv2d`` that computes small maps by a matrix product in training."""

    def forward(self, maps: Tensor) -> Tensor:
        """Return the output [B, O, h, w] of maps [B, C, H, W]."""
        height, width = (self._places(maps, axis) for axis in (0, 1))
        if not self.training or min(height, width) < 1 or height * width > MOST_PLACES:
            return super().forward(maps)  # torch refuses a kernel above the map
        return self._product(maps, height, width)

    def _places(self, maps: Tensor, axis: int) -> int:
        """Return the height (axis 0) or width (axis 1) of the output."""
        padding = int(self.padding[axis])
        span = maps.shape[2 + axis] + 2 * padding - self.kernel_size[axis]
        return span // self.stride[axis] + 1

    def _met(self, maps: Tensor, axis: int, places: int) -> range:
        """Return the rows or columns of the kernel that lie on the map for at least one place."""
        padding, side = int(self.padding[axis]), maps.shape[2 + axis]
        last = (places - 1) * self.stride[axis]  # where the last place's kernel begins, padded
        met = [
            tap
            for tap in range(self.kernel_size[axis])
            if tap < side + padding and last + tap >= padding
        ]
        return range(met[0], met[-1] + 1)

    def _product(self, maps: Tensor, height: int, width: int) -> Tensor:
        down, right = self.stride
        above, left = (int(padding) for padding in self.padding)
        rows, columns = self._met(maps, 0, height), self._met(maps, 1, width)
        kernel = self.weight
        if torch.is_autocast_enabled("cpu"):
            # Before the copies below, which then move half as much.
            kernel = kernel.to(torch.get_autocast_dtype("cpu"))
            maps = maps.to(kernel.dtype)
        padded = F.pad(maps.permute(0, 2, 3, 1), (0, 0, left, left, above, above))  # [B, H', W', C]
        seen = torch.cat(
            [
                padded[
                    :,
                    row : row + (height - 1) * down + 1 : down,
                    column : column + (width - 1) * right + 1 : right,
                ]
                for row in rows
                for column in columns
            ],
            dim=-1,
        )  # [B, h, w, kernel rows x kernel columns x C]
        # Laid out as the kernel is in memory (channels last) before anything is cut out, so that its
        # gradient is too, as DDP expects it.
        met = kernel.permute(0, 2, 3, 1)[:, rows.start : rows.stop, columns.start : columns.stop]
        weights = met.reshape(self.out_channels, -1)
        return F.linear(seen, weights, self.bias).permute(0, 3, 1, 2)
