"""Does a film look inverted, or turned? A small network looks at a thumbnail and answers in whole numbers.

A film that may look wrong is looked at again in sixteen ways (turned, mirrored, as its negative), and the sum counts:
that costs little, as few films are, and halves the errors.

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

import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from hilum.arrays import FloatArray

SIDE = 64
"""Side of the thumbnail in pixels."""
SMALLEST = 48
"""Pixels that the shorter side of a film must have; smaller ones are never flagged."""
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
STRANGE = "unlike a chest film"
"""What a picture looks like in which the network sees no chest film of either polarity in any turn."""
LATERAL = "lateral"
"""What a film is by the header of its DICOM file; the network does not tell laterals."""
UNKNOWN = len(FLAGS)
"""Output for what looks like no chest film of either polarity in any turn."""
WAYS = np.array(
    [
        [
            (polarity ^ negative) * len(TURNS)
            + (turned + (-turn if mirrored else turn)) % len(TURNS)
            for polarity in (0, 1)
            for turn in range(len(TURNS))
        ]
        + [UNKNOWN]
        for negative in (0, 1)
        for mirrored in (0, 1)
        for turned in range(len(TURNS))
    ]
)
"""Where each output of a film is found when it is shown as its negative, mirrored or turned, [16, 9]."""
WEIGHTS = Path(__file__).with_suffix(".safetensors")
LARGEST_SUM = 2**24
NOT_DOUBTED = -(2**31)
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
    """Four layers, and how far ahead a wrong answer must be to count: of polarity, of turn."""

    layers: tuple[Layer, ...]
    """Two on ever larger patches, without overlap, then two that see the whole film."""
    doubts: tuple[int, int]
    """At first sight, to be looked at again."""
    limits: tuple[int, int]
    """In the sum over all WAYS, to be flagged."""

    def outputs(self, thumbnails: Sequence[NDArray[np.uint8]]) -> FloatArray:
        """Return the score of every entry of FLAGS and of UNKNOWN, whole numbers [n, 9], of thumbnails [64, 64]."""
        (first, second, hidden, last), films = self.layers, len(thumbnails)
        equal = np.empty((films, SIDE, SIDE), np.uint8)
        for place, film in enumerate(thumbnails):
            cv2.equalizeHist(film, equal[place])
        cells = SIDE // PATCHES[0]
        # The eight pixels of a patch's row are moved as one number of 64 bits, which is several times faster.
        rows = equal.view(np.uint64).reshape(films, cells, PATCHES[0], cells).swapaxes(2, 3)
        patches = np.ascontiguousarray(rows).view(np.uint8).reshape(-1, PATCHES[0] ** 2)
        centred = patches.astype(np.float32)
        centred -= 128
        maps = first(centred).reshape(films, cells // PATCHES[1], PATCHES[1], cells, -1)
        maps = maps.reshape(*maps.shape[:3], cells // PATCHES[1], -1).swapaxes(2, 3)
        merged = np.ascontiguousarray(maps).reshape(-1, second.weight.shape[0])
        return last.sums(hidden(second(merged).reshape(films, -1)))

    def ahead(
        self, thumbnails: Sequence[NDArray[np.uint8]], outputs: FloatArray | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return how far ahead the wrong answers are over all WAYS, and the likeliest turn.

        Args:
            thumbnails: uint8 [64, 64] each.
            outputs: Those of `outputs`, [n, 9], where they are known already.

        Returns: [n, 2] of polarity and turn, NOT_DOUBTED where the first sight leaves no doubt; and [n], 1 to 3.
        """
        first = self.outputs(thumbnails) if outputs is None else outputs
        ahead, turn = margins(first.astype(np.int64))
        doubted = (ahead > self.doubts).any(1)
        ahead[~doubted] = NOT_DOUBTED
        for place in np.flatnonzero(doubted).tolist():
            low, high = cv2.minMaxLoc(thumbnails[place])[:2]
            if high - low < LEAST_CONTRAST:
                ahead[place] = NOT_DOUBTED
                continue
            shown = [
                np.ascontiguousarray(np.rot90(side, turned))
                for shade in (thumbnails[place], 255 - thumbnails[place])
                for side in (shade, shade[:, ::-1])
                for turned in range(len(TURNS))
            ]
            scores = np.take_along_axis(self.outputs(shown).astype(np.int64), WAYS, 1).sum(0)
            ahead[place : place + 1], turn[place : place + 1] = margins(scores[None])
        return ahead, turn

    def flags(
        self, thumbnails: Sequence[NDArray[np.uint8]], outputs: FloatArray | None = None
    ) -> list[str]:
        """Return what each thumbnail looks like, an entry of FLAGS, "" where it is unclear; arguments of `ahead`."""
        ahead, turn = self.ahead(thumbnails, outputs)
        inverted, turned = (ahead > self.limits).T
        return [FLAGS[place] for place in (inverted * len(TURNS) + turned * turn).tolist()]

    def appearances(self, thumbnails: Sequence[NDArray[np.uint8]]) -> list[str]:
        """Return what each thumbnail looks like, an entry of FLAGS or STRANGE."""
        outputs = self.outputs(thumbnails)
        strange = (outputs.argmax(1) == UNKNOWN).tolist()
        flags = self.flags(thumbnails, outputs)
        return [STRANGE if odd else flag for odd, flag in zip(strange, flags, strict=True)]


