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
from hilum.training.freed_memory import keep_freed_memory

BATCH = 256
"""Films that are read at once, and that a GPU computes at once."""
CPU_BATCH = 32
"""Films that a CPU computes at once: the maps of more leave its cache."""


def device_of(module: nn.Module) -> torch.device:
    """Return the device of a module's parameters."""
    return next(module.parameters()).device


def describe_device(device: torch.device, processes: int = 1) -> str:
    """Return a device in words, such as ``cpu, 4 threads``, ``NVIDIA H200`` or ``2 x NVIDIA H200``.

    >>> describe_device(torch.device("cpu"), processes=2).partition(",")[0]
    '2 x cpu'
    """
    times = f"{processes} x " if processes > 1 else ""
    if device.type == "cuda":
        return f"{times}{torch.cuda.get_device_name(device)}"
    threads = torch.get_num_threads()
    return f"{times}{device.type}, {threads} {'thread' if threads == 1 else 'threads'}"


def over_films(
    module: nn.Module,
    films: Films,
    rows: Rows,
    size: int,
    progress: Callable[[int, int], None] | None = None,
) -> FloatArray:
    """Return a network's outputs for whole films at ``size`` pixels, one row each.

    Args:
        module: [B, 1, size, size] standardised -> [B, D]; runs in evaluation mode and is left as it
            was.
        films: Where to read from.
        rows: [n] row numbers.
        size: Height and width in pixels of what the network sees.
        progress: Called with the films done and their total, first before any is done.

    Returns:
        float32 [n, D].
    """
    device, was_training = device_of(module), module.training
    module.eval()
    outputs: list[Tensor] = []
    done, on_cpu = 0, device.type == "cpu"
    if on_cpu:
        keep_freed_memory()
    if progress:
        progress(0, len(rows))
    try:
        with torch.inference_mode():
            for images in ahead(_read(films, rows), depth=2):
                for part in torch.split(images, CPU_BATCH if on_cpu else BATCH):
                    outputs.append(module(whole_film(part.to(device), size)).float().cpu())
                    done += len(part)
                if progress:
                    progress(done, len(rows))
    finally:
        module.train(was_training)
    if not outputs:
        return np.empty((0, 0), np.float32)
    return np.concatenate([batch.numpy() for batch in outputs])


def as_probabilities(logits: FloatArray) -> FloatArray:
    """Return the probabilities of logits [n, F], by the same function wherever thresholds are chosen or used."""
    return torch.from_numpy(logits).sigmoid().numpy()


def _read(films: Films, rows: Rows) -> Iterator[Tensor]:
    for start in range(0, len(rows), BATCH):
        yield torch.from_numpy(films.read(rows[start : start + BATCH])).unsqueeze(1)
