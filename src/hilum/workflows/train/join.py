"""``hilum join``: several pretrained starts side by side as one model, whose features are those of all."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hilum.bundle.description import Description
from hilum.bundle.initialization import InitialWeights, initial_weights, weights_hash
from hilum.bundle.model_folder import DESCRIPTION, Model, described, is_model, save_model
from hilum.bundle.training_manifest import joined
from hilum.errors import OptionError
from hilum.listener import SILENT, Listener
from hilum.nn.backbones import Backbone
from hilum.nn.joined import JoinedNetwork, is_joined, joined_name
from hilum.workflows.train.join_options import JoinOptions

METHOD = "join"
_START = re.compile(r"^(?P<name>[A-Za-z0-9_.]*)(?:@(?P<side>\d+))?=(?P<init>.+)$", re.DOTALL)
SIDES = (16, 1024)
"""Least and largest pixels of a start's own films."""


@dataclass(frozen=True)
class NamedWeights:
    """A start as the user names it."""

    init: str
    backbone: str | None = None
    side: int | None = None

    @staticmethod
    def of(text: str) -> NamedWeights:
        """Read ``INIT`` or ``[NAME][@PIXELS]=INIT``; a path that exists is taken as it is.

        >>> NamedWeights.of("tf_efficientnet_lite0@128=lite0.safetensors")
        NamedWeights(init='lite0.safetensors', backbone='tf_efficientnet_lite0', side=128)
        >>> NamedWeights.of("runs/moco")
        NamedWeights(init='runs/moco', backbone=None, side=None)

        Raises:
            OptionError: The size lies outside ``SIDES``.
        """
        match = None if Path(text).exists() else _START.match(text)
        if match is None:
            return NamedWeights(text)
        side = int(match["side"]) if match["side"] else None
        if side is not None and not SIDES[0] <= side <= SIDES[1]:
            raise OptionError(
                f"{text} gives films of {side} px: allowed is {SIDES[0]} to {SIDES[1]}."
            )
        return NamedWeights(match["init"], match["name"] or None, side)


@dataclass(frozen=True)
class JoinResult:
    """The model that was written."""

    out: Path
    backbone: str
    features: int

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain values."""
        return {**asdict(self), "out": str(self.out)}


def join(starts: Sequence[str], options: JoinOptions, listener: Listener = SILENT) -> JoinResult:
    """Write one model whose features are those of several starts, side by side.

    Args:
        starts: Each a run folder, or ``NAME=FILE`` (``NAME@PIXELS=FILE`` enlarges its films to that),
            with timm's name of the network; the first run's preparation of films and size are the model's.
        options: Where to.
        listener: Receives notes.

    Raises:
        OptionError: Fewer than two starts, none of them a run, runs of differently prepared films, a
            network without maps of its stages, or the folder holds something else.
        RunError: A run or file is missing, damaged or another network's.
    """
    named = [NamedWeights.of(text) for text in starts]
    runs = [start for start in named if is_model(Path(start.init))]
    if len(named) < 2 or not runs:
        what = f"{len(named)} given" if len(named) < 2 else "none of them is a run folder"
        raise OptionError(
            f"join takes two starts or more, and {what}: allowed are run folders, at least one, and NAME=FILE "
            "of weights, such as tf_efficientnet_lite0@128=weights.safetensors."
        )
    if options.out.exists() and not (options.out / DESCRIPTION).is_file():
        raise OptionError(f"--out is {options.out}, which holds something else: give a new folder.")
    first = described(Path(runs[0].init))
    opened = [_opened(start, first, options, listener) for start in named]
    name = joined_name(
        [(one.backbone.name, start.side) for one, start in zip(opened, named, strict=True)]
    )
    backbone = Backbone(name, first.size)
    _fill(backbone, opened)
    description = Description(
        backbone=name,
        size=first.size,
        preparation=first.preparation,
        method=METHOD,
        training_data={
            "stores": _stores(runs),
            "starts": [
                {"backbone": one.backbone.name, "weights": weights_hash(start.init)}
                for one, start in zip(opened, named, strict=True)
            ],
        },
    )
    seen = joined(*(one.seen for one in opened))
    save_model(options.out, Model(description, backbone, None, seen))
    return JoinResult(options.out, name, backbone.out_features)


def _opened(
    start: NamedWeights, first: Description, options: JoinOptions, listener: Listener
) -> InitialWeights:
    opened = initial_weights(
        start.init, start.backbone, first.size, options.seed, options.allow_partial
    )
    if is_joined(opened.backbone.name):
        raise OptionError(
            f"{start.init} is joined itself ({opened.backbone.name}): name its starts instead."
        )
    if opened.preparation is not None and opened.preparation.to_json() != first.preparation:
        raise OptionError(
            f"{start.init} learnt from films prepared with {opened.preparation.flags()}, the first run from others: "
            "join runs of the same preparation."
        )
    for note in opened.notes:
        listener.note(note)
    return opened


def _fill(backbone: Backbone, opened: Sequence[InitialWeights]) -> None:
    network = backbone.network
    if not isinstance(network, JoinedNetwork):
        raise TypeError(f"{backbone.name} is no joined network")
    for part, one in zip(network.parts, opened, strict=True):
        own = part.state_dict()
        given = one.backbone.network.state_dict()
        part.load_state_dict({name: given[name] for name in own})


def _stores(runs: Sequence[NamedWeights]) -> list[Any]:
    """Return the records of the stores that the runs learnt from, each once."""
    found: list[Any] = []
    for run in runs:
        found += [
            store
            for store in described(Path(run.init)).training_data.get("stores", [])
            if store not in found
        ]
    return found
