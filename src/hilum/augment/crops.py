"""From stored films to what a network sees: a random crop by a recipe, or the whole film."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from enum import IntEnum

import torch
from torch import Tensor

from hilum.augment import ops
from hilum.augment.draws import normal_noise, uniforms
from hilum.errors import OptionError

_SIGMA_AT = 224  # the side in pixels for which a recipe's blur is given


@dataclass(frozen=True)
class CropRecipe:
    """Augmentations of a crop; 0 (or a scale of 1) switches one off, at no cost.

    Films are grey: there is no hue, saturation, solarisation, nor a vertical flip.
    """

    min_scale: float = 1.0
    """Smallest fraction of the film's area that a crop shows."""
    max_scale: float = 1.0
    """Largest fraction of the film's area that a crop shows."""
    aspect: float = 1.0
    """Largest ratio of a crop's width to its height, and of height to width."""
    flip: float = 0.0
    """Probability of mirroring left and right."""
    rotation: float = 0.0
    """Largest rotation to either side, in degrees."""
    brightness: float = 0.0
    """Brightness is multiplied by 1 - this to 1 + this."""
    contrast: float = 0.0
    """Contrast is multiplied by 1 - this to 1 + this."""
    gamma: float = 0.0
    """Grey is raised to a power from 1 / (1 + this) to 1 + this."""
    blur: float = 0.0
    """Probability of a Gaussian blur."""
    blur_sigma_min: float = 0.1
    """Narrowest blur, in pixels of a 224 px film; it scales with the crop's size."""
    blur_sigma_max: float = 2.0
    """Widest blur, in pixels of a 224 px film."""
    noise: float = 0.0
    """Largest standard deviation of added noise, as a fraction of the range from black to white."""
    cutout: float = 0.0
    """Probability of blanking a square."""
    cutout_side: float = 0.3
    """Largest side of the blanked square, as a fraction of the crop's side."""

    def __post_init__(self) -> None:
        """Refuse values outside their range.

        Raises:
            OptionError: A value is not allowed; the line names it and what is.
        """
        for name in ("flip", "blur", "cutout", "brightness", "contrast", "cutout_side"):
            self._check(name, 0.0, 1.0)
        self._check("min_scale", 0.01, self.max_scale)
        self._check("max_scale", self.min_scale, 1.0)
        self._check("aspect", 1.0, 4.0)
        self._check("rotation", 0.0, 180.0)
        self._check("gamma", 0.0, 4.0)
        self._check("noise", 0.0, 1.0)
        self._check("blur_sigma_min", 0.0, self.blur_sigma_max)
        self._check("blur_sigma_max", self.blur_sigma_min, 20.0)

    def _check(self, name: str, low: float, high: float) -> None:
        value = getattr(self, name)
        if not low <= value <= high:
            raise OptionError(
                f"crop option {name} is {value}: allowed are values from {low:g} to {high:g}."
            )

    @property
    def resamples(self) -> bool:
        """Whether a crop is anything but the whole, upright film."""
        return self.min_scale < 1.0 or self.aspect > 1.0 or self.rotation > 0.0

    def to_json(self) -> dict[str, float]:
        """Return the options by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


class Op(IntEnum):
    """What a draw decides. The numbers are part of every run's results: never change one, only add."""

    AREA = 0
    ASPECT = 1
    LEFT = 2
    TOP = 3
    FLIP = 4
    ROTATION = 5
    BRIGHTNESS = 6
    CONTRAST = 7
    GAMMA = 8
    BLUR = 9
    BLUR_SIGMA = 10
    NOISE = 11
    NOISE_START = 12
    CUTOUT = 13
    CUTOUT_X = 14
    CUTOUT_Y = 15
    CUTOUT_SIDE = 16


def augment(
    images: Tensor, index: Tensor, recipe: CropRecipe, size: int, seed: int, epoch: int, crop: int
) -> Tensor:
    """Return one crop of each film, standardised; a pure function of its arguments, row by row.

    The order: crop, turn and mirror in one resampling; blur; brightness, contrast, gamma; noise;
    standardise; cutout.

    Args:
        images: uint8 [B, 1, H, W], or floating point from 0 to 1.
        index: [B] int64, the film's number in the data; it selects the random numbers.
        recipe: What may happen.
        size: Height and width of the result in pixels.
        seed: The run's seed.
        epoch: Pass over the data.
        crop: Which crop of the film; another number gives another crop.

    Returns:
        float32 [B, 1, size, size] on the device of ``images``.
    """
    draws = uniforms(seed, epoch, index, crop, tuple(Op))  # [ops, B]
    films = _geometry(ops.grey(images), draws, recipe, size)
    films = _blur(films, draws, recipe)
    films = _tones(films, draws, recipe)
    films = ops.standardise(films)
    return _cutout(films, draws, recipe)


def two_crops(
    images: Tensor,
    index: Tensor,
    recipe: CropRecipe,
    size: int,
    seed: int,
    epoch: int,
    *,
    positives: tuple[Tensor, Tensor] | None = None,
    second: CropRecipe | None = None,
) -> tuple[Tensor, Tensor]:
    """Return crop 0 of each film and crop 1 of the film or its positive; other arguments and results as ``augment``.

    Args:
        images: As for ``augment``.
        index: As for ``augment``.
        recipe: What may happen to crop 0, and to crop 1 without ``second``.
        size: As for ``augment``.
        seed: As for ``augment``.
        epoch: As for ``augment``.
        positives: Images [B, 1, H, W] and index [B] of the films that crop 1 is cut from; None for the
            same films.
        second: What may happen to crop 1, where that is something else.
    """
    films = ops.grey(images)
    others, places = (films, index) if positives is None else (ops.grey(positives[0]), positives[1])
    first = augment(films, index, recipe, size, seed, epoch, crop=0)
    return first, augment(others, places, second or recipe, size, seed, epoch, crop=1)


