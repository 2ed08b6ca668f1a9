"""Random numbers without a state: each is a hash of what it is for.

A draw depends on (seed, epoch, index of the film, crop, operation) and on nothing else: not on the
batch that the film sits in, the number of processes, the device or the draws before it. A run that
resumes in the middle of an epoch therefore sees the numbers that the unbroken run would have seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

_WORD = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
# The finaliser of splitmix64 (Steele, Lea, Flood 2014, "Fast splittable pseudorandom number
# generators", variant 13).
_MIXING = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
_LAST_SHIFT = 31
_TAPE_LENGTH = 1 << 20


def uniform(seed: int, epoch: int, index: Tensor, crop: int, op: int) -> Tensor:
    """Return one number a film, uniform in [0, 1).

    Args:
        seed: The run's seed.
        epoch: Pass over the data, from 0.
        index: [B] int64, which film; any int64 values.
        crop: Which of the film's crops.
        op: Which decision the number serves; two decisions with the same number get the same draw.

    Returns:
        [B] float32 on the device of ``index``, multiples of 2^-24.
    """
    return uniforms(seed, epoch, index, crop, (op,))[0]


def uniforms(seed: int, epoch: int, index: Tensor, crop: int, ops: Sequence[int]) -> Tensor:
    """Return the draws of several operations at once, float32 [len(ops), B]; row i equals ``uniform(..., ops[i])``."""
    keys = torch.tensor([_signed(_key(seed, epoch, crop, op)) for op in ops], dtype=torch.int64)
    if index.is_cuda:  # from pinned memory, so that the copy waits for nothing
        keys = keys.pin_memory().to(index.device, non_blocking=True)
    films = _mix(index.to(torch.int64) * _signed(_GOLDEN))
    bits = _mix(films[None, :] ^ keys.to(index.device)[:, None])
    return _logical_shift(bits, 40).to(torch.float32) * 2.0**-24  # 24 bits are exact in float32


def normal_noise(start: Tensor, height: int, width: int) -> Tensor:
    """Return a field of white noise a film, normal with mean 0 and variance 1, float32 [B, 1, height, width].

    The fields are windows of one fixed tape of 2^20 normal numbers, so that a field costs a copy
    and not a million hashes. Two films may get overlapping windows, shifted against each other;
    noise on films needs no more.

    Args:
        start: [B] in [0, 1), where each film's window begins; a draw of ``uniform``.
        height: Rows of the field.
        width: Columns of the field.

    Raises:
        ValueError: The field has as many pixels as the tape, or more.
    """
    pixels = height * width
    if pixels >= _TAPE_LENGTH:
        raise ValueError(
            f"a noise field of {height} x {width} exceeds the tape of {_TAPE_LENGTH} numbers"
        )
    windows = _tape(start.device).unfold(0, pixels, 1)
    rows = (start * 2.0**24).long() * windows.shape[
        0
    ] >> 24  # in whole numbers: not every device has float64
    return windows[rows].view(-1, 1, height, width)


@lru_cache(maxsize=8)
def _tape(device: torch.device) -> Tensor:
    """The same numbers on every device: hashed and shaped on the CPU in double precision."""
    counter = torch.arange(_TAPE_LENGTH, dtype=torch.int64)
    bits = _logical_shift(_mix(counter * _signed(_GOLDEN)), 11)
    centred = (bits.double() + 0.5) * 2.0**-52 - 1.0  # in (-1, 1)
    normal: Tensor = torch.erfinv(centred) * 2.0**0.5
    return normal.float().to(device)


def _key(seed: int, epoch: int, crop: int, op: int) -> int:
    key = 0
    for part in (seed, epoch, crop, op):
        key = _mix_int((key + part + 1) * _GOLDEN & _WORD)
    return key


def _mix_int(word: int) -> int:
    for shift, factor in _MIXING:
        word = (word ^ (word >> shift)) * factor & _WORD
    return word ^ (word >> _LAST_SHIFT)


def _mix(words: Tensor) -> Tensor:
    """``_mix_int`` of int64 words read as unsigned; torch's int64 product wraps as the hash needs."""
    for shift, factor in _MIXING:
        words = (words ^ _logical_shift(words, shift)) * _signed(factor)
    return words ^ _logical_shift(words, _LAST_SHIFT)


def _logical_shift(words: Tensor, places: int) -> Tensor:
    """Shift right with zeros coming in, which ``>>`` of a signed integer does not do."""
    return (words >> places) & ((1 << (64 - places)) - 1)


def _signed(word: int) -> int:
    return word - (1 << 64) if word >> 63 else word
