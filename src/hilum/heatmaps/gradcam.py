"""Grad-CAM: which regions of an image raise a finding's score (arXiv 1610.02391)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hilum.errors import OptionError
from hilum.heatmaps.layers import LEAST_SIDE, Trace, is_norm
from hilum.heatmaps.map_forms import FIRST, TOKENS, MapForm

_LARGEST_SIDE = 512  # pixels up to which small films are enlarged in search of a map
_LIFT = 1024.0  # keeps half-precision gradients from underflow; a power of two is exact


@dataclass(frozen=True)
class Heatmaps:
    """The heatmaps of a batch.

    Maps are not comparable in strength: each is divided by its own maximum, also where the model
    rejects the finding.
    """

    maps: Tensor
    """[B, F, H, W] float32 from 0 to 1 at the films' size; all 0 where no region raises the
    score."""
    raw: Tensor
    """[B, F, h, w] float32, at least 0, as the layer gives them: not divided, not enlarged."""
    layer: str
    """Full name of the layer."""
    map_size: tuple[int, int]
    """Rows and columns of the layer's map."""
    enlarged_to: tuple[int, int] | None
    """Rows and columns that the films were enlarged to for the model, None where they were not."""
    note: str
    """One line for the user: which layer, and why that one."""


@dataclass
class _Recorded:
    """What the hooks record in one forward pass."""

    outputs: list[Tensor] = field(default_factory=list)
    """The layer's, in its own form."""
    head_inputs: list[Tensor] = field(default_factory=list)


def explain(
    model: nn.Module, images: Tensor, findings: Sequence[int], layer: str | None = None
) -> Heatmaps:
    """Return a heatmap of every film and finding.

    Args:
        model: Standardised films [B, C, H, W] -> logits [B, outputs]; in evaluation mode. Where its
            last map is chosen and ``model.head`` is a linear layer on the pooled map, one forward
            pass serves all findings.
        images: [B, C, H, W] floating point, standardised as the model was trained.
        findings: F outputs to explain.
        layer: Name of a layer, in full or its end; None takes the deepest with a map of at least 7
            x 7 whose places the model's scores depend on, enlarging the films where there is none.

    Raises:
        ValueError: The model is in training mode, or an output does not exist.
        OptionError: The layer does not exist, gives no maps, or no score depends on its places; or
            the backbone has no maps at all.
    """
    if model.training:
        raise ValueError("heatmaps need the model in evaluation mode: call model.eval()")
    device_type = images.device.type
    with torch.inference_mode(False), torch.autocast(device_type, enabled=False):
        parameter = next(model.parameters())
        films = images.clone().to(parameter.dtype)
        films, trace, name = _find_layer(model, films, layer)
        raw = layer_maps(model, films, findings, name, trace.form(name))
        maps = scale_to_one(
            F.interpolate(raw, size=images.shape[-2:], mode="bilinear", align_corners=False)
        )
    enlarged = None if films.shape == images.shape else (films.shape[-2], films.shape[-1])
    note = _note(name, trace.map_size(name), layer is not None, images, enlarged)
    return Heatmaps(maps, raw, name, trace.map_size(name), enlarged, note)


def layer_maps(
    model: nn.Module,
    images: Tensor,
    findings: Sequence[int],
    layer: str,
    form: MapForm | None = None,
) -> Tensor:
    """Return the maps of one layer, float32 [B, F, h, w], at least 0, on their own scale.

    A map is the layer's channels summed with each channel's mean gradient as weight, and cut at 0
    (eq. 1 and 2). Where the layer is a norm of tokens, each place is weighed by its own gradient
    (arXiv 2011.08891): attention reads a few places, whose gradients a mean over all
    would lose. Arguments as ``explain``, but ``layer`` is a full name, ``form`` how its output holds
    the map (channels first unless given), and the films are taken as they are.
    """
    form = MapForm(FIRST, 0, 0) if form is None else form
    with torch.enable_grad(), _caught(model, layer, form) as recorded:
        logits = model(images)
        _check_findings(findings, logits.shape[1])
        outputs = recorded.outputs
        if len(outputs) != 1:
            raise ValueError(f"layer {layer!r} was called {len(outputs)} times in one pass")
        activations = form.to_map(outputs[0].detach()).float()  # [B, C, h, w]
        weights = _pooled_linear_weights(model, activations, recorded.head_inputs, findings)
        if weights is not None:
            maps = torch.einsum("bfc,bchw->bfhw", weights, activations)
        else:
            # Not before a norm: that ignores the length of a token, whose product with its own
            # gradient is then 0 but for rounding.
            by_place = form.order == TOKENS and is_norm(model.get_submodule(layer))
            maps = _weighed_by_gradients(logits, outputs[0], form, findings, by_place=by_place)
    return maps.clamp_(min=0.0)


def scale_to_one(maps: Tensor) -> Tensor:
    """Return maps [B, F, H, W] divided by their maximum; a map of zeros stays as it is."""
    peak = maps.amax(dim=(-2, -1), keepdim=True)
    return maps / torch.where(peak > 0, peak, torch.ones_like(peak))