def multi_crop(
    images: Tensor,
    index: Tensor,
    recipe: CropRecipe,
    size: int,
    seed: int,
    epoch: int,
    *,
    local: CropRecipe,
    local_crops: int,
    local_size: int,
    positives: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor, ...]:
    """Return the two crops of ``two_crops``, then the film's local crops, numbered from 2; results as ``augment``.

    Args:
        images: As for ``augment``.
        index: As for ``augment``.
        recipe: What may happen to the first two, the global crops.
        size: Height and width of the global crops in pixels.
        seed: As for ``augment``.
        epoch: As for ``augment``.
        local: What may happen to the local crops.
        local_crops: How many there are; 0 leaves the two.
        local_size: Height and width of the local crops in pixels.
        positives: As for ``two_crops``; local crops are always the film's own.

    Source: section 3.2 of arXiv 2006.09882.
    """
    films = ops.grey(images)
    whole = two_crops(films, index, recipe, size, seed, epoch, positives=positives)
    parts = [
        augment(films, index, local, local_size, seed, epoch, crop=2 + place)
        for place in range(local_crops)
    ]
    return *whole, *parts


def whole_film(images: Tensor, size: int) -> Tensor:
    """Return the whole films at ``size``, standardised, with no randomness: what evaluation and prediction use.

    Args:
        images: uint8 [B, 1, H, W], or floating point from 0 to 1.
        size: Height and width of the result in pixels.
    """
    return ops.standardise(ops.resize(ops.grey(images), size))


def random_boxes(draws: Tensor, recipe: CropRecipe) -> ops.Boxes:
    """Return a box a film: area uniform, aspect uniform in its logarithm, place uniform among those that fit.

    A side that would exceed the film is cut to the film's.
    """
    area = recipe.min_scale + (recipe.max_scale - recipe.min_scale) * draws[Op.AREA]
    root = torch.exp(_spread(draws[Op.ASPECT]) * (0.5 * math.log(recipe.aspect)))
    width = (area.sqrt() * root).clamp_(max=1.0)
    height = (area.sqrt() / root).clamp_(max=1.0)
    return ops.Boxes(draws[Op.LEFT] * (1.0 - width), draws[Op.TOP] * (1.0 - height), width, height)


def _geometry(films: Tensor, draws: Tensor, recipe: CropRecipe, size: int) -> Tensor:
    flip = draws[Op.FLIP] < recipe.flip if recipe.flip else None
    if not recipe.resamples:
        films = ops.resize(films, size)
        return films if flip is None else ops.mirror(films, flip)
    degrees = _spread(draws[Op.ROTATION]) * recipe.rotation if recipe.rotation else None
    # The smallest crop still has `size` pixels a side, so nothing that the crop could show is lost
    # beforehand.
    spare = int(min(films.shape[-2:]) * math.sqrt(recipe.min_scale / recipe.aspect) / size)
    return ops.crop_and_resize(
        ops.shrink(films, spare), random_boxes(draws, recipe), size, flip, degrees
    )


def _blur(films: Tensor, draws: Tensor, recipe: CropRecipe) -> Tensor:
    if not recipe.blur:
        return films
    scale = films.shape[-1] / _SIGMA_AT
    low, high = recipe.blur_sigma_min * scale, recipe.blur_sigma_max * scale
    sigma = (low + (high - low) * draws[Op.BLUR_SIGMA]) * (draws[Op.BLUR] < recipe.blur)
    return ops.gaussian_blur(films, sigma, radius=min(math.ceil(3.0 * high), films.shape[-1] - 1))


def _tones(films: Tensor, draws: Tensor, recipe: CropRecipe) -> Tensor:
    if recipe.brightness or recipe.contrast:
        brightness = 1.0 + recipe.brightness * _spread(draws[Op.BRIGHTNESS])
        contrast = 1.0 + recipe.contrast * _spread(draws[Op.CONTRAST])
        films = ops.brightness_contrast(films, brightness, contrast)
    if recipe.gamma:
        films = ops.gamma(films, torch.exp(_spread(draws[Op.GAMMA]) * math.log1p(recipe.gamma)))
    if recipe.noise:
        noise = normal_noise(draws[Op.NOISE_START], *films.shape[-2:])
        films = ops.add_noise(films, noise, recipe.noise * draws[Op.NOISE])
    return films


def _cutout(films: Tensor, draws: Tensor, recipe: CropRecipe) -> Tensor:
    if not recipe.cutout:
        return films
    side = recipe.cutout_side * draws[Op.CUTOUT_SIDE] * (draws[Op.CUTOUT] < recipe.cutout)
    return ops.cutout(films, draws[Op.CUTOUT_X], draws[Op.CUTOUT_Y], side)


def _spread(draw: Tensor) -> Tensor:
    """From [0, 1) to [-1, 1)."""
    return 2.0 * draw - 1.0
