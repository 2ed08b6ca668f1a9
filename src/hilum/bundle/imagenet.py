"""timm's published ImageNet weights, from its cache or the network."""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit
from urllib.request import getproxies

import timm
from huggingface_hub import constants as hub

from hilum.bundle.weight_files import Table
from hilum.bundle.weights import Matched, fill
from hilum.errors import OptionError
from hilum.nn.backbones import Backbone


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
    return fill(backbone, [Table((), published.state_dict())], "timm's ImageNet file")


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
