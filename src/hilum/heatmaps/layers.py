"""Which layer of a network a heatmap is taken from.

The deepest maps carry most of a finding's meaning, but a map of 2 x 2 (a ResNet's last on 64 px
images) localises nothing. So the deepest layer with a map of at least 7 x 7 is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from hilum.errors import OptionError, did_you_mean

LEAST_SIDE = 7
"""Least rows and columns of a map that localises."""
_STEM_STRIDE = 4  # maps finer than a quarter of the film show edges and textures, not findings


class Trace:
    """The output shapes of all modules in one forward pass of one image, in order of completion."""

    def __init__(self, model: nn.Module, image: Tensor) -> None:
        """Run the film through the model.

        Args:
            model: In evaluation mode.
            image: [1, C, H, W], as the model expects it.
        """
        self._model = model
        self._film = (image.shape[-2], image.shape[-1])
        self._entered = (
            self._film
        )  # the largest film that met a layer: the model may enlarge its films itself
        self._shapes: dict[str, torch.Size] = {}
        calls: dict[str, int] = {}
        with ExitStack() as hooks, torch.no_grad():
            for name, module in model.named_modules():
                hooks.callback(module.register_forward_hook(self._recorder(name, calls)).remove)
            model(image)
        for name, count in calls.items():
            if count > 1:  # its maps would be of several depths at once
                self._shapes.pop(name, None)

    def deepest(self) -> str | None:
        """Return the deepest layer of the main path with a map of at least 7 x 7, or None."""
        fine = [
            name
            for name in self.main_path()
            if min(self.map_size(name)) >= LEAST_SIDE and self._past_stem(name)
        ]
        return fine[-1] if fine else None

    def named(self, layer: str) -> str:
        """Return the full name of the layer that the user names, in full or by the end of its name.

        Raises:
            OptionError: No layer is called so, several end so, or it gives no maps.
        """
        maps = [name for name in self._shapes if name and self._is_map(name)]
        matches = (
            [layer] if layer in maps else [name for name in maps if name.endswith(f".{layer}")]
        )
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise OptionError(
                f"layer {layer!r} is ambiguous: name one of {', '.join(matches)} in full."
            )
        path = self.main_path()
        hint = did_you_mean(layer, [*maps, *(name.rpartition(".")[2] for name in path)])
        raise OptionError(
            f"no layer {layer!r} gives maps: allowed are such as {', '.join(path[-6:])}.{hint}"
        )

    def map_size(self, layer: str) -> tuple[int, int]:
        """Return the rows and columns of a layer's map."""
        return self._shapes[layer][-2], self._shapes[layer][-1]

    def main_path(self) -> list[str]:
        """Return the layers that every path through the network passes, shallow to deep.

        These are the children of the network, and of every plain chain (nn.Sequential) among them.
        Other modules are
        blocks: a branch inside them is only part of the features at that depth.
        Modules that only wrap the network are passed through.
        """
        path: list[str] = []
        self._walk("", path)
        return path

    def _walk(self, parent: str, path: list[str]) -> None:
        for name in sorted(self._children(parent), key=list(self._shapes).index):
            is_map, wraps = self._is_map(name), not path and len(self._shapes[name]) in (2, 4)
            if wraps or (is_map and isinstance(self._model.get_submodule(name), nn.Sequential)):
                self._walk(name, path)
            if is_map:
                path.append(name)

    def _children(self, parent: str) -> Iterator[str]:
        """Yield the nearest called modules below ``parent``, through mere containers."""
        for child, _ in self._model.get_submodule(parent).named_children():
            name = f"{parent}.{child}" if parent else child
            if name in self._shapes:
                yield name
            else:
                yield from self._children(name)

    def _is_map(self, name: str) -> bool:
        """Whether the output is [1, C, h, w] of the image's proportions; channels-last is not."""
        shape = self._shapes[name]
        if len(shape) != 4:
            return False
        return abs(shape[2] * self._film[1] - shape[3] * self._film[0]) <= max(self._film)

    def _past_stem(self, name: str) -> bool:
        return self.map_size(name)[0] * _STEM_STRIDE < self._entered[0] + _STEM_STRIDE

    def _recorder(
        self, name: str, calls: dict[str, int]
    ) -> Callable[[nn.Module, tuple[object, ...], object], None]:
        def record(_: nn.Module, inputs: tuple[object, ...], output: object) -> None:
            calls[name] = calls.get(name, 0) + 1
            if isinstance(output, Tensor):
                self._shapes[name] = output.shape
            if inputs and isinstance(inputs[0], Tensor) and inputs[0].ndim == 4:
                self._entered = max(self._entered, (inputs[0].shape[-2], inputs[0].shape[-1]))

        return record
