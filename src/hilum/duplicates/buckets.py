"""Which fingerprints are near each other, without comparing all with all: films that share a short code meet.

Each band cuts the space by a few random planes through its middle; the sides on which a fingerprint
lies are its code there. Only films of one code are compared, so a film meets a few dozen others,
however many there are: a band has one more plane whenever the films double, and there are more
bands then (locality-sensitive hashing for angles, Charikar 2002).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from hilum.arrays import FloatArray

BANDS = 32
"""How often films are thrown anew, at least."""
SURE, MISSED = 0.9, 1e-3
"""They are thrown so often that of pairs with that cosine, however many films there are, that share
never meets."""
CROWD = 16
"""Films a code in the mean."""
REACH = 512
"""A film meets at most so many of its code: beyond that only a set of thousands of near copies
gets."""
BLOCK = 1 << 16

Pairs = NDArray[np.int64]


def near_pairs(
    marks: NDArray[np.float16], cosine: float, on_progress: Callable[[int, int], None], most: int
) -> tuple[Pairs, bool, bool]:
    """Return pairs of near fingerprints, nearly all that there are, up to a number.

    Memory is some numbers for each of ``most`` pairs, however many are near.

    Args:
        marks: Fingerprints of unit length, [N, E].
        cosine: At least so near.
        on_progress: Hears how many bands are done, and of how many.
        most: Pairs that are returned at most.

    Returns: int64 [M, 2], first below second, without repeats, the nearest first; whether a code
        was so crowded that some of its films have not met; and whether there were more than
        ``most`` pairs.
    """
    rng = np.random.default_rng(0)
    planes = max(4, int(np.ceil(np.log2(max(len(marks), 1) / CROWD))))
    nearest, crowded, count = _Nearest(most), False, bands(planes)
    for band in range(count):
        codes = _codes(marks, rng.standard_normal((marks.shape[1], planes)).astype(np.float32))
        order = np.argsort(codes, kind="stable")
        for places, cosines in _meetings(marks[order], codes[order], cosine):
            ends = np.sort(order[places], axis=1)
            nearest.add(ends[:, 0] * len(marks) + ends[:, 1], cosines)
        crowded |= bool(_crowds(codes[order]))
        on_progress(band + 1, count)
    pairs = nearest.names()
    return (
        np.stack([pairs // max(len(marks), 1), pairs % max(len(marks), 1)], axis=1),
        crowded,
        nearest.more,
    )


def bands(planes: int) -> int:
    """Return how often films are to be thrown by so many planes.

    >>> bands(10), bands(14), bands(16)
    (32, 57, 79)
    """
    meet = (
        1 - np.arccos(SURE) / np.pi
    ) ** planes  # two films lie on one side of a plane by their angle
    return max(BANDS, int(np.ceil(np.log(MISSED) / np.log1p(-meet))))


class _Nearest:
    """The nearest of the pairs heard of, each once; of equally near ones those of the lower names."""

    def __init__(self, most: int) -> None:
        self.more = False
        """Whether there were others."""
        self._most, self._least = most, -np.inf
        self._names, self._cosines = [np.empty(0, np.int64)], [np.empty(0, np.float32)]
        self._waiting = 0

    def add(self, names: NDArray[np.int64], cosines: FloatArray) -> None:
        """Hear of pairs, [n], each a number, and how near they are."""
        near = cosines >= self._least
        self._names.append(names[near])
        self._cosines.append(cosines[near])
        self._waiting += int(near.sum())
        if self._waiting > max(4 * self._most, BLOCK):
            self._settle()

    def names(self) -> NDArray[np.int64]:
        """Return them, the nearest first."""
        self._settle()
        return self._names[0]

    def _settle(self) -> None:
        names, places = np.unique(np.concatenate(self._names), return_index=True)
        cosines = np.concatenate(self._cosines)[places]
        order = np.argsort(-cosines, kind="stable")[: self._most]
        if len(order) < len(names):
            self.more, self._least = True, float(cosines[order[-1]]) if len(order) else np.inf
        self._names, self._cosines, self._waiting = [names[order]], [cosines[order]], 0


def _codes(marks: NDArray[np.float16], planes: FloatArray) -> NDArray[np.uint32]:
    """Return on which side of each plane the fingerprints lie, as the bits of a number, [N]."""
    bits = (1 << np.arange(planes.shape[1])).astype(np.uint32)
    codes = np.empty(len(marks), np.uint32)
    for start in range(0, len(marks), BLOCK):
        block = marks[start : start + BLOCK].astype(np.float32)
        codes[start : start + BLOCK] = (block @ planes > 0) @ bits
    return codes


def _meetings(
    marks: NDArray[np.float16], codes: NDArray[np.uint32], cosine: float
) -> Iterator[tuple[Pairs, FloatArray]]:
    """Yield pairs of places in the order of codes whose films share a code and are near, with their cosines."""
    for apart in range(1, min(REACH, len(codes) - 1) + 1):
        together = np.flatnonzero(codes[apart:] == codes[:-apart])
        if not len(together):
            return
        for start in range(0, len(together), BLOCK):
            places = together[start : start + BLOCK]
            one, other = marks[places].astype(np.float32), marks[places + apart].astype(np.float32)
            cosines = np.einsum("ij,ij->i", one, other)
            near = cosines >= cosine
            yield np.stack([places[near], places[near] + apart], axis=1), cosines[near]


def _crowds(codes: NDArray[np.uint32]) -> int:
    """Return how many films have more than REACH others of their code after them, in the order of codes."""
    return int((codes[REACH + 1 :] == codes[: -REACH - 1]).sum()) if len(codes) > REACH + 1 else 0
