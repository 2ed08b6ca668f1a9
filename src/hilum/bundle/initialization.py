"""The backbone that a run starts from, as ``--init`` names it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from hilum.bundle.model_folder import described, is_model, load_model
from hilum.bundle.training_manifest import COLUMNS
from hilum.bundle.weights import fill, fill_from_imagenet, read_tensors
from hilum.errors import OptionError
from hilum.images.enhance import Preparation
from hilum.nn.backbones import Backbone

DEFAULT_BACKBONE = "resnet18"


@dataclass(frozen=True)
class InitialWeights:
    """A backbone, the films its weights have seen, and lines that say where they come from."""

    backbone: Backbone
    seen: pd.DataFrame
    notes: tuple[str, ...]
    preparation: Preparation | None = None
    """How the films of the run that it comes from were prepared; None where it comes from no
    run."""


def initial_weights(init: str, backbone: str | None, size: int, seed: int) -> InitialWeights:
    """Return the backbone that ``--init`` and ``--backbone`` name, for films of ``size`` pixels.

    Raises:
        OptionError: The two do not go together, or ImageNet's weights cannot be had.
        RunError: A run or file is missing, damaged or another network's.
    """
    seen = pd.DataFrame({column: pd.array([], "string") for column in COLUMNS})
    if is_model(Path(init)):
        model = load_model(Path(init))
        name = model.description.backbone
        if backbone not in (None, name):
            raise OptionError(
                f"--backbone is {backbone} and {init} holds a {name}: leave --backbone out."
            )
        started = new_backbone(name, size, seed)
        started.network.load_state_dict(model.backbone.network.state_dict())
        notes = (f"starts from {init} ({name})", *enlarging(started, size))
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
    matched = fill(started.network, read_tensors(Path(init)), init)
    return InitialWeights(
        started, seen, (f"starts from {init}: {matched}", *enlarging(started, size))
    )


def input_size(subject: str, requested: int | None, preparation: Preparation) -> int:
    """Return the height and width in pixels of what a subject's network sees of films prepared in this way.

    Args:
        subject: As for ``initial_weights``.
        requested: ``--size``, which goes before all else; None if it is not given.
        preparation: Of the films, whose size is taken where the subject is no run.
    """
    if requested is not None:
        return requested
    return described(Path(subject)).size if is_model(Path(subject)) else preparation.size


def new_backbone(name: str, size: int, seed: int) -> Backbone:
    """Return a backbone whose random weights depend on the seed alone."""
    with seeded(seed):
        return Backbone(name, size)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Make what modules draw for their first weights depend on the seed alone; the global generator ends as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def enlarging(backbone: Backbone, size: int) -> tuple[str, ...]:
    """Return a line that says so if films are enlarged (or, for one that takes a single size, shrunk)."""
    if backbone.input_size is None:
        return ()
    done = "enlarged" if backbone.input_size > size else "shrunk"
    return (
        f"{backbone.name} cannot take {size} px: batches are {done} to {backbone.input_size} px on the device",
    )
