"""Recipes that the methods start from, by name."""

from __future__ import annotations

from hilum.augment.crops import CropRecipe

MOCO = CropRecipe(
    min_scale=0.3,
    aspect=4 / 3,
    flip=0.5,
    rotation=10.0,
    brightness=0.4,
    contrast=0.4,
    gamma=0.3,
    blur=0.5,
    noise=0.02,
)
"""Pretraining by comparing two crops. Mirrored as the published recipes do: two crops of one film must agree on what
is there, and which side it is on is learnt from labels. Gamma is there because standardising each film undoes
brightness and contrast but for what they cut off."""

MOCO_SMALL = CropRecipe(**{**MOCO.to_json(), "min_scale": 0.5})
"""The same for films of up to 96 px, where a third of the area has too few pixels left."""

FINETUNE = CropRecipe(min_scale=0.8, rotation=7.0, brightness=0.2, contrast=0.2)
"""Training a classifier: light. No flip: the heart lies left on all but one film in ten thousand, and a classifier may
use where it lies."""

NONE = CropRecipe()
"""The whole film, only resized and standardised."""

PRESETS = {"moco": MOCO, "moco-small": MOCO_SMALL, "finetune": FINETUNE, "none": NONE}


def moco_recipe(size: int) -> CropRecipe:
    """Return the pretraining recipe for crops of ``size`` pixels."""
    return MOCO_SMALL if size <= 96 else MOCO
