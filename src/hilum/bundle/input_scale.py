"""The range of inputs that a file's network was trained on, as its first batch norm shows it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from hilum.errors import RunError

MOST = 30.0
"""Times as large, or as small, as a standardised film's that inputs may be. Pixels from 0 to 1 and ImageNet's
standardisation are within 5."""
_SIDE = 32
_VARIANCE = "running_var"


def refuse_other_range(tensors: Mapping[str, Tensor], origin: str) -> None:
    """Refuse weights whose network saw inputs of quite another range than standardised films.

    The first batch norm keeps the variance of what it was given. Where that is some hundred times
    what the first convolution makes of a standardised film, as for TorchXRayVision's inputs from
    -1024 to 1024, the norm turns every film into nearly the same numbers, and features in
    evaluation mode tell no films apart.

    Args:
        tensors: By the network's own names, in its order.
        origin: The file, for the error.

    Raises:
        RunError: It names the weights to multiply, and by what.
    """
    names = list(tensors)
    norm = next((name for name in names if name.endswith(_VARIANCE)), "")
    before = names[: names.index(norm)] if norm else []
    stems = [name for name in before if tensors[name].ndim == 4]
    if len(stems) != 1 or len(tensors[stems[0]]) != len(tensors[norm]):
        return  # no batch norm right after the first convolution
    kept = tensors[norm].double()
    if bool((kept == 1).all()):
        return  # as it is before any training
    made = functional.conv2d(_film(tensors[stems[0]].shape[1]), tensors[stems[0]].double())
    given = made.var(dim=(0, 2, 3))
    times = float((kept / given.clamp(min=1e-30)).sqrt().median())
    if times > MOST or 0 < times < 1 / MOST:
        factor = float(f"{times:.1g}")
        raise RunError(
            f"{origin}: by {norm} its network was trained on inputs some {factor:g} times as large as standardised "
            f"films, and would turn all films into nearly the same features: multiply {stems[0]} by about {factor:g} "
            "(torchxrayvision's by 500) and save the file again, or give another."
        )


def _film(channels: int) -> Tensor:
    """Return drawn films of smooth noise over fine noise, standardised, float64 [4, channels, _SIDE, _SIDE]."""
    rng = torch.Generator().manual_seed(0)
    film = torch.zeros(4, 1, _SIDE, _SIDE, dtype=torch.float64)
    for side in (2, 4, 8, 16, _SIDE):
        noise = torch.randn(4, 1, side, side, generator=rng, dtype=torch.float64) / side
        film = film + functional.interpolate(noise, _SIDE, mode="bilinear", align_corners=False)
    film = film - film.mean(dim=(2, 3), keepdim=True)
    film = film / film.std(dim=(2, 3), keepdim=True)
    return film.expand(-1, channels, -1, -1)
