"""MoCo as users of the public ``lightly`` package build it, to stand beside Hilum's in ``pretrain_speed.py``.

After lightly's own example (docs.lightly.ai, examples, MoCo): its head, its loss with a memory bank, its momentum
update, its data set and its MoCo v2 transform behind torch's DataLoader, SGD without clipping. Departures, each of
which makes it quicker here: films are read as one grey channel instead of three, colour operations are off (films have
none), images lie channels-last, and the number of loader processes is tried out on the spot. Rotation and noise, which
Hilum's crops have, are left out.
"""

from __future__ import annotations

import copy
import ctypes
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import timm
import torch
from lightly.data import LightlyDataset
from lightly.loss import NTXentLoss
from lightly.models.modules import MoCoProjectionHead
from lightly.models.utils import deactivate_requires_grad, update_momentum
from lightly.transforms.moco_transform import MoCoV2Transform
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.transforms import Compose, Grayscale

from turns import repeat

Crops = tuple[Tensor, Tensor]
EMBEDDING_SIZE = 128


class MoCo(nn.Module):
    """The model and one step of its training."""

    def __init__(self, backbone: str, queue_size: int, device: torch.device, autocast: Callable[[], object]) -> None:
        super().__init__()
        self.backbone = timm.create_model(backbone, in_chans=1, num_classes=0)
        features = self.backbone.num_features
        self.head = MoCoProjectionHead(features, features, EMBEDDING_SIZE)
        self.key_backbone, self.key_head = copy.deepcopy(self.backbone), copy.deepcopy(self.head)
        deactivate_requires_grad(self.key_backbone)
        deactivate_requires_grad(self.key_head)
        self.loss = NTXentLoss(memory_bank_size=(queue_size, EMBEDDING_SIZE))
        self.device, self.autocast = device, autocast
        self.to(device=device, memory_format=torch.channels_last)
        self.optimiser = torch.optim.SGD(self.parameters(), lr=0.06)

    def step(self, crops: Crops) -> None:
        """Take one step on two crops a film, each [B, 1, size, size]."""
        update_momentum(self.backbone, self.key_backbone, m=0.99)
        update_momentum(self.head, self.key_head, m=0.99)
        query_crop, key_crop = (crop.to(self.device, non_blocking=True) for crop in crops)
        with self.autocast():
            query = self.head(self.backbone(query_crop))
            key = self.key_head(self.key_backbone(key_crop)).detach()
        loss = self.loss(query.float(), key.float())
        loss.backward()
        self.optimiser.step()
        self.optimiser.zero_grad()


class Loader:
    """Batches without end from image files; its processes stand still but while it is in use.

    Standing still is what makes turns fair: no process decodes ahead in another's turn, or slows it.
    """

    def __init__(self, root: Path, files: Sequence[Path], size: int, batch_size: int, workers: int) -> None:
        names = [str(file.relative_to(root)) for file in files]
        data = LightlyDataset(str(root), filenames=names, transform=transform(size))
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
        self._signal(signal.SIGCONT)
        try:
            yield self.batches
        finally:
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


def transform(size: int) -> Compose:
    """Return lightly's MoCo v2 crops of grey films."""
    crops = MoCoV2Transform(
        input_size=size,
        cj_sat=0.0,
        cj_hue=0.0,
        min_scale=0.5 if size <= 96 else 0.3,
        random_gray_scale=0.0,
        normalize={"mean": [0.5], "std": [0.25]},
    )
    return Compose([Grayscale(), crops])


def fastest_loader(make: Callable[[int], Loader], step: Callable[[Crops], None], cores: int, steps: int) -> Loader:
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
