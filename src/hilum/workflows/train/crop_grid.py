"""A picture of the crops that a method sees: a row a film, the whole film on the left and its crops beside it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hilum.augment.crops import whole_film
from hilum.files import write_bytes
from hilum.training.batches import Batches
from hilum.training.inference import device_of
from hilum.training.learner import Learner

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
    device = device_of(learner)
    rows = {
        name: getattr(batch, name)[:FILMS].to(device)
        for name in ("images", "index", "patient", "study")
    }
    positives = None
    if batch.positives is not None:
        positives = batch.positives[0][:FILMS].to(device), batch.positives[1][:FILMS].to(device)
    few = batch._replace(**rows, labels=None, weights=None, positives=positives, epoch=0)
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
    """Return one film's pictures side by side, [SIDE, w, 4]: the film, then its crops by size."""
    groups = [[pictures[0]], *(list(group) for _, group in groupby(pictures[1:], key=len))]
    parts: list[Picture] = []
    for group in groups:
        # The gap counts in, so that crops of half the size fit below one another in pairs.
        length = len(group[0])
        side = max(int((SIDE + THIN) * length / size) - THIN, 1)
        method = cv2.INTER_AREA if side < length else cv2.INTER_CUBIC
        fit = max((SIDE + THIN) // (side + THIN), 1)  # pictures in a column; transparent below
        for start in range(0, len(group), fit):
            column = np.zeros((SIDE, side, 4), np.uint8)
            for index, picture in enumerate(group[start : start + fit]):
                scaled = cv2.resize(picture, (side, side), interpolation=method)
                top = index * (side + THIN)
                column[top : top + side] = cv2.cvtColor(scaled, cv2.COLOR_GRAY2BGRA)
            parts += [np.zeros((SIDE, THIN if start else WIDE, 4), np.uint8), column]
    return np.concatenate(parts[1:], axis=1)


def _grey(crops: Tensor) -> Picture:
    """Return standardised crops [B, 1, S, S] as grey [B, S, S]."""
    shown = (crops[:, 0].float().cpu() / (2 * BRIGHTEST) + 0.5).clamp(0, 1) * 255
    return np.asarray(shown.round().numpy(), np.uint8)
