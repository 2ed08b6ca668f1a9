"""Operations on a batch of films, tensor in and tensor out, one parameter a film.

Films are float32 [B, 1, H, W] with grey from 0 (black) to 1 (white) unless said otherwise. Each
film's result depends on that film and its own parameters alone, bit for bit, whatever else is in
the batch: there is no batched matrix product here, and sums go row by row and then over the rows,
because both may round differently in another batch.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

STD_FLOOR = 1.0 / 255.0
"""Standard deviations below one grey level count as one grey level: a blank film becomes zeros, not
noise."""


class Boxes(NamedTuple):
    """Which part of each film a crop shows, every field [B] float32, in shares of the film's width and height."""

    left: Tensor
    top: Tensor
    width: Tensor
    height: Tensor


def grey(images: Tensor) -> Tensor:
    """Return uint8 films as float32 from 0 to 1; floating-point films pass through as float32."""
    return images.float() if images.is_floating_point() else images.float().mul_(1.0 / 255.0)


def film_mean(images: Tensor) -> Tensor:
    """Return each film's mean grey, [B, 1, 1, 1]."""
    return _film_sum(images) / (images.shape[-1] * images.shape[-2])


def standardise(images: Tensor, floor: float = STD_FLOOR) -> Tensor:
    """Return each film minus its mean, over its standard deviation, float32 [B, 1, H, W].

    Args:
        images: [B, 1, H, W], uint8 from 0 to 255 or floating point from 0 to 1.
        floor: Least standard deviation to divide by, in grey from 0 to 1.
    """
    centred = grey(images) - film_mean(grey(images))
    variance = film_mean(centred.square())
    return centred.div_(variance.sqrt_().clamp_(min=floor))


def crop_and_resize(
    images: Tensor,
    boxes: Boxes,
    size: int,
    flip: Tensor | None = None,
    degrees: Tensor | None = None,
) -> Tensor:
    """Return the boxes, turned about their centres, mirrored and resized, in one resampling.

    Bilinear between pixel centres, without a filter against aliasing: shrink strongly with
    ``shrink`` first. Where a turned box leaves the film, the film's edge is repeated, so that no
    black corner tells the angle.

    Args:
        images: [B, 1, H, W] float32.
        boxes: The part to show.
        size: Height and width of the result in pixels.
        flip: [B] bool, mirror left and right; None mirrors none.
        degrees: [B], counter-clockwise turn of the content, before any mirroring; None turns none.

    Returns:
        [B, 1, size, size] float32.
    """
    height, width = images.shape[-2:]
    # Offsets from the box's centre in pixels: columns of the result [B, 1, size], rows [B, size,
    # 1].
    steps = (torch.arange(size, device=images.device, dtype=torch.float32) + 0.5) / size - 0.5
    side = boxes.width * width if flip is None else boxes.width * torch.where(flip, -width, width)
    across, down = (
        side[:, None, None] * steps,
        (boxes.height * height)[:, None, None] * steps[:, None],
    )
    if degrees is not None:
        angle = torch.deg2rad(degrees)[:, None, None]
        cos, sin = angle.cos(), angle.sin()
        across, down = cos * across - sin * down, sin * across + cos * down
    # grid_sample counts from -1 (left edge of the first pixel) to 1 (right edge of the last).
    x = across * (2.0 / width) + (2.0 * boxes.left + boxes.width - 1.0)[:, None, None]
    y = down * (2.0 / height) + (2.0 * boxes.top + boxes.height - 1.0)[:, None, None]
    shape = (len(images), size, size)
    grid = torch.stack((x.expand(shape), y.expand(shape)), dim=-1)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def mirror(images: Tensor, flip: Tensor) -> Tensor:
    """Return the films, those with ``flip`` [B] true mirrored left and right."""
    return torch.where(flip[:, None, None, None], images.flip(-1), images)


def resize(images: Tensor, size: int) -> Tensor:
    """Return whole films [B, 1, H, W] at [B, 1, size, size]: bilinear, filtered against aliasing when shrinking."""
    if images.shape[-2:] == (size, size):
        return images
    return F.interpolate(
        images, size=(size, size), mode="bilinear", antialias=True, align_corners=False
    )


def shrink(images: Tensor, factor: int) -> Tensor:
    """Return the films averaged over areas of about ``factor`` x ``factor`` pixels."""
    if factor <= 1:
        return images
    height, width = images.shape[-2:]
    return F.adaptive_avg_pool2d(images, (math.ceil(height / factor), math.ceil(width / factor)))


