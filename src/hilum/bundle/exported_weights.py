"""The network of an exported bundle: timm's tensors as a backbone and a head."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from hilum.bundle.exported import CONFIG, DESCRIPTION, REMEDY, WEIGHTS, Exported, read_exported
from hilum.bundle.weights import refuse_not_finite
from hilum.errors import OptionError, RunError
from hilum.nn.backbones import Backbone, create_network

MORE, SPARE = 4, 2**20
"""A network is built to be compared with its weights if it has at most so many times their values, and so many more:
some register a parameter more than once."""


def load_exported(folder: Path) -> tuple[Exported, Backbone, nn.Linear | None]:
    """Return a bundle's description, backbone and head (None after pretraining alone).

    Raises:
        RunError: It is damaged, or its weights are those of another network.
    """
    exported = read_exported(folder)
    exported.verify([DESCRIPTION, CONFIG, WEIGHTS])
    path, description, names = folder / WEIGHTS, exported.description, exported.content.head
    try:
        tensors = load_file(path)
        # Before memory is taken: a description may name a huge network.
        values = sum(tensor.numel() for tensor in tensors.values())
        with torch.device("meta"), _at_most(MORE * values + SPARE):
            sketch = create_network(description.backbone).state_dict()
        own = {name for name in tensors if names is None or not _belongs(name, names.modules)}
        _refuse_other_shapes({name: tensors[name] for name in own}, sketch)
        backbone = Backbone(description.backbone, description.size)
        head = None
        if names is not None:
            head = nn.Linear(backbone.out_features, len(description.findings))
            given = {"weight": tensors[names.weight], "bias": tensors[names.bias]}
            _refuse_other_shapes(given, head.state_dict())
            head.load_state_dict(given)
    except (OSError, SafetensorError, KeyError, ValueError, OptionError) as error:
        fault = f"no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise RunError(f"{path} does not fit {DESCRIPTION} ({fault:.120}): {REMEDY}.") from error
    for name, tensor in tensors.items():
        refuse_not_finite(name, tensor, str(folder))
    backbone.network.load_state_dict({name: tensors[name] for name in own})
    return exported, backbone, head


@contextmanager
def _at_most(values: int) -> Iterator[None]:
    """Let networks be built whose parameters have so many values together; at more, building ends."""
    built = 0

    def count(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:  # noqa: ARG001
        nonlocal built
        built += 0 if parameter is None else parameter.numel()
        if built > values:
            raise ValueError("it is larger than its weights")

    handle = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        handle.remove()


def _belongs(name: str, modules: tuple[str, ...]) -> bool:
    return any(name.startswith(f"{module}.") for module in modules)


def _refuse_other_shapes(given: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    """Raise a ValueError unless the tensors have the network's names, shapes and kinds of numbers."""
    if strange := sorted(set(given) ^ set(own)):
        raise ValueError(f"{strange[0]} is {'missing' if strange[0] in own else 'no part of it'}")
    for name, tensor in given.items():
        if tensor.shape != own[name].shape or tensor.dtype != own[name].dtype:
            numbers = str(tensor.dtype).removeprefix("torch.")
            raise ValueError(
                f"{name} is {numbers} {list(tensor.shape)}, not {list(own[name].shape)}"
            )
