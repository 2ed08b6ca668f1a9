"""Networks side by side: films through each, and the channels of all their last maps as features."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_PART = re.compile(r"^(?P<name>[^+@]+?)(?:@(?P<side>\d{1,4}))?$")


def is_joined(name: str) -> bool:
    """Whether a backbone's name is one of several networks, or of one at a size of its own.

    >>> is_joined("resnet18"), is_joined("resnet10t+tf_efficientnet_lite0@128")
    (False, True)
    """
    return "+" in name or "@" in name


def parts_of(name: str) -> list[tuple[str, int | None]]:
    """Return the networks that a joined backbone's name lists, each with the side in pixels it is given films at.

    >>> parts_of("resnet10t+tf_efficientnet_lite0@128")
    [('resnet10t', None), ('tf_efficientnet_lite0', 128)]

    Raises:
        ValueError: A part is no name, or none with a size.
    """
    found = [_PART.match(part) for part in name.split("+")]
    if not all(found):
        raise ValueError("write NAME+NAME, each with its size as NAME@PIXELS where wanted")
    return [(part["name"], int(part["side"]) if part["side"] else None) for part in found if part]


def joined_name(parts: Sequence[tuple[str, int | None]]) -> str:
    """Return the name that ``parts_of`` reads.

    >>> joined_name([("resnet10t", None), ("tf_efficientnet_lite0", 128)])
    'resnet10t+tf_efficientnet_lite0@128'
    """
    return "+".join(name if side is None else f"{name}@{side}" for name, side in parts)


class SideBySide(nn.Module):
    """Maps of one film at several grids -> one map with all their channels, whose mean over the picture is theirs."""

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Return [B, D1 + D2 + ..., h, w] of maps [B, Di, hi, wi].

        h and w are the least common multiples of the grids: each place is repeated a whole number of
        times, so no channel's mean changes.
        """
        height = math.lcm(*(part.shape[-2] for part in maps))
        width = math.lcm(*(part.shape[-1] for part in maps))
        return torch.cat([F.interpolate(part, size=(height, width)) for part in maps], dim=1)


class JoinedNetwork(nn.Module):
    """Several timm networks side by side: films [B, 1, H, W] -> features [B, D1 + D2 + ...].

    A part's features are the channels of its last stage's map, averaged over the picture; what
    timm puts behind that map (a further convolution, the classifier) is left out.

    Attributes:
        parts: The networks.
        sides: For each the pixels that smaller films are enlarged to, None where they enter as they
            are; of a network that takes a single size that one, which larger films are shrunk to.
        maps: Puts the maps side by side; its output is what heatmaps are made of.
    """

    def __init__(self, networks: Sequence[nn.Module], sides: Sequence[int | None]) -> None:
        """Take networks over.

        Args:
            networks: Of timm, for one channel, with ``forward_intermediates``.
            sides: One for each.

        Raises:
            TypeError: A network gives no maps.
        """
        super().__init__()
        for network in networks:
            if not hasattr(network, "prune_intermediate_layers"):
                raise TypeError(f"{type(network).__name__} gives no maps of its stages")
            prune: Any = network.prune_intermediate_layers
            prune(1, prune_norm=False, prune_head=True)
        self.parts = nn.ModuleList(networks)
        fixed = [_fixed_side(network) for network in networks]
        self.sides = tuple(
            only if only is not None else side for only, side in zip(fixed, sides, strict=True)
        )
        self.take_larger = tuple(only is None for only in fixed)
        self.maps = SideBySide()

    def forward(self, images: Tensor) -> Tensor:
        """Return the features [B, D1 + D2 + ...] of films [B, 1, H, W]."""
        maps = []
        for network, side, larger in zip(self.parts, self.sides, self.take_larger, strict=True):
            take: Any = network.forward_intermediates
            films = brought_to(images, side, takes_larger=larger)
            maps.append(take(films, indices=1, intermediates_only=True)[0])
        together: Tensor = self.maps(maps)
        return together.mean(dim=(2, 3))


def _fixed_side(network: nn.Module) -> int | None:
    config: dict[str, Any] = getattr(network, "pretrained_cfg", None) or {}
    return int(config["input_size"][-1]) if config.get("fixed_input_size") else None


def brought_to(images: Tensor, side: int | None, *, takes_larger: bool) -> Tensor:
    """Return films [B, 1, H, W] of a network's side: smaller ones enlarged, larger ones shrunk unless it takes them.

    Without a side they stay as they are.
    """
    own = images.shape[-1]
    if side is None or own == side or (own > side and takes_larger):
        return images
    return F.interpolate(
        images, size=(side, side), mode="bilinear", align_corners=False, antialias=own > side
    )