def _find_layer(model: nn.Module, films: Tensor, layer: str | None) -> tuple[Tensor, Trace, str]:
    """The films, enlarged where no layer has a fine enough map, and the layer."""
    trace = Trace(model, films[:1])
    if layer is not None:
        name = trace.named(layer)
        if not _read_by_scores(model, films[:1], name, trace.form(name)):
            raise OptionError(
                f"no score depends on the places of {name}, as a last block's where only the class "
                "token is read: name an earlier layer, or none."
            )
        return films, trace, name
    side = max(films.shape[-2:])
    while True:
        unread = None
        for name in trace.fine_layers():
            if _read_by_scores(model, films[:1], name, trace.form(name)):
                return films, trace, _norm_that_is_read(model, films[:1], trace, unread) or name
            unread = name
        larger = 2 * max(films.shape[-2:])
        if trace.fine_layers() or not trace.main_path() or larger > _LARGEST_SIDE:
            break
        films = F.interpolate(films, scale_factor=2.0, mode="bilinear", align_corners=False)
        try:
            trace = Trace(model, films[:1])
        except (RuntimeError, AssertionError, ValueError):  # a network of one size
            break
    raise OptionError(
        f"no layer of this model past its first has a map of {LEAST_SIDE} x {LEAST_SIDE} that its "
        f"scores depend on, on films of {side} px or enlarged: name a layer, or take another backbone."
    )


def _norm_that_is_read(
    model: nn.Module, film: Tensor, trace: Trace, block: str | None
) -> str | None:
    """Return the norm by which a block that gives only the class token on reads the tokens, if any."""
    norm = None if block is None else trace.first_norm(block)
    if norm is None or not _read_by_scores(model, film, norm, trace.form(norm)):
        return None
    return norm


def _read_by_scores(model: nn.Module, film: Tensor, layer: str, form: MapForm) -> bool:
    """Whether any logit of one film depends on the places of a layer.

    None does where the head reads the class token alone and no block follows that mixes it with the
    places. Convolutional maps are pooled, so only other forms are tried.
    """
    if form.order == FIRST and form.item is None:
        return True
    with torch.enable_grad(), _caught(model, layer, form) as recorded:
        logits = model(film)
        output = recorded.outputs[0]
        (gradient,) = torch.autograd.grad(logits.square().sum() * _LIFT, output, allow_unused=True)
    return gradient is not None and bool(form.to_map(gradient).any())


@contextmanager
def _caught(model: nn.Module, layer: str, form: MapForm) -> Iterator[_Recorded]:
    """Record the layer's maps and the head's input; the hooks are removed in any case."""
    recorded = _Recorded()

    def catch_map(_: nn.Module, __: tuple[Tensor, ...], output: object) -> object:
        # The gradient ends here: nothing is computed back through the layers before. The rest of
        # the model gets a copy, because its next layer may work in place.
        recorded.outputs.append(form.tensor(output).detach().clone().requires_grad_())
        return form.replaced(output, recorded.outputs[-1].clone())

    def catch_head_input(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        recorded.head_inputs.append(inputs[0].detach())

    handles = [model.get_submodule(layer).register_forward_hook(catch_map)]
    head = getattr(model, "head", None)
    if isinstance(head, nn.Linear):
        handles.append(head.register_forward_pre_hook(catch_head_input))
    try:
        yield recorded
    finally:
        for handle in handles:
            handle.remove()


def _pooled_linear_weights(
    model: nn.Module, maps: Tensor, head_inputs: list[Tensor], findings: Sequence[int]
) -> Tensor | None:
    """Return the weights [B, F, C] in closed form for a linear head on the pooled layer, else None.

    The gradient of such a logit is the head's weight over h x w at every place (CAM, Zhou 2016,
    arXiv 1512.04150).
    """
    if len(head_inputs) != 1 or head_inputs[0].shape != maps.shape[:2]:
        return None
    exact = head_inputs[0].dtype == torch.float32
    tolerance = 1e-4 if exact else 2e-2
    pooled, entered = maps.mean(dim=(2, 3)), head_inputs[0].float()
    if not torch.allclose(
        pooled, entered, rtol=tolerance, atol=tolerance * float(pooled.abs().max())
    ):
        return None
    head = model.get_submodule("head").get_parameter("weight").detach().float()
    weights = head[list(findings)] / (maps.shape[2] * maps.shape[3])  # [F, C]
    return weights.expand(len(maps), -1, -1)


def _weighed_by_gradients(
    logits: Tensor, output: Tensor, form: MapForm, findings: Sequence[int], *, by_place: bool
) -> Tensor:
    """Return the channels' sum, weighed by gradients or by their means, float32 [B, F, h, w].

    Images of a batch do not interact in evaluation mode, so one backward pass of the summed logits
    serves all of them.
    """
    activations, maps = form.to_map(output.detach()).float(), []
    for finding in findings:
        (lifted,) = torch.autograd.grad(logits[:, finding].sum() * _LIFT, output, retain_graph=True)
        gradient = form.to_map(lifted).float() / _LIFT  # [B, C, h, w]
        if by_place:
            maps.append((gradient * activations).sum(dim=1))
        else:
            weights = gradient.mean(dim=(2, 3))
            maps.append(torch.einsum("bc,bchw->bhw", weights, activations))
    return torch.stack(maps, dim=1)


def _check_findings(findings: Sequence[int], outputs: int) -> None:
    wrong = [finding for finding in findings if not 0 <= finding < outputs]
    if wrong or not findings:
        raise ValueError(
            f"findings are {list(findings)}: allowed are one or more of 0 to {outputs - 1}"
        )


def _note(
    layer: str,
    map_size: tuple[int, int],
    asked: bool,
    images: Tensor,
    enlarged: tuple[int, int] | None,
) -> str:
    why = (
        "as asked"
        if asked
        else f"the deepest layer with a map of at least {LEAST_SIDE} x {LEAST_SIDE}"
    )
    height, width = images.shape[-2:]
    line = f"Grad-CAM at {layer}, map {map_size[0]} x {map_size[1]}: {why} on films of {height} x {width} px"
    return (
        line
        if enlarged is None
        else f"{line}, enlarged to {enlarged[0]} x {enlarged[1]} px to get one"
    )
