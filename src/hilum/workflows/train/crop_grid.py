"""A picture of the crops that a method sees: a row a film, the whole film on the left and its crops beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hilum.augment.crops import whole_film
from hilum.files import write_bytes
from hilum.training.batches import Batches
from hilum.training.inference import device_of
from hilum.training.learner import Batch, Learner

FILMS = 6
SIDE = 128
"""Pixels of the whole film and of the largest crop; smaller crops keep their proportion."""
THIN, WIDE = 3, 12
"""Pixels between two pictures, and between groups of pictures of one kind; both are transparent."""
BRIGHTEST = 2.5
"""Standard deviations from a film's mean that are shown as white, and below it as black."""

Picture = NDArray[np.uint8]


def write_crop_grid(path: Path, learner: Learner, batches: Batches, seed: int) -> None:
    """Write the crops of the run's first films at its first epoch as a PNG.

    Crops are a pure function of seed, epoch and film: drawing them here changes nothing in the run.
    """
    with closing(batches.run(0, 1)) as begin:
        _, batch = next(begin)
    few = _few(batch, device_of(learner))
    crops = learner.make_crops(few, seed)
    size = max(crop.shape[-1] for crop in crops)
    grid = crop_grid([_grey(whole_film(few.images, size)), *map(_grey, crops)])
    done, data = cv2.imencode(".png", grid)
    if not done:
        raise ValueError(f"a picture of shape {grid.shape} cannot be written as PNG")
    write_bytes(path, data.tobytes())


def crop_grid(pictures: Sequence[Picture]) -> Picture:
    """Return pictures of several films as one picture, a row a film; between them it is transparent.

    Args:
        pictures: Grey [B, S, S] each: the whole films first, then their crops. Crops so small that
            several fit below one another share a column.

    Returns:
        BGRA [h, w, 4].
    """
    size = max(picture.shape[-1] for picture in pictures)
    rows = [_row([picture[film] for picture in pictures], size) for film in range(len(pictures[0]))]
    gap = np.zeros((THIN, *rows[0].shape[1:]), np.uint8)
    return np.concatenate([part for row in rows for part in (gap, row)][1:])


def _row(pictures: Sequence[Picture], size: int) -> Picture:
    """Return one film's pictures beside each other, [SIDE, w, 4]: the film, then a group for each size of crop."""
    groups = [[pictures[0]], *(list(group) for _, group in groupby(pictures[1:], key=len))]
    parts: list[Picture] = []
    for group in groups:
        for place, column in enumerate(_columns([_scaled(one, size) for one in group])):
            gap = WIDE if place == 0 else THIN
            parts += [np.zeros((SIDE, gap, 4), np.uint8), column]
    return np.concatenate(parts[1:], axis=1)


def _columns(group: Sequence[Picture]) -> Iterator[Picture]:
    """Yield pictures of one size below one another, as many as fit in a row's height; below them it is transparent."""
    side = len(group[0])
    fit = max((SIDE + THIN) // (side + THIN), 1)
    for start in range(0, len(group), fit):
        column = np.zeros((SIDE, side, 4), np.uint8)
        for place, picture in enumerate(group[start : start + fit]):
            top = place * (side + THIN)
            column[top : top + side] = cv2.cvtColor(picture, cv2.COLOR_GRAY2BGRA)
        yield column


def _scaled(picture: Picture, size: int) -> Picture:
    # The gap counts in, so that crops of half the size stand below one another in pairs.
    side = max(int((SIDE + THIN) * len(picture) / size) - THIN, 1)
    smaller = side < len(picture)
    scaled = cv2.resize(
        picture, (side, side), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    )
    return np.asarray(scaled, np.uint8)


def _grey(crops: Tensor) -> Picture:
    """Return standardised crops [B, 1, S, S] as grey [B, S, S]."""
    shown = (crops[:, 0].float().cpu() / (2 * BRIGHTEST) + 0.5).clamp(0, 1) * 255
    return np.asarray(shown.round().numpy(), np.uint8)


def _few(batch: Batch, device: torch.device) -> Batch:
    """Return the first films of a batch, on a device."""
    rows = {
        name: getattr(batch, name)[:FILMS].to(device)
        for name in ("images", "index", "patient", "study")
    }
    positives = (
        None
        if batch.positives is None
        else (batch.positives[0][:FILMS].to(device), batch.positives[1][:FILMS].to(device))
    )
    return batch._replace(**rows, labels=None, weights=None, positives=positives, epoch=0)
