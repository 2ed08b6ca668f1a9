"""A backbone's weights from tables of tensors: whole and finite, or refused with the reason."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn

from hilum.bundle.input_scale import refuse_other_range
from hilum.bundle.layouts import layouts, prefixes, without_wrappers
from hilum.bundle.weight_files import Table
from hilum.counts import counted
from hilum.errors import HilumError, RunError
from hilum.nn.backbones import Backbone, create_network

ENOUGH = 0.5
"""Fraction of a backbone's values that --allow-partial needs; less is another network's file."""
NUMBERS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
PREFERRED, LAST = {"teacher", "ema"}, {"momentum", "target", "k", "key", "student"}
"""Words in the place of a table that decide between two that fit equally well."""
COMPUTED = ("attn_mask", "relative_coords_table", "running_mean", "running_var")
"""Ends of the names of numbers that no training learns; earlier versions of networks keep some in their files."""
COMMON = {
    ".bn1.": ("resnet18", "resnet34", "resnet50", "resnet101", "resnet18d", "resnet50d", "wide_resnet50_2"),
    "denselayer": ("densenet121", "densenet169", "densenet201"),
    "conv_dw.weight": ("efficientnet_b0", "tf_efficientnet_lite0", "mobilenetv2_100", "mobilenetv3_large_100"),
    "conv_pw": ("efficientnet_b1", "efficientnet_b2", "efficientnet_b3", "efficientnet_b4"),
    "blocks.0.attn.qkv": (
        "vit_tiny_patch16_224", "vit_small_patch16_224", "vit_base_patch16_224", "vit_small_patch8_224",
    ),
    "layers.0.blocks": ("swin_tiny_patch4_window7_224", "swin_small_patch4_window7_224"),
    "conv_dw.bias": ("convnext_tiny", "convnext_small", "convnext_base"),
    "Mixed_5b": ("inception_v3",),
    "features.0.weight": ("vgg16", "vgg16_bn"),
}  # fmt: skip
"""Networks that a refused file is compared with, by a piece of the names of their tensors, so that
the line can name the right --backbone."""


@dataclass(frozen=True)
class Matched:
    """The result of loading a file: names taken, names in all, and what had no match."""

    backbone: str
    taken: int
    total: int
    place: str
    """Where in the file the tensors were, in words; empty for plain names at the top level."""
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    summed: tuple[str, ...]

    def __str__(self) -> str:
        """Return the report of one line."""
        count = f"all {self.total}" if self.taken == self.total else f"{self.taken} of {self.total}"
        line = f"{count} tensors of {self.backbone} taken{self.place}"
        if self.summed:
            line += f"; three-channel weights summed to one channel: {', '.join(self.summed)}"
        if self.missing:
            line += f"; left random: {', '.join(self.missing)}"
        return f"{line}; {len(self.unused)} other tensors of the file left aside"


@dataclass(frozen=True)
class _Fit:
    """One way to read a file: a table, a layout of names and a prefix."""

    table: Table
    layout: str
    prefix: str
    given: Mapping[str, Tensor]
    """Tensors of the file by the network's own names, of any shape."""
    names: Mapping[str, str]
    """The network's own names -> those of the file."""
    fitting: tuple[str, ...]
    """Own names whose tensors have the right shape."""

    @property
    def rank(self) -> tuple[int, int, int]:
        words = set(re.split(r"[._]", f"{self.table.name}.{self.prefix}"))
        preference = 1 if words & PREFERRED else -1 if words & LAST else 0
        return len(self.fitting), len(self.given), preference

    @property
    def surplus(self) -> list[str]:
        """Weights of the file in parts that the network has too: of a deeper network, or one with more in a block."""
        used = set(self.names.values())
        parts = {name[len(self.prefix) :].partition(".")[0] for name in used}
        return [
            name
            for name, value in without_wrappers(self.table.tensors).items()
            if name.startswith(self.prefix)
            and value.is_floating_point()
            and not name.endswith(COMPUTED)
            and name[len(self.prefix) :].partition(".")[0] in parts
            and _is_spare(name, used)
        ]

    @property
    def place(self) -> str:
        parts = [
            f" from {self.table.name!r}" * bool(self.table.place),
            f" below {self.prefix!r}" * bool(self.prefix),
            f" by {self.layout}" * (self.layout != "its own names"),
        ]
        return "".join(parts)


