"""The initial weights of a run, as ``--init`` names them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from hilum.bundle.exported import is_exported
from hilum.bundle.imagenet import fill_from_imagenet
from hilum.bundle.model_folder import age_notes, described, is_model, load_model, weights_file
from hilum.bundle.training_manifest import COLUMNS
from hilum.bundle.weight_files import read_tables
from hilum.bundle.weights import fill
from hilum.errors import OptionError
from hilum.files import sha256
from hilum.images.enhance import Preparation
from hilum.nn.backbones import Backbone, plain_name

DEFAULT_BACKBONE = "resnet18"
UNLISTED = (
    "{} lists no training films, as no exported bundle does: evaluations cannot leave them out"
)


@dataclass(frozen=True)
class InitialWeights:
    """A backbone, the films that its weights were trained on, and notes on their origin."""

    backbone: Backbone
    seen: pd.DataFrame
    notes: tuple[str, ...]
    preparation: Preparation | None = None
    """Preparation of the films of the run that the weights come from; None without such a run."""


def initial_weights(
    init: str, backbone: str | None, size: int, seed: int, allow_partial: bool = False
) -> InitialWeights:
    """Return the backbone that ``--init`` and ``--backbone`` name, for films of ``size`` pixels.

    A file must have all of the network's tensors, unless ``allow_partial`` leaves some random.

    Raises:
        OptionError: The two do not go together, or ImageNet's weights cannot be had.
        RunError: A run or file is missing, damaged or another network's.
    """
    seen = pd.DataFrame({column: pd.array([], "string") for column in COLUMNS})
    if is_model(Path(init)):
        model = load_model(Path(init))
        name = model.description.backbone
        if backbone is not None and plain_name(backbone) != plain_name(name):
            raise OptionError(
                f"--backbone is {backbone} and {init} holds a {name}: leave --backbone out."
            )
        started = new_backbone(name, size, seed)
        started.network.load_state_dict(model.backbone.network.state_dict())
        notes = (
            f"starts from {init} ({name})",
            *([UNLISTED.format(init)] if is_exported(Path(init)) else []),
            *age_notes(Path(init)),
            *enlarging(started, size),
        )
        return InitialWeights(
            started, model.seen, notes, Preparation.from_json(model.description.preparation)
        )
    started = new_backbone(backbone or DEFAULT_BACKBONE, size, seed)
    if init == "random":
        return InitialWeights(
            started,
            seen,
            (f"starts from random weights ({started.name})", *enlarging(started, size)),
        )
    if init == "imagenet":
        return InitialWeights(
            started, seen, (str(fill_from_imagenet(started)), *enlarging(started, size))
        )
    matched = fill(started, read_tables(Path(init)), init, allow_partial)
    return InitialWeights(
        started, seen, (f"starts from {init}: {matched}", *enlarging(started, size))
    )


def weights_hash(init: str) -> str | None:
    """Return the SHA-256 of the weights that a path names, of a run or in a file; None where it is no path."""
    path = Path(init)
    if is_model(path):
        return sha256(weights_file(path))
    return sha256(path) if path.is_file() and init not in ("random", "imagenet") else None


def input_size(subject: str, size: int | None, preparation: Preparation) -> int:
    """Return the height and width in pixels of a network's input.

    Args:
        subject: As for ``initial_weights``.
        size: ``--size``, which is taken where it is given.
        preparation: Of the films, whose size is taken where the subject is no run.
    """
    if size is not None:
        return size
    return described(Path(subject)).size if is_model(Path(subject)) else preparation.size


def new_backbone(name: str, size: int, seed: int) -> Backbone:
    """Return a backbone whose random weights depend on the seed alone."""
    with seeded(seed):
        return Backbone(name, size)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw initial weights from the seed alone; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def enlarging(backbone: Backbone, size: int) -> tuple[str, ...]:
    """Return a note if batches are resized for the network, else nothing."""
    if backbone.input_size is None:
        return ()
    done = "enlarged" if backbone.input_size > size else "shrunk"
    return (
        f"{backbone.name} cannot take {size} px: batches are {done} to {backbone.input_size} px on the device",
    )
