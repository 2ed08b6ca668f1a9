"""Does a film look inverted, or turned? A small network looks at a thumbnail and answers in whole numbers.

Its weights are whole numbers from -127 to 127, what passes between its layers from 0 to 127, and every sum stays below
2 ** 24, so that float32 holds it exactly: a film gets the same answer on every machine and in every
batch, and a store the same bytes. NumPy and OpenCV suffice. `benchmarks/train_film_check.py` trained it;
`film_check.md` beside it says on what, and how often it errs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from hilum.arrays import FloatArray

SIDE = 64
"""Side of the thumbnail in pixels."""
PATCHES = (8, 2)
"""Sides of the patches that the first layers read."""
LEAST_CONTRAST = 8
"""Grey levels between the brightest and the darkest pixel; what has fewer is blank and never flagged."""
TURNS = ("", "turned to the left", "upside down", "turned to the right")
"""How a film can lie, by the number of quarter turns against the clock."""
INVERTED = "inverted"
"""What a film looks like that is its own negative."""
FLAGS = tuple(
    " and ".join(filter(None, (polarity, turn))) for polarity in ("", INVERTED) for turn in TURNS
)
"""What a film can look like: polarity, then turn; the first is as it should be."""
UNKNOWN = len(FLAGS)
"""Output for what looks like no chest film of either polarity in any turn."""
WEIGHTS = Path(__file__).with_suffix(".safetensors")
LARGEST_SUM = 2**24
_BATCH = 16


@dataclass(frozen=True)
class Layer:
    """Weights of one layer: whole numbers as float32, and the factor to the next layer's range."""

    weight: FloatArray
    """[inputs, outputs]; the inputs of a patch are row, column, channel."""
    bias: FloatArray
    """[outputs]"""
    factor: FloatArray
    """[outputs]"""

    def __call__(self, inputs: FloatArray) -> FloatArray:
        """Return outputs from 0 to 127, [n, outputs], of whole numbers [n, inputs]."""
        values = self.sums(inputs)
        values *= self.factor
        return np.rint(np.clip(values, 0, 127, out=values), out=values)

    def sums(self, inputs: FloatArray) -> FloatArray:
        """Return the sums themselves, [n, outputs]."""
        sums: FloatArray = inputs @ self.weight
        sums += self.bias
        return sums


@dataclass(frozen=True)
class Network:
    """Four layers, and how far ahead an answer must be to count."""

    layers: tuple[Layer, ...]
    """Two on ever larger patches, without overlap, then two that see the whole film."""
    negative_limit: int
    turn_limit: int

    def outputs(self, thumbnails: Sequence[NDArray[np.uint8]]) -> FloatArray:
        """Return the score of every entry of FLAGS and of UNKNOWN, whole numbers [n, 9], of thumbnails [64, 64]."""
        *merging, hidden, last = self.layers
        equal = np.empty((len(thumbnails), SIDE, SIDE, 1), np.uint8)
        for place, film in enumerate(thumbnails):
            cv2.equalizeHist(film, equal[place, :, :, 0])
        maps: NDArray[Any] = equal
        for layer, side in zip(merging, PATCHES, strict=True):
            patches, cells = _patches(maps, side), maps.shape[1] // side
            if maps is equal:
                patches -= 128
                np.maximum(patches, -127, out=patches)
            maps = layer(patches).reshape(len(equal), cells, cells, -1)
        return last.sums(hidden(maps.reshape(len(maps), -1)))

    def flags(self, thumbnails: Sequence[NDArray[np.uint8]]) -> list[str]:
        """Return what each thumbnail [64, 64] looks like, an entry of FLAGS; "" where it is unclear too."""
        scores = self.outputs(thumbnails)
        both = scores[:, :UNKNOWN].reshape(-1, 2, len(TURNS))  # [n, polarity, turn]
        unknown = scores[:, UNKNOWN]
        positive, negative = both.max(2).T
        inverted = negative - np.maximum(positive, unknown) > self.negative_limit
        turns = both.max(1)  # [n, turn]
        turn = turns[:, 1:].argmax(1) + 1
        ahead = turns[np.arange(len(turns)), turn] - np.maximum(turns[:, 0], unknown)
        turn = np.where(ahead > self.turn_limit, turn, 0)
        ends = [cv2.minMaxLoc(film)[:2] for film in thumbnails]
        blank = np.array([high - low < LEAST_CONTRAST for low, high in ends])
        return [FLAGS[place] for place in (~blank * (inverted * len(TURNS) + turn)).tolist()]


def thumbnail(film: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a grey film, uint8 [H, W], as the network sees it, uint8 [64, 64].

    A large film is thinned first: the means of four pixels in each cell do for this, at a fraction
    of the time of all.
    """
    down, across = (max(1, side // (2 * SIDE)) for side in film.shape)
    thin: NDArray[Any] = np.ascontiguousarray(film[::down, ::across])
    if thin.shape == (SIDE, SIDE):
        return thin
    if thin.shape != (2 * SIDE, 2 * SIDE):
        thin = cv2.resize(thin, (2 * SIDE, 2 * SIDE), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.resize(thin, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def film_flags(thumbnails: Sequence[NDArray[np.uint8]]) -> list[str]:
    """Return what each thumbnail looks like, an entry of FLAGS: "" for a film as it should be, or an unclear one."""
    found: list[str] = []
    for start in range(0, len(thumbnails), _BATCH):
        found += network().flags(thumbnails[start : start + _BATCH])
    return found


def is_inverted(flag: str) -> bool:
    """Whether a flag says that a film looks inverted."""
    return flag.startswith(INVERTED)


@lru_cache(maxsize=1)
def network() -> Network:
    """Return the shipped network."""
    return read_network(WEIGHTS)


def read_network(path: Path) -> Network:
    """Return the network in a file.

    Raises:
        ValueError: A sum could exceed what float32 holds exactly.
    """
    tensors = load_file(path)
    layers = tuple(
        Layer(
            *(
                tensors[f"{number}.{part}"].astype(np.float32)
                for part in ("weight", "bias", "factor")
            )
        )
        for number in range(sum(name.endswith(".weight") for name in tensors))
    )
    for layer in layers:
        if (127 * np.abs(layer.weight).sum(0) + np.abs(layer.bias)).max() >= LARGEST_SUM:
            raise ValueError(f"{path}: a layer's sums are not exact in float32")
    return Network(layers, *(int(value) for value in tensors["limits"]))


def _patches(maps: NDArray[Any], side: int) -> FloatArray:
    """Return the patches of maps [n, s, s, C] without overlap, float32 [n * (s / side) ** 2, side * side * C]."""
    films, cells, channels = len(maps), maps.shape[1] // side, maps.shape[-1]
    folded = maps.reshape(films, cells, side, cells, side, channels).transpose(0, 1, 3, 2, 4, 5)
    return folded.astype(np.float32).reshape(-1, side * side * channels)