def fill(
    backbone: Backbone, tables: Sequence[Table], origin: str, allow_partial: bool = False
) -> Matched:
    """Copy the tensors of the table, layout and prefix that fit best; three-channel stems are summed.

    A network that saw one grey film in three equal channels computes the same from one channel with
    the sum of its stem's weights over the channels; their mean would make its input a third as large.

    Args:
        backbone: Changed only where nothing is refused.
        tables: Of one file.
        origin: The file, for notes and errors.
        allow_partial: Leave at most half of the values random, and say which.

    Raises:
        RunError: A tensor is missing, has another shape, or holds no finite numbers.
    """
    network = backbone.network
    own = _tensors_of(network)
    fits = _fits(network, own, tables)
    best = max(fits, key=lambda fit: fit.rank, default=None)
    missing = tuple(name for name in own if best is None or name not in best.fitting)
    taken = sum(own[name].numel() for name in own if name not in missing)
    enough = taken >= ENOUGH * sum(value.numel() for value in own.values())
    if best is None or (missing and not (allow_partial and enough)):
        raise RunError(_refusal(backbone.name, own, best, tables, origin, enough))
    surplus = best.surplus
    if surplus and not allow_partial:
        better = _better_backbone(backbone.name, tables)
        raise RunError(
            f"{origin} has all {len(own)} tensors of {backbone.name}{best.place} and {len(surplus)} more weights "
            f"between them, such as {surplus[0]}, so it is another network's: "
            f"choose --backbone {better or 'of that network'}."
        )
    matched, summed = {}, []
    for name in best.fitting:
        given = _numbers(best.given[name], own[name], f"{origin}: {best.names[name]}")
        if given.shape != own[name].shape:
            given = given.sum(dim=1, keepdim=True)
            summed.append(name)
        refuse_not_finite(best.names[name], given, origin)
        matched[name] = given
    refuse_other_range(matched, origin)
    network.load_state_dict(matched, strict=False)
    others = [
        fit.place
        for fit in fits
        if fit is not best
        and len(fit.fitting) == len(best.fitting)
        and (fit.table, fit.prefix) != (best.table, best.prefix)
    ]
    place = best.place + (
        f" (the tensors{others[0] or ' at the top level'} fit too)" if others else ""
    )
    used = {best.names[name] for name in matched}
    unused = tuple(name for name in without_wrappers(best.table.tensors) if name not in used)
    return Matched(backbone.name, len(matched), len(own), place, missing, unused, tuple(summed))


def refuse_not_finite(name: str, tensor: Tensor, origin: str) -> None:
    """Refuse NaN and infinity, and variances below 0, from which normalisation makes NaN.

    Raises:
        RunError: The tensor holds one.
    """
    if not tensor.is_floating_point():
        return
    wrong = ~torch.isfinite(tensor)
    if bool(wrong.any()):
        raise RunError(
            f"{origin} has {counted(int(wrong.sum()), 'value')} in {name} that "
            f"{'is' if wrong.sum() == 1 else 'are'} not "
            "finite (NaN or infinity): "
            "its weights are damaged, give another file or run."
        )
    if name.endswith("running_var") and bool((tensor < 0).any()):
        raise RunError(
            f"{origin} has variances below 0 in {name}: its weights are damaged, give another file or run."
        )


def _tensors_of(network: nn.Module) -> dict[str, Tensor]:
    """Return the network's tensors without BatchNorm's counters, which no output depends on."""
    return {
        name: value
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }


def _fits(network: nn.Module, own: Mapping[str, Tensor], tables: Sequence[Table]) -> list[_Fit]:
    stems, known = _stems(network, own), list(layouts(network))
    fits = []
    for table in tables:
        tensors = without_wrappers(table.tensors)
        for layout, names in known:
            for prefix in prefixes(tensors, names):
                there = {ours: prefix + name for name, ours in names.items()}
                given = {ours: tensors[name] for ours, name in there.items() if name in tensors}
                fitting = tuple(
                    name
                    for name, value in given.items()
                    if value.shape == own[name].shape
                    or (name in stems and _sums_to(value.shape, own[name].shape))
                )
                fits.append(_Fit(table, layout, prefix, given, there, fitting))
    return fits


