"""Checkpoints, never half-written: safetensors and JSON in one folder, with a manifest of hashes."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hilum.errors import RunError
from hilum.files import canonical_json, clear_leftovers, new_folder, read_json, sha256, write_json

KEPT = 2
TENSORS, STATE, MANIFEST = "state.safetensors", "state.json", "manifest.json"


@dataclass(frozen=True)
class Checkpoint:
    """The state of training after ``step`` optimiser steps: tensors by name, and plain values."""

    step: int
    tensors: Mapping[str, Tensor]
    values: Mapping[str, Any]


def capture(
    learner: nn.Module, optimiser: torch.optim.Optimizer, step: int, values: Mapping[str, Any]
) -> Checkpoint:
    """Return a checkpoint of the learner's and the optimiser's present state."""
    tensors = {f"learner/{name}": tensor for name, tensor in learner.state_dict().items()}
    for number, entries in optimiser.state_dict()["state"].items():
        # SGD holds None for the momentum of a parameter without a gradient so far; a missing entry
        # means the same.
        tensors |= {
            f"optimiser/{number}/{name}": value
            for name, value in entries.items()
            if value is not None
        }
    return Checkpoint(step, tensors, values)


def restore(checkpoint: Checkpoint, learner: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    """Put a checkpoint's state back, bit for bit, in the memory layout of the parameters."""
    own = {
        name[8:]: tensor
        for name, tensor in checkpoint.tensors.items()
        if name.startswith("learner/")
    }
    learner.load_state_dict(own)
    state: dict[int, dict[str, Tensor]] = {}
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    for name, tensor in checkpoint.tensors.items():
        if name.startswith("optimiser/"):
            _, number, key = name.split("/")
            state.setdefault(int(number), {})[key] = _laid_out_like(tensor, parameters[int(number)])
    optimiser.load_state_dict(
        {"state": state, "param_groups": optimiser.state_dict()["param_groups"]}
    )


def _laid_out_like(tensor: Tensor, parameter: Tensor) -> Tensor:
    if tensor.shape != parameter.shape:
        return tensor
    return torch.empty_like(parameter, dtype=tensor.dtype).copy_(tensor)


def folder_name(step: int) -> str:
    """Return the name of the folder that holds the checkpoint after ``step`` steps."""
    return f"step-{step:09d}"


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint into ``folder/step-N`` and leave only the newest two beside ``best``."""
    _write(folder / folder_name(checkpoint.step), checkpoint)
    for old in _newest_first(folder)[KEPT:]:
        shutil.rmtree(old)


def save_best(folder: Path, checkpoint: Checkpoint) -> None:
    """Write the checkpoint with the best score so far into ``folder/best``."""
    _write(folder / "best", checkpoint)


def _write(path: Path, checkpoint: Checkpoint) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with new_folder(path) as aside:
        write_tensors(aside / TENSORS, checkpoint.tensors)
        write_json(aside / STATE, {"step": checkpoint.step, **checkpoint.values})
        (aside / MANIFEST).write_bytes(_manifest(aside))


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors as safetensors.

    Raises:
        OSError: The disk is full, say.
    """
    try:
        save_file(storable(tensors), path)
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error


def storable(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors as safetensors needs them: in main memory, contiguous, tied weights copied for each name."""
    pointers: set[int] = set()
    result: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        stored = tensor.detach().cpu().contiguous()
        pointer = stored.untyped_storage().data_ptr()
        result[name] = stored.clone() if pointer in pointers else stored
        pointers.add(pointer)
    return result


def load_newest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """Return the newest whole checkpoint, or None, and a line for each damaged one that was skipped.

    Damaged ones are removed, so that they never count as one of the two that are kept.
    """
    clear_leftovers(folder)
    damaged: list[str] = []
    for path in _newest_first(folder):
        fault = damage(path)
        if fault is None:
            return load(path), damaged
        damaged.append(f"checkpoint {path.name} is damaged ({fault}): skipped for the one before.")
        shutil.rmtree(path)
    return None, damaged


def load_best(folder: Path) -> Checkpoint:
    """Return the checkpoint with the best score.

    Raises:
        RunError: It is damaged; no other has its weights.
    """
    fault = damage(folder / "best")
    if fault is not None:
        raise RunError(
            f"checkpoint {folder / 'best'} is damaged ({fault}): give the same command again, which goes on without it."
        )
    return load(folder / "best")


def drop_damaged_best(folder: Path) -> str | None:
    """Remove the checkpoint with the best score if it is damaged or missing; return the fault, else None."""
    fault = damage(folder / "best")
    if fault is not None:
        shutil.rmtree(folder / "best", ignore_errors=True)
    return fault


def damage(path: Path) -> str | None:
    """Return the fault of a checkpoint's files, None if every byte is as it was written."""
    missing = [name for name in (TENSORS, STATE, MANIFEST) if not (path / name).is_file()]
    if missing:
        return f"{missing[0]} is missing"
    extra = sorted({file.name for file in path.iterdir()} - {TENSORS, STATE, MANIFEST})
    if extra:
        return f"{extra[0]!r} does not belong there"
    if (path / MANIFEST).read_bytes() != _manifest(path):
        return "a hash does not match"
    return None


def load(path: Path) -> Checkpoint:
    """Read a checkpoint whose hashes were checked."""
    values = read_json(path / STATE)
    try:
        tensors = load_file(path / TENSORS)
    except SafetensorError as error:
        raise ValueError(f"{path} has the right hashes and cannot be read: {error}") from error
    return Checkpoint(values.pop("step"), tensors, values)


def _manifest(path: Path) -> bytes:
    """Return the manifest of the files: a changed byte, also of the manifest itself, is noticed."""
    return canonical_json({name: sha256(path / name) for name in (TENSORS, STATE)})


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"), reverse=True)
