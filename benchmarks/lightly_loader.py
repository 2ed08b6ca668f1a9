"""Crops of film files by the public ``lightly`` package, its data set and transforms behind torch's DataLoader.

Departures from its examples, each of which makes it quicker here: films are read as one grey
channel instead of three, colour operations are off (films have none), and the number of loader
processes is tried out on the spot. Rotation, gamma and noise, which Hilum's crops have, are left
out.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightly.data import LightlyDataset
from lightly.transforms.byol_transform import BYOLTransform, BYOLView1Transform, BYOLView2Transform
from lightly.transforms.moco_transform import MoCoV2Transform
from lightly.transforms.simclr_transform import SimCLRTransform
from lightly.transforms.swav_transform import SwaVTransform
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.transforms import Compose, Grayscale

from lightly_methods import Crops
from turns import repeat

GREY = {
    "cj_sat": 0.0,
    "cj_hue": 0.0,
    "random_gray_scale": 0.0,
    "normalize": {"mean": [0.5], "std": [0.25]},
}


@dataclass(frozen=True)
class CropSizes:
    """Pixels a side of the two crops; of SwAV's local ones, and how many there are."""

    size: int
    local_size: int = 0
    local_crops: int = 0


def transform(method: str, sizes: CropSizes) -> Compose:
    """Return lightly's crops for a method, of grey films."""
    return Compose([Grayscale(), TRANSFORMS[method](sizes)])


def _moco(sizes: CropSizes) -> Any:
    return MoCoV2Transform(input_size=sizes.size, min_scale=_min_scale(sizes.size), **GREY)


def _simclr(sizes: CropSizes) -> Any:
    return SimCLRTransform(input_size=sizes.size, min_scale=_min_scale(sizes.size), **GREY)


def _byol(sizes: CropSizes) -> Any:
    scale = _min_scale(sizes.size)
    first = BYOLView1Transform(input_size=sizes.size, min_scale=scale, **GREY)
    second = BYOLView2Transform(
        input_size=sizes.size, min_scale=scale, solarization_prob=0.0, **GREY
    )
    return BYOLTransform(first, second)


def _swav(sizes: CropSizes) -> Any:
    return SwaVTransform(
        crop_sizes=(sizes.size, sizes.local_size or sizes.size),
        crop_counts=(2, sizes.local_crops),
        crop_min_scales=(_min_scale(sizes.size), 0.15),
        crop_max_scales=(1.0, 0.5),
        **GREY,
    )


def _min_scale(size: int) -> float:
    return 0.5 if size <= 96 else 0.3


TRANSFORMS: dict[str, Callable[[CropSizes], Any]] = {
    "moco": _moco,
    "simclr": _simclr,
    "byol": _byol,
    "swav": _swav,
    "vicreg": _simclr,  # the same crops as Hilum's
}
"""Name of the method -> its crops."""


class Loader:
    """Batches without end from image files; its processes stand still but while it is in use.

    Standing still is what makes turns fair: no process decodes ahead in another's turn, or slows
    it.
    """

    def __init__(
        self, root: Path, files: Sequence[Path], crops: Compose, batch_size: int, workers: int
    ) -> None:
        names = [str(file.relative_to(root)) for file in files]
        data = LightlyDataset(str(root), filenames=names, transform=crops)
        self.loader = DataLoader(
            data,
            batch_size,
            shuffle=True,
            drop_last=True,
            num_workers=workers,
            persistent_workers=True,
            worker_init_fn=die_with_parent,
            pin_memory=torch.cuda.is_available(),
        )
        others = set(multiprocessing.active_children())
        self.batches = self._endless(iter(self.loader))
        self.processes = set(multiprocessing.active_children()) - others
        self._signal(signal.SIGSTOP)

    @contextmanager
    def running(self) -> Iterator[Iterator[Crops]]:
        """Let the processes run in the block, which may take any number of batches."""
        self.go_on()
        try:
            yield self.batches
        finally:
            self.halt()

    def go_on(self) -> None:
        """Let the processes run."""
        self._signal(signal.SIGCONT)

    def halt(self) -> None:
        """Have the processes stand still."""
        self._signal(signal.SIGSTOP)

    def train(self, step: Callable[[Crops], None], steps: int) -> float:
        """Take so many steps on batches from the files and return the seconds."""
        with self.running() as batches:
            return repeat(lambda: step(next(batches)), steps)

    def close(self) -> None:
        """End the processes."""
        self._signal(signal.SIGCONT)
        self.batches.close()
        del self.loader, self.batches

    def _endless(self, first: Iterator[tuple[Crops, Tensor, list[str]]]) -> Iterator[Crops]:
        batches = first
        while True:
            for crops, _, _ in batches:
                yield crops
            batches = iter(self.loader)

    def _signal(self, number: signal.Signals) -> None:
        for process in self.processes:
            if process.is_alive():
                os.kill(process.pid, number)


def die_with_parent(_: int) -> None:
    """Have the system end this process with its parent: a halted one would not notice. Linux only, else nothing."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # 1 is PR_SET_PDEATHSIG


def fastest_loader(
    make: Callable[[int], Loader], step: Callable[[Crops], None], cores: int, steps: int
) -> Loader:
    """Return the loader with the number of processes that trains quickest, of 1, 2, 4 … up to the cores."""
    tried: dict[float, int] = {}
    workers = 1
    while workers <= cores:
        loader = make(workers)
        try:
            loader.train(step, 2 * workers + 2)  # what lies ready in the queues is used up
            tried[loader.train(step, steps)] = workers
        finally:
            loader.close()
        workers *= 2
    return make(tried[min(tried)])
