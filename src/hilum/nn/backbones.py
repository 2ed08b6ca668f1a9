"""Backbones: timm's networks behind one door, fed one grey channel."""

from __future__ import annotations

import copy
import re
import warnings
from typing import Any

import timm
import torch
from timm.models import group_parameters
from torch import Tensor, nn

from hilum.errors import OptionError, did_you_mean
from hilum.nn.joined import JoinedNetwork, brought_to, is_joined, parts_of

ENLARGED_SIZES = (64, 75, 96, 128, 160, 192, 224, 256, 299)
"""Sizes in pixels that a batch is enlarged to, the smallest that works, when a network cannot take
the films' own."""


class Backbone(nn.Module):
    """A timm network without its classifier: grey films [B, 1, H, W] -> features [B, D].

    Attributes:
        name: timm's name of the architecture, or several joined by "+", each with a size of its own
            after "@" where wanted (``hilum.nn.joined``).
        out_features: D.
        input_size: Pixels the batch is resized to on its device, or None where films enter as they
            are.
    """

    def __init__(self, name: str, size: int) -> None:
        """Build the network with random weights.

        Args:
            name: timm's name of the architecture, also as ``timm/NAME`` or ``hf-hub:timm/NAME``;
                several as ``NAME+NAME@PIXELS``.
            size: Height and width in pixels of the films it will see.

        Raises:
            OptionError: timm has no such network, or it cannot take films of this size even when
                enlarged.
        """
        super().__init__()
        self.name = name = plain_name(name)
        self.network = create_network(name)
        self.takes_larger = not _config(self.network).get("fixed_input_size")
        self.input_size, shape = _entry(self.network, name, size)
        if shape is None or len(shape) != 2:
            raise OptionError(
                f"backbone {name!r} gives no pooled features: choose another, such as resnet18."
            )
        self.out_features = shape[1]

    def forward(self, images: Tensor) -> Tensor:
        """Return the pooled features [B, D] of films [B, 1, H, W]."""
        features: Tensor = self.network(self.fit(images))
        return features

    def stages_above(self) -> dict[str, int]:
        """Return for each parameter, by name, how many stages of the network follow its own.

        Stages are timm's coarse groups: of a ResNet the stem and the four layers. A network that timm
        gives no groups is one stage.
        """
        matcher = getattr(self.network, "group_matcher", None)
        names = [name for name, _ in self.network.named_parameters()]
        if matcher is None:
            return {f"network.{name}": 0 for name in names}
        groups = group_parameters(self.network, matcher(coarse=True))
        stage = {name: number for number, members in groups.items() for name in members}
        last = max(stage.values())
        return {f"network.{name}": last - stage.get(name, last) for name in names}

    def fit(self, images: Tensor) -> Tensor:
        """Enlarge films that are smaller than the network can take; one that takes a single size gets that."""
        return brought_to(images, self.input_size, takes_larger=self.takes_larger)


def plain_name(name: str) -> str:
    """Return timm's own name of a network that is written as the hub does.

    >>> plain_name("hf-hub:timm/resnet18.a1_in1k")
    'resnet18.a1_in1k'
    """
    if "+" in name:
        return "+".join(map(plain_name, name.split("+")))
    return re.sub(r"^(?:(?:hf[-_]hub:|https?://huggingface\.co/)(?=timm/))?(?:timm/)?", "", name)


def create_network(name: str) -> nn.Module:
    """Return timm's network of this name for one channel, without classifier, with random weights.

    Raises:
        OptionError: timm has no such network, or it cannot take one channel.
    """
    return _joined_network(name) if is_joined(name) else _single_network(name)


def _joined_network(name: str) -> nn.Module:
    try:
        parts = parts_of(name)
        networks = [_single_network(part) for part, _ in parts]
        return JoinedNetwork(networks, [side for _, side in parts])
    except (TypeError, ValueError) as error:
        raise OptionError(
            f"backbone {name!r} cannot be joined ({error}): allowed are timm's architectures with maps of their "
            "stages, such as resnet18+tf_efficientnet_lite0@128."
        ) from error


def _single_network(name: str) -> nn.Module:
    bare = name.split(".")[0]
    if bare not in timm.list_models():
        hint = did_you_mean(bare, timm.list_models())
        raise OptionError(
            f"unknown backbone {name!r}: allowed are timm's architectures, such as resnet50.{hint}"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # timm's own deprecations are not the user's concern
        try:
            network: nn.Module = timm.create_model(
                name, pretrained=False, in_chans=1, num_classes=0
            )
        except (RuntimeError, TypeError, ValueError, AssertionError) as error:
            # An unknown tag after the dot, or an architecture with a fixed stem or without a
            # headless form.
            reason = " ".join(str(error).split())[:80]
            raise OptionError(
                f"backbone {name!r} cannot be built for one channel ({reason}): choose another."
            ) from error
    return network


def enlarged_size(network: nn.Module, name: str, size: int) -> int | None:
    """Return the size in pixels that films must be brought to for this network, None if they fit as they are.

    Raises:
        OptionError: No size works.
    """
    return _entry(network, name, size)[0]


def _entry(network: nn.Module, name: str, size: int) -> tuple[int | None, torch.Size | None]:
    """Return what `enlarged_size` does, and the shape of the output at that size."""
    config = _config(network)
    if config.get("fixed_input_size"):
        fixed = int(config["input_size"][-1])
        return None if fixed == size else fixed, _trace(network, fixed)
    for candidate in (size, *(larger for larger in ENLARGED_SIZES if larger > size)):
        shape = _trace(network, candidate)
        if shape is not None:
            return None if candidate == size else candidate, shape
    raise OptionError(
        f"backbone {name!r} takes no films of {size} px, even enlarged: choose another backbone."
    )


def _config(network: nn.Module) -> dict[str, Any]:
    return dict(getattr(network, "pretrained_cfg", None) or {})


def _trace(network: nn.Module, size: int) -> torch.Size | None:
    """Return the shape that one film of this size gives, None if the network cannot take it; computes nothing."""
    # A copy and not functional_call, which stumbles over tied weights and buffers that are not
    # saved.
    sketch = copy.deepcopy(network).eval().to("meta")
    try:
        with torch.no_grad():
            return torch.Size(sketch(torch.empty(1, 1, size, size, device="meta")).shape)
    except (RuntimeError, AssertionError, ValueError):
        return None
