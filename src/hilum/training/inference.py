"""Running a network over many films without gradient, reading ahead of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from hilum.arrays import FloatArray, Rows
from hilum.augment.crops import whole_film
from hilum.images.films import Films
from hilum.training.batches import ahead

BATCH = 256


def device_of(module: nn.Module) -> torch.device:
    """Return the device that a module's parameters lie on."""
    return next(module.parameters()).device


def over_films(
    module: nn.Module,
    films: Films,
    rows: Rows,
    size: int,
    progress: Callable[[int, int], None] | None = None,
) -> FloatArray:
    """Return what a network gives for whole films at ``size`` pixels, one row each.

    Args:
        module: [B, 1, size, size] standardised -> [B, D]; runs in evaluation mode and is left as it
            was.
        films: Where to read from.
        rows: [n] row numbers.
        size: Height and width in pixels of what the network sees.
        progress: Called with films done and films in all.

    Returns:
        float32 [n, D].
    """
    device, was_training = device_of(module), module.training
    module.eval()
    outputs: list[Tensor] = []
    try:
        with torch.inference_mode():
            for images in ahead(_read(films, rows), depth=2):
                outputs.append(module(whole_film(images.to(device), size)).float().cpu())
                if progress:
                    progress(min(len(outputs) * BATCH, len(rows)), len(rows))
    finally:
        module.train(was_training)
    width = outputs[0].shape[1] if outputs else 0
    return (
        np.concatenate([part.numpy() for part in outputs])
        if outputs
        else np.empty((0, width), np.float32)
    )


def as_probabilities(logits: FloatArray) -> FloatArray:
    """Return logits [n, F] as probabilities, the same wherever thresholds are chosen or used."""
    return torch.from_numpy(logits).sigmoid().numpy()


def _read(films: Films, rows: Rows) -> Iterator[Tensor]:
    for start in range(0, len(rows), BATCH):
        yield torch.from_numpy(films.read(rows[start : start + BATCH])).unsqueeze(1)
