"""What several training processes share: tensors gathered over all of them; alone, a process keeps its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist


def process_count() -> int:
    """Return how many processes train together, 1 where this one is alone."""
    return dist.get_world_size() if _together() else 1


def process_rank() -> int:
    """Return this process's number among them, from 0."""
    return dist.get_rank() if _together() else 0


@torch.no_grad()
def gather(tensor: Tensor) -> Tensor:
    """Return the tensors [B, ...] of all processes in the order of their ranks, [W * B, ...]; no gradient passes.

    Every process must call it, with the same shape.
    """
    if process_count() == 1:
        return tensor.detach()
    parts = [
        torch.empty_like(tensor, memory_format=torch.contiguous_format)
        for _ in range(process_count())
    ]
    dist.all_gather(parts, tensor.detach().contiguous())
    return torch.cat(parts)


def gather_with_gradient(tensor: Tensor) -> Tensor:
    """Return the tensors [B, ...] of all processes, [W * B, ...]; each gets the gradients that all of them have for it.

    With a loss that is the mean over this process's own rows, and gradients averaged over the
    processes, the step is that of one process with the whole batch.
    """
    if process_count() == 1:
        return tensor
    gathered: Tensor = _Gather.apply(tensor)
    return gathered


def own_rows(gathered: Tensor) -> Tensor:
    """Return this process's part [B, ...] of what was gathered [W * B, ...]."""
    return gathered.chunk(process_count())[process_rank()]


def any_process(flag: bool) -> bool:
    """Return whether any process says so. All must call it; it waits for them, but never for a device."""
    if process_count() == 1:
        return flag
    flags = torch.tensor(int(flag), dtype=torch.int32)  # on the CPU, where gloo carries it
    dist.all_reduce(flags, op=dist.ReduceOp.MAX)
    return bool(flags)


def broadcast_from_first(values: Sequence[float]) -> list[float]:
    """Return the numbers that the first process gives; all must call it with as many, the others' are not looked at."""
    if process_count() == 1:
        return list(values)
    shared = torch.tensor(values, dtype=torch.float64)
    dist.broadcast(shared, src=0)
    return [float(value) for value in shared]


@torch.no_grad()
def mean_over_processes(tensor: Tensor) -> Tensor:
    """Return the mean of the processes' tensors of one shape; it is not finite where one of them is not."""
    if process_count() == 1:
        return tensor
    total = tensor.detach().clone()
    dist.all_reduce(total)
    return total / process_count()


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, tensor: Tensor) -> Tensor:  # noqa: ARG004
        return gather(tensor)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:  # noqa: ARG004
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return own_rows(total)


def _together() -> bool:
    return dist.is_available() and dist.is_initialized()
