"""The network as model.onnx holds it: prepared films in, logits, exact class-activation maps and features out."""

from __future__ import annotations

import io
import logging
import math
import re
import warnings
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hilum.augment.crops import whole_film
from hilum.augment.ops import STD_FLOOR
from hilum.bundle.model_folder import Model
from hilum.errors import OptionError, RunError

OPSET = 18
FILM, LOGITS, FEATURES, MAPS = "film", "logits", "features", "maps"
_EQUAL = 1e-4
"""Largest difference of pooled maps from the features, relative to the largest feature, for maps to be exact."""


class Graph(nn.Module):
    """Prepared films, uint8 [B, 1, P, P] -> logits [B, F], maps [B, F, h, w] where exact, features [B, D].

    Features alone after pretraining.

    Resizing is a product with constant matrices, for runtimes differ in how they resize.
    """

    def __init__(self, model: Model, side: int) -> None:
        """Wrap a model in evaluation mode.

        Args:
            model: Of a run.
            side: P, the side of a prepared film in pixels.
        """
        super().__init__()
        self.network, self.head = model.backbone.network, model.head
        size = model.description.size
        self.shrink = _resizing(side, size, antialias=True)
        entry = model.backbone.fit(torch.zeros(1, 1, size, size)).shape[-1]
        self.fit = _resizing(size, entry, antialias=entry < size)
        self.layout: str | None = None
        if self.head is not None:
            films = whole_film(
                torch.randint(
                    0, 256, (2, 1, side, side), generator=torch.Generator().manual_seed(0)
                ).byte(),
                size,
            )
            with torch.inference_mode():
                self.layout = exact_layout(self.network, model.backbone.fit(films))

    def forward(self, film: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs of prepared films, uint8 [B, 1, P, P]."""
        images = film.float() * (1.0 / 255.0)
        if self.shrink is not None:
            images = self.shrink @ images @ self.shrink.T
        images = images - _film_mean(images)
        images = images / _film_mean(images.square()).sqrt().clamp(min=STD_FLOOR)
        if self.fit is not None:
            images = self.fit @ images @ self.fit.T
        if self.head is None:
            return (self.network(images),)
        if self.layout is None:
            features = self.network(images)
            return self.head(features), features
        maps = self.network.forward_features(images)  # type: ignore[operator]
        features = self.network.forward_head(maps)  # type: ignore[operator]
        activation = _channels_last(maps, self.layout) @ self.head.weight.T  # [B, h, w, F]
        return self.head(features), activation.permute(0, 3, 1, 2), features


def _film_mean(images: Tensor) -> Tensor:
    """Return each film's mean [B, 1, 1, 1], along rows first.

    onnxruntime (1.32, CPU) adds the pixels of a film one after the other, which is off by 6e-6 of a standard
    deviation at 64 px and by more on larger films; two steps are as exact as torch.
    """
    return images.mean(3, keepdim=True).mean(2, keepdim=True)


def exact_layout(network: nn.Module, images: Tensor) -> str | None:
    """Return how the last maps [B, ...] are laid out if their mean over places is the features; None if it is not.

    Only then is a class-activation map exact: its mean over places is the logit without the bias.
    """
    if not hasattr(network, "forward_features") or not hasattr(network, "forward_head"):
        return None
    features = network(images)
    maps = network.forward_features(images)  # type: ignore[operator]
    if not isinstance(maps, Tensor):
        return None
    for layout, axes in (("NCHW", 4), ("NHWC", 4), ("tokens", 3)):
        square = layout != "tokens" or (
            maps.ndim == 3 and _side(maps.shape[1]) ** 2 == maps.shape[1]
        )
        if maps.ndim != axes or not square:
            continue
        pooled = _channels_last(maps, layout).mean((1, 2))
        if pooled.shape == features.shape and bool(
            (pooled - features).abs().max() <= _EQUAL * features.abs().max()
        ):
            return layout
    return None


def _channels_last(maps: Tensor, layout: str) -> Tensor:
    """Return maps as [B, h, w, C]."""
    if layout == "NCHW":
        return maps.permute(0, 2, 3, 1)
    if layout == "NHWC":
        return maps
    side = _side(maps.shape[1])
    return maps.reshape(-1, side, side, maps.shape[2])


def _side(places: int) -> int:
    return math.isqrt(places)


def _resizing(side: int, size: int, *, antialias: bool) -> nn.Parameter | None:
    """Return the matrix [size, side] whose product with rows, then columns, is torch's bilinear resizing."""
    if side == size:
        return None
    matrix = F.interpolate(
        torch.eye(side)[None, None],
        (size, side),
        mode="bilinear",
        align_corners=False,
        antialias=antialias,
    )
    return nn.Parameter(matrix[0, 0], requires_grad=False)


def refuse_training_mode(module: nn.Module) -> None:
    """Refuse a network part of which stays in training mode: its output would be random, or depend on the batch.

    Raises:
        RunError: With the first such module.
    """
    for name, part in module.named_modules():
        if part.training:
            raise RunError(
                f"{type(part).__name__} {name!r} stays in training mode, so the exported model would not be the "
                "trained one: use a backbone that can be switched to evaluation."
            )


def onnx_bytes(graph: Graph, side: int) -> bytes:
    """Return the graph as a model.onnx with its weights inside and a free batch size.

    Raises:
        OptionError: onnx or onnxscript is not installed.
        RunError: torch cannot export the network.
    """
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise OptionError("hilum export needs more packages: pip install 'hilum[onnx]'.") from error
    films = torch.zeros(2, 1, side, side, dtype=torch.uint8)  # 2: torch freezes a batch of 1
    before = [] if graph.head is None else [LOGITS, *([MAPS] if graph.layout else [])]
    outputs = [*before, FEATURES]
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with (
            warnings.catch_warnings(),
            redirect_stdout(io.StringIO()),
            redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            program: Any = torch.onnx.export(
                graph,
                (films,),
                dynamo=True,
                # The optimiser of torch 2.9 to 2.15 has folded biases wrongly (pytorch#166797, #174042).
                optimize=False,
                external_data=False,
                opset_version=OPSET,
                input_names=[FILM],
                output_names=outputs,
                dynamic_shapes={FILM: {0: torch.export.Dim("batch")}},
                verbose=False,
            )
    except Exception as error:  # torch.export, onnxscript and onnx each have their own
        cause: BaseException = error
        while cause.__cause__ is not None:  # the exporter wraps its reason, under advice in colours
            cause = cause.__cause__
        line = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(cause)).split())
        raise RunError(
            f"torch cannot export this network to ONNX ({line:.160}): choose another --backbone."
        ) from error
    finally:
        logger.setLevel(level)
    model: Any = program.model_proto
    _drop_zero_biases(model.graph)
    _forget_where(model)
    content: bytes = model.SerializeToString()
    return content