def brightness_contrast(images: Tensor, brightness: Tensor, contrast: Tensor) -> Tensor:
    """Return the grey times ``brightness``, then spread about the film's mean by ``contrast``, cut to 0 to 1.

    Both are one straight line a film, cut once at the end. Standardising afterwards undoes the
    line, so what is left for the network is what was cut off, as on an over- or underexposed film.

    Args:
        images: [B, 1, H, W].
        brightness: [B], 1 leaves as it is, at least 0.
        contrast: [B], 1 leaves as it is, at least 0.
    """
    slope = (brightness * contrast)[:, None, None, None]
    shift = (brightness * (1.0 - contrast))[:, None, None, None] * film_mean(images)
    return torch.addcmul(shift, images, slope).clamp_(0.0, 1.0)


def gamma(images: Tensor, exponent: Tensor) -> Tensor:
    """Return grey ** ``exponent`` [B]: above 1 darkens the middle, below 1 lightens it, black and white stay."""
    return images.clamp(min=0.0).pow_(exponent[:, None, None, None])


def gaussian_blur(images: Tensor, sigma: Tensor, radius: int) -> Tensor:
    """Return the films blurred by a Gaussian of their own width; the edge is mirrored.

    Args:
        images: [B, 1, H, W], H and W above ``radius``.
        sigma: [B] in pixels; 0 leaves the film as it is, exactly.
        radius: Taps on each side of the centre; 3 sigma loses 0.3 % of the bell, which the others
            take over.
    """
    if radius < 1:
        return images
    taps = gaussian_taps(sigma, radius)
    return _blur_along(_blur_along(images, taps, dim=-1), taps, dim=-2)


def gaussian_taps(sigma: Tensor, radius: int) -> Tensor:
    """Return the weights of the centre and of each tap at one side, [radius + 1, B]; centre + 2 x others = 1."""
    distance = torch.arange(radius + 1, device=sigma.device, dtype=torch.float32)
    bell = torch.exp(-0.5 * (distance[:, None] / sigma.clamp(min=1e-3)) ** 2)
    both = torch.zeros_like(bell[0])
    for tap in bell[
        1:
    ]:  # one by one: torch's sum over the taps adds in another order once a batch has 32 films
        both += tap
    return bell / (bell[0] + 2.0 * both)


def add_noise(images: Tensor, noise: Tensor, std: Tensor) -> Tensor:
    """Return the films plus ``noise`` [B, 1, H, W] times ``std`` [B], the latter in grey from 0 to 1."""
    return torch.addcmul(images, noise, std[:, None, None, None])


def cutout(images: Tensor, x: Tensor, y: Tensor, side: Tensor, fill: float = 0.0) -> Tensor:
    """Return the films with a square of each set to ``fill``, which is the film's mean once it is standardised.

    Args:
        images: [B, 1, H, W].
        x: [B] centre of the square, share of the width.
        y: [B] centre of the square, share of the height.
        side: [B] side of the square, share of the film's width and height; 0 cuts nothing.
        fill: The value put in.
    """
    height, width = images.shape[-2:]
    inside = _within(x, side, width)[:, None, None, :] & _within(y, side, height)[:, None, :, None]
    return images.masked_fill(inside, fill)


def _within(centre: Tensor, side: Tensor, pixels: int) -> Tensor:
    """Which pixel centres lie less than half a side from the centre, bool [B, pixels]."""
    places = (torch.arange(pixels, device=centre.device, dtype=torch.float32) + 0.5) / pixels
    return (places - centre[:, None]).abs() < side[:, None] / 2


def _film_sum(images: Tensor) -> Tensor:
    return images.sum(dim=-1, keepdim=True).sum(dim=-2, keepdim=True)


def _blur_along(images: Tensor, taps: Tensor, dim: int) -> Tensor:
    radius, length = len(taps) - 1, images.shape[dim]
    padding = (radius, radius, 0, 0) if dim == -1 else (0, 0, radius, radius)
    padded = F.pad(images, padding, mode="reflect")
    weights = taps[:, :, None, None, None]
    blurred = images * weights[0]
    for tap in range(1, radius + 1):
        both = padded.narrow(dim, radius - tap, length) + padded.narrow(dim, radius + tap, length)
        blurred.addcmul_(both, weights[tap])
    return blurred