def margins(scores: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return how far the wrong answers are ahead of the right ones, and the likeliest turn, of scores [n, 9].

    Returns: [n, 2], negative of positive and the likeliest turn of upright; and that turn, [n], 1 to 3.
    """
    both = scores[:, :UNKNOWN].reshape(-1, 2, len(TURNS))  # [n, polarity, turn]
    unknown, turns = scores[:, UNKNOWN], both.max(1)
    positive, negative = both.max(2).T
    turn = turns[:, 1:].argmax(1) + 1
    polarity_ahead = negative - np.maximum(positive, unknown)
    turn_ahead = turns[:, 1:].max(1) - np.maximum(turns[:, 0], unknown)
    return np.stack([polarity_ahead, turn_ahead], 1), turn


def thumbnail(film: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a grey film, uint8 [H, W], as the network sees it, uint8 [64, 64]; blank if it is too small to judge.

    Of a large film four pixels in each cell are averaged, which do for this, at a fraction of the time of all.
    """
    shorter = min(film.shape)
    if shorter < SMALLEST:
        return np.zeros((SIDE, SIDE), np.uint8)
    if film.shape == (SIDE, SIDE):
        return np.ascontiguousarray(film)
    way = cv2.INTER_NEAREST if shorter >= 2 * SIDE else cv2.INTER_LINEAR
    thin = cv2.resize(film, (2 * SIDE, 2 * SIDE), interpolation=way)
    return np.asarray(cv2.resize(thin, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def film_flags(thumbnails: Sequence[NDArray[np.uint8]]) -> list[str]:
    """Return what each thumbnail looks like, an entry of FLAGS: "" for a film as it should be, or an unclear one."""
    found: list[str] = []
    for start in range(0, len(thumbnails), _BATCH):
        found += network().flags(thumbnails[start : start + _BATCH])
    return found


def appearances(
    thumbnails: Sequence[NDArray[np.uint8]], shapes: Sequence[tuple[int, int]]
) -> list[str]:
    """Return what each film looks like, an entry of FLAGS or STRANGE: "" where nothing is odd or it is too small.

    Args:
        thumbnails: uint8 [64, 64] each.
        shapes: Height and width of the films that they are of.
    """
    looks: list[str] = []
    for start in range(0, len(thumbnails), _BATCH):
        looks += network().appearances(thumbnails[start : start + _BATCH])
    return [
        "" if min(shape) < SMALLEST else look for look, shape in zip(looks, shapes, strict=True)
    ]


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
        if (128 * np.abs(layer.weight).sum(0) + np.abs(layer.bias)).max() >= LARGEST_SUM:
            raise ValueError(f"{path}: a layer's sums are not exact in float32")
    return Network(layers, *(tuple(tensors[name].tolist()) for name in ("doubts", "limits")))