def _drop_zero_biases(graph: Any) -> None:
    """Take out the zeros that torch computes, node by node, as the biases of convolutions that have none.

    While its bias is computed, onnxruntime (1.32) does not join a convolution with the norm and the activation after
    it: `resnet10t` at 64 px took 1.5 times as long, `test_resnet` at 96 px 2.6 times.
    """
    from onnx import numpy_helper

    makers = {name: node for node in graph.node for name in node.output}

    def is_zero(name: str) -> bool:
        maker = makers.get(name)
        if maker is None:
            return False
        if maker.op_type == "Constant":
            return (
                maker.attribute[0].name == "value"
                and not numpy_helper.to_array(maker.attribute[0].t).any()
            )
        return maker.op_type in ("Expand", "CastLike") and is_zero(maker.input[0])

    for node in graph.node:
        if node.op_type == "Conv" and len(node.input) == 3 and is_zero(node.input[2]):
            del node.input[2]
    kept = {entry.name for entry in graph.output}
    for node in reversed(list(graph.node)):  # which stand in the order of their use
        if kept.isdisjoint(node.output):
            graph.node.remove(node)
        else:
            kept.update(node.input)
    shapes = [entry for entry in graph.value_info if entry.name not in kept]
    for entry in shapes:
        graph.value_info.remove(entry)


def _forget_where(model: Any) -> None:
    """Take out what torch notes of each node: lines of source files by their paths on this machine."""
    graph = model.graph
    noted = [model, graph, *graph.node, *graph.value_info, *graph.initializer]
    noted += [*graph.input, *graph.output]
    for function in model.functions:
        noted += [function, *function.node, *function.value_info]
    for part in noted:
        part.ClearField("metadata_props")
        if part is not model:
            part.ClearField("doc_string")
