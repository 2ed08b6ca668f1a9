"""A backbone's weights from ImageNet or a file; nothing is unpickled."""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

import timm
import torch
from huggingface_hub import constants as hub
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from hilum.errors import OptionError, RunError
from hilum.nn.backbones import Backbone

ENOUGH = 0.95
"""Fraction of a backbone's values that a file must have; less is another network's file."""

PREFIXES = (
    "",
    "backbone.",
    "module.",
    "model.",
    "encoder.",
    "network.",
    "encoder_q.",
    "module.encoder_q.",
    "backbone.network.",
)


@dataclass(frozen=True)
class Matched:
    """The result of loading a file: values taken, values in all, and keys without a match."""

    taken: int
    total: int
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    summed: tuple[str, ...]

    def __str__(self) -> str:
        """Return the report of one line."""
        line = f"{self.taken / self.total:.1%} of the backbone's {self.total:,} values taken"
        if self.summed:
            line += f"; three-channel weights summed to one channel: {', '.join(self.summed)}"
        if self.missing:
            line += f"; left random: {', '.join(self.missing[:3])}{' …' if len(self.missing) > 3 else ''}"
        return f"{line}; {len(self.unused)} other keys of the file left aside"


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a weights file: safetensors, or a PyTorch file by its tensors alone (``weights_only``).

    Raises:
        RunError: The file is missing, a folder, of another kind, or holds anything but tensors.
    """
    if path.is_dir():
        raise RunError(
            f"{path} holds no finished run (no model/model.json): finish the command that trains it, or give random, "
            "imagenet, another run folder or a weights file."
        )
    if not path.is_file():
        raise RunError(
            f"no weights file {str(path)!r}: give random, imagenet, a run folder or an existing file."
        )
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise RunError(
            f"{path} cannot be read as weights ({_first_line(error)}): give a whole file."
        ) from error
    except Exception as error:
        # torch raises pickle's own errors for a file with more in it than tensors: it is refused,
        # never run.
        raise RunError(
            f"{path} holds more than tensors and is not opened: convert it to safetensors."
        ) from error
    return _tensors(loaded, path)


def _tensors(loaded: object, path: Path) -> dict[str, Tensor]:
    for wrapper in ("state_dict", "model", "teacher"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(wrapper), Mapping):
            loaded = loaded[wrapper]
    if not isinstance(loaded, Mapping) or not any(
        isinstance(value, Tensor) for value in loaded.values()
    ):
        raise RunError(f"{path} holds no table of tensors: give a state dict.")
    return {str(name): value for name, value in loaded.items() if isinstance(value, Tensor)}


def fill(network: nn.Module, tensors: Mapping[str, Tensor], origin: str) -> Matched:
    """Copy matching tensors into a network; three-channel stems are summed to one channel.

    Raises:
        RunError: Less than 95 % of the network's values are found; nothing is then copied.
    """
    own = {
        name: value
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    prefix = max(PREFIXES, key=lambda prefix: sum(prefix + name in tensors for name in own))
    matched, summed = {}, []
    for name, value in own.items():
        given = tensors.get(prefix + name)
        if given is not None and given.shape != value.shape and _sums_to(given, value):
            given = given.float().sum(dim=1, keepdim=True)
            summed.append(name)
        if given is not None and given.shape == value.shape:
            matched[name] = given
    taken, total = (sum(own[name].numel() for name in names) for names in (matched, own))
    missing = tuple(name for name in own if name not in matched)
    if taken < ENOUGH * total:
        raise RunError(
            f"{origin} has only {taken / total:.1%} of the backbone's values (missing: {', '.join(missing[:3])}); "
            f"at least {ENOUGH:.0%} are needed: choose the --backbone that the file was made for."
        )
    network.load_state_dict(matched, strict=False)
    return Matched(
        taken,
        total,
        missing,
        tuple(set(tensors) - {prefix + name for name in matched}),
        tuple(summed),
    )


def _sums_to(given: Tensor, value: Tensor) -> bool:
    return (
        given.ndim == 4
        and value.ndim == 4
        and value.shape[1] == 1
        and given.shape[1] == 3
        and (given.shape[0] == value.shape[0] and given.shape[2:] == value.shape[2:])
    )


def fill_from_imagenet(backbone: Backbone) -> Matched:
    """Fill a backbone with timm's published ImageNet weights, from its cache or the network.

    Raises:
        OptionError: There are none for this architecture, or they cannot be fetched.
    """
    if not timm.is_model_pretrained(backbone.name.split(".")[0]):
        raise OptionError(
            f"timm has no ImageNet weights for {backbone.name!r}: give a weights file in place of imagenet, or another "
            "--backbone."
        )
    try:
        with _quiet_hub():
            published = timm.create_model(backbone.name, pretrained=True, in_chans=1, num_classes=0)
    except Exception as error:
        # The hub's client raises errors of several libraries when there is no network; the remedy
        # is the same.
        raise OptionError(
            f"the ImageNet weights of {backbone.name!r} could not be fetched ({_first_line(error)}): "
            "go online once, or give a downloaded file in place of imagenet."
        ) from error
    return fill(backbone.network, published.state_dict(), "timm's ImageNet file")


@contextmanager
def _quiet_hub() -> Iterator[None]:
    """Silence the hub's client, and let it look in its cache alone where the hub cannot be found.

    Without a network it would try again for a minute, with a line each time.
    """
    logger = logging.getLogger("huggingface_hub")
    level, offline = logger.level, hub.HF_HUB_OFFLINE
    logger.setLevel(logging.CRITICAL)
    hub.HF_HUB_OFFLINE = offline or not _hub_is_found()
    try:
        yield
    finally:
        hub.HF_HUB_OFFLINE = offline
        logger.setLevel(level)


def _hub_is_found() -> bool:
    """Return whether the hub's name resolves; behind a proxy the proxy resolves it."""
    if getproxies():
        return True
    try:
        socket.getaddrinfo(urlsplit(hub.ENDPOINT).hostname, None)
    except OSError:
        return False
    return True


def _first_line(error: Exception) -> str:
    text = re.sub(r"https?://\S+", "", str(error)).strip().splitlines()
    return (text[0] if text else type(error).__name__)[:100]
