"""Recipes that training starts from."""

from __future__ import annotations

from dataclasses import replace

from hilum.augment.crops import CropRecipe

MOCO = CropRecipe(
    min_scale=0.5,
    aspect=4 / 3,
    flip=0.5,
    rotation=10.0,
    brightness=0.4,
    contrast=0.4,
    gamma=0.3,
    blur=0.5,
    noise=0.02,
)
"""Pretraining by comparing two crops, for films of up to 96 px, where less than half of the area
has too few pixels. Mirrored as the published recipes do: two crops of one film must agree on what
is there, and which side it is on is learnt from labels. Gamma is there because standardising each
film undoes brightness and contrast but for what they cut off."""

SIMCLR = replace(MOCO, brightness=0.7, contrast=0.7, gamma=0.5)
"""MOCO with stronger tones: without them two crops of one film match by their histogram (section
3.1 of arXiv 2002.05709); the strength is the one that did best on chest films in arXiv
2301.12636."""

BYOL_STRONG = replace(MOCO, blur=1.0)
"""The first crop of BYOL: always blurred."""

BYOL_WEAK = replace(
    MOCO, min_scale=0.6, brightness=0.2, contrast=0.2, gamma=0.15, blur=0.1, noise=0.0
)
"""The second crop of BYOL: wider, tones half as strong, hardly ever blurred, no noise."""

SWAV = MOCO
"""SwAV's global crops, for films of up to 96 px; from 224 px on a min_scale of 0.2 to 0.3 has
pixels enough."""

SWAV_LOCAL = replace(SWAV, min_scale=0.15, max_scale=0.5)
"""SwAV's local crops. The paper's 0.05 to 0.14 of the area, a lung's corner, tell little on
films."""

FINETUNE_STRONG = replace(MOCO, flip=0.0, cutout=0.5)
"""The crop of a film without labels that must be scored as the teacher scores a light one."""

FINETUNE = CropRecipe(min_scale=0.8, rotation=7.0, brightness=0.2, contrast=0.2)
"""Training a classifier: light. No flip: the heart lies left on all but one film in ten thousand,
and a classifier may use where it lies."""