def _stems(network: nn.Module, own: Mapping[str, Tensor]) -> set[str]:
    """Return the names of the weights that the film itself enters."""
    config = getattr(network, "pretrained_cfg", None) or {}
    first = config.get("first_conv") or ()
    stems = {f"{name}.weight" for name in ((first,) if isinstance(first, str) else first)}
    return stems & set(own) or {next((name for name in own if own[name].ndim == 4), "")}


def _sums_to(given: torch.Size, own: torch.Size) -> bool:
    return len(given) == 4 and given[1] == 3 and (given[0], 1, *given[2:]) == tuple(own)


def _numbers(given: Tensor, own: Tensor, name: str) -> Tensor:
    """Return a dense tensor of the network's kind of numbers.

    Raises:
        RunError: It is sparse, quantised, without values, or of another kind.
    """
    kind = None
    if given.is_meta:
        kind = "without values (a meta tensor)"
    elif given.is_quantized:
        kind = "quantised"
    elif given.layout != torch.strided:
        kind = "sparse"
    elif given.dtype not in (NUMBERS if own.is_floating_point() else (own.dtype,)):
        kind = f"of {str(given.dtype).removeprefix('torch.')} numbers"
    if kind is not None:
        raise RunError(
            f"{name} is {kind}: save the weights as dense tensors of float32, float16 or bfloat16."
        )
    return given.detach().to(own.dtype)


def _refusal(
    name: str,
    own: Mapping[str, Tensor],
    best: _Fit | None,
    tables: Sequence[Table],
    origin: str,
    enough: bool,
) -> str:
    """Return the line for a file that lacks tensors of the network."""
    better = _better_backbone(name, tables)
    remedy = f"choose --backbone {better}, which it fits." if better else ""
    if best is None:
        example = next(iter(tables[0].tensors), "")
        return (
            f"{origin} has none of the {len(own)} tensors of {name} (the file has {example!r}, the network "
            f"{next(iter(own))!r}): {remedy or 'convert the file to timm’s names, or give another.'}"
        )
    line = f"{origin} has {len(best.fitting)} of the {len(own)} tensors of {name}{best.place}"
    other = [key for key in best.given if key not in best.fitting]
    absent = [key for key in own if key not in best.given]
    if other:
        key = other[0]
        line += (
            f"; {key} has the shape {list(best.given[key].shape)} there and {list(own[key].shape)} in the network"
            + f" (and {len(other) - 1} more of another shape)" * (len(other) > 1)
        )
    if absent:
        used = {best.names[key] for key in best.given}
        spare = next(
            (key for key in without_wrappers(best.table.tensors) if _is_spare(key, used)), None
        )
        line += f"; {absent[0]} is not there" + f" and {len(absent) - 1} more" * (len(absent) > 1)
        line += f" (the file has {spare!r})" if spare else ""
    if not remedy:
        remedy = (
            f"give a whole file, or --allow-partial, which leaves these {len(other) + len(absent)} random."
            if enough
            else "give a file of this network with timm’s names."
        )
    return f"{line}: {remedy}"


def _is_spare(key: str, used: set[str]) -> bool:
    return key not in used and not re.search(
        r"num_batches_tracked$|(^|\.)(fc|head|classifier)\.", key
    )


def _better_backbone(name: str, tables: Sequence[Table]) -> str | None:
    """Return a common network that one of the tables fits wholly."""
    names = "\n".join(f".{key}" for table in tables for key in table.tensors)
    for other in (other for piece, group in COMMON.items() if piece in names for other in group):
        network = None if other == name else _sketch(other)
        if network is None:
            continue
        own = _tensors_of(network)
        if any(
            len(fit.fitting) == len(own) and not fit.surplus for fit in _fits(network, own, tables)
        ):
            return other
    return None


@cache
def _sketch(name: str) -> nn.Module | None:
    """Return a network without memory for its weights; None where timm cannot build it so."""
    try:
        with torch.device("meta"):
            return create_network(name)
    except (HilumError, RuntimeError, NotImplementedError):
        return None
