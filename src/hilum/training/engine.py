"""Lightning Fabric on the chosen device, in one process or several."""

from __future__ import annotations

import os
import warnings
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.precision.amp import MixedPrecision
from lightning_fabric.strategies.ddp import DDPStrategy
from torch.nn.parallel import DistributedDataParallel

from hilum.errors import OptionError
from hilum.training.distributed import TIMEOUT, RankInfo, Team
from hilum.training.options import LoopOptions


def launch(options: LoopOptions, team: Team) -> Fabric:
    """Meet the other processes and return Fabric, ready.

    Raises:
        OptionError: The device is not there, cannot do this precision, or has too few GPUs.
        HilumError: Another process cannot start.
    """
    if options.accelerator == "cuda" and not torch.cuda.is_available():
        raise OptionError(
            "--train.accelerator is cuda and no GPU is found: allowed here is cpu or auto."
        )
    on_cpu = options.accelerator == "cpu" or not torch.cuda.is_available()
    if on_cpu and options.precision == "16-mixed":
        raise OptionError(
            "--train.precision is 16-mixed, which needs a GPU: allowed on the CPU are 32 and bf16-mixed."
        )
    arithmetic: dict[str, Any] = {"precision": "32-true"}
    if options.precision != "32":
        device = _device_type(options.accelerator)
        arithmetic = {"plugins": _MixedPrecision(options.precision, device)}
    if team.ranks.world_size == 1:
        fabric = Fabric(accelerator=options.accelerator, devices=1, **arithmetic)
    else:
        devices: int | list[int] = 1 if on_cpu else [_own_gpu(team.ranks)]
        team.assemble()
        fabric = Fabric(
            accelerator=options.accelerator,
            strategy=_ExactDDP(team.ranks),
            devices=devices,
            **arithmetic,
        )
    fabric.launch()
    return fabric


def _device_type(accelerator: str) -> str:
    """Return the kind of device that Fabric chooses for this option."""
    if accelerator == "cpu":
        return "cpu"
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


class _MixedPrecision(MixedPrecision):
    """Autocast, and no more: Fabric's own also rounds every argument of the model to bfloat16.

    Of a target 8 bits would be left: soft labels, weights of cells and ages would be others
    (``findings/fabric_bf16_rounds_targets.sh``, lightning-fabric 2.6.6).
    """

    def convert_input(self, data: Any) -> Any:
        """Leave what the model is given as it is: autocast chooses the type of each operation."""
        return data


def _own_gpu(ranks: RankInfo) -> int:
    """Return the number of this process's GPU among those that it sees.

    Raises:
        OptionError: The processes on this machine outnumber the GPUs.
    """
    gpus = torch.cuda.device_count()
    if gpus == 1 and "SLURM_PROCID" in os.environ:
        return 0  # SLURM may show each task a GPU of its own
    if ranks.local_world_size > gpus:
        raise OptionError(
            f"--devices is {ranks.local_world_size} on this machine, which has {gpus} GPUs: "
            f"allowed are 1 to {gpus}, or more with --train.accelerator cpu."
        )
    torch.cuda.set_device(ranks.local_rank)
    return ranks.local_rank


class _JoinedProcesses(LightningEnvironment):
    """Fabric's view of processes that have formed their group already; each lists its own device alone."""

    def __init__(self, ranks: RankInfo) -> None:
        super().__init__()
        self._ranks = ranks

    @property
    def creates_processes_externally(self) -> bool:
        return True

    def world_size(self) -> int:
        return self._ranks.world_size

    def global_rank(self) -> int:
        return self._ranks.rank

    def local_rank(self) -> int:
        return 0

    def set_world_size(self, size: int) -> None:
        """Leave the number as it is: Fabric counts the devices listed here."""

    def set_global_rank(self, rank: int) -> None:
        """Leave the rank as it is."""

    def teardown(self) -> None:
        """Leave the environment as it is."""


class _ExactDDP(DDPStrategy):
    """DDP without anything that differs between a start and a resume.

    Batch statistics stay each process's own. ``find_unused_parameters`` keeps gradients in the
    buckets of the first step, where DDP else sorts them anew after it: sums of more than two
    processes depend on that in their last bits. It also allows a method to leave some parameters untrained
    for a while.
    """

    def __init__(self, ranks: RankInfo) -> None:
        super().__init__(
            cluster_environment=_JoinedProcesses(ranks),
            broadcast_buffers=False,
            find_unused_parameters=True,
            timeout=TIMEOUT,
        )

    def setup_module(self, module: torch.nn.Module) -> DistributedDataParallel:
        with warnings.catch_warnings():
            # Newer torch has a new name for broadcast_buffers, which older torch does not know.
            warnings.filterwarnings(
                "ignore", message=".*broadcast_buffers.*", category=FutureWarning
            )
            return super().setup_module(module)
