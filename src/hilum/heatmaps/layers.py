"""Which layer of a network a heatmap is taken from.

The deepest maps carry most of a finding's meaning, but a map of 2 x 2 (a ResNet's last on 64 px
images) localises nothing. So the deepest layer with a map of at least 7 x 7 is used.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from hilum.errors import OptionError, did_you_mean
from hilum.heatmaps.map_forms import TOKENS, MapForm, possible_forms
from hilum.nn.joined import JoinedNetwork

LEAST_SIDE = 7
"""Least rows and columns of a map that localises."""
_STEM_STRIDE = 4  # maps finer than a quarter of the film show edges and textures, not findings
_STEM = re.compile("stem|embed")  # timm's names of what cuts a film into patches before any block


def is_norm(module: nn.Module) -> bool:
    """Whether a module is a norm, by the name of its class: timm has many of its own."""
    return type(module).__name__.lower().endswith("norm")


class Trace:
    """The outputs of all modules in one forward pass of one image, in order of completion."""

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
        self._shapes: dict[str, torch.Size | None] = {}  # None of what is no tensor
        self._forms: dict[str, list[MapForm]] = {}
        calls: dict[str, int] = {}
        with ExitStack() as hooks, torch.no_grad():
            for name, module in model.named_modules():
                hooks.callback(module.register_forward_hook(self._recorder(name, calls)).remove)
            model(image)
        for name, count in calls.items():
            if count > 1:  # its maps would be of several depths at once
                del self._shapes[name], self._forms[name]
        self._read_reordered_tokens()

    def fine_layers(self) -> list[str]:
        """Return the layers of the main path with a map of at least 7 x 7, deepest first.

        Layers before the first block (a stem, a patch embedding) are none of them.
        """
        path = self.main_path()
        blocks = [place for place, name in enumerate(path) if self._is_block(name)]
        fine = [
            name
            for name in path[min(blocks, default=0) :]
            if min(self.map_size(name)) >= LEAST_SIDE and self._past_stem(name)
        ]
        return [name for name in reversed(fine) if not _STEM.search(name)]

    def first_norm(self, block: str) -> str | None:
        """Return the norm of tokens with which a block begins; None where it begins otherwise."""
        for name in sorted(self._children(block), key=list(self._shapes).index):
            tokens = [form for form in self._forms[name] if form.order == TOKENS]
            return name if tokens and is_norm(self._model.get_submodule(name)) else None
        return None

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
        form = self._forms[layer][0]
        return form.rows, form.columns

    def form(self, layer: str) -> MapForm:
        """Return how a layer's output holds its map.

        A map with as many channels as rows and columns is read as the nearest layer of the main
        path that has but one reading, a deeper one first; without one, channels first.
        """
        forms = self._forms[layer]
        if len(forms) > 1:
            order = list(self._shapes).index
            path = self.main_path()
            deeper = [name for name in path if order(name) > order(layer)]
            before = [name for name in reversed(path) if order(name) < order(layer)]
            for name in [*deeper, *(name for name in before if not _STEM.search(name))]:
                clear = self._forms[name]
                if len(clear) == 1 and clear[0].order != TOKENS:
                    return next(form for form in forms if form.order == clear[0].order)
        return forms[0]

    def main_path(self) -> list[str]:
        """Return the layers that every path through the network passes, shallow to deep.

        These are the children of the network, and of every plain chain (nn.Sequential) among them.
        Other modules are
        blocks: a branch inside them is only part of the features at that depth. So is each of several
        networks side by side, of which only the joined maps are taken.
        Modules that only wrap the network are passed through.
        """
        path: list[str] = []
        self._walk("", path)
        return path

    def _walk(self, parent: str, path: list[str]) -> None:
        for name in sorted(self._children(parent), key=list(self._shapes).index):
            is_map, shape = self._is_map(name), self._shapes[name]
            wraps = not path and shape is not None and len(shape) in (2, 4)
            if isinstance(self._model.get_submodule(name), JoinedNetwork):
                path.append(f"{name}.maps")
                continue
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
        """Whether the output holds a map of the image's proportions, in whatever form."""
        return bool(self._forms[name])

    def _is_block(self, name: str) -> bool:
        """Whether the layer is more than a stem, a single convolution or what follows one."""
        kernels = [
            weight for weight in self._model.get_submodule(name).parameters() if weight.ndim > 1
        ]
        return len(kernels) > 1 and not _STEM.search(name)

    def _read_reordered_tokens(self) -> None:
        """Read Hiera's tokens, which lie window by window: only its blocks say in which order."""
        for owner, module in self._model.named_modules():
            reroll, blocks = getattr(module, "reroll", None), getattr(module, "blocks", None)
            if isinstance(reroll, nn.Module) and isinstance(blocks, nn.ModuleList):
                known = {
                    f"{owner}.blocks.{i}".removeprefix("."): partial(reroll, block_idx=i)
                    for i in range(len(blocks))
                }
                for name, forms in self._forms.items():
                    if name.startswith(owner) and any(form.order == TOKENS for form in forms):
                        in_rows = known.get(name)
                        self._forms[name] = (
                            [replace(forms[0], in_rows=in_rows)] if in_rows is not None else []
                        )

    def _past_stem(self, name: str) -> bool:
        return self.map_size(name)[0] * _STEM_STRIDE < self._entered[0] + _STEM_STRIDE

    def _recorder(
        self, name: str, calls: dict[str, int]
    ) -> Callable[[nn.Module, tuple[object, ...], object], None]:
        def record(_: nn.Module, inputs: tuple[object, ...], output: object) -> None:
            calls[name] = calls.get(name, 0) + 1
            self._shapes[name] = output.shape if isinstance(output, Tensor) else None
            self._forms[name] = possible_forms(output, self._film)
            if inputs and isinstance(inputs[0], Tensor) and inputs[0].ndim == 4:
                self._entered = max(self._entered, (inputs[0].shape[-2], inputs[0].shape[-1]))

        return record
