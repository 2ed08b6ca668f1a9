"""Near fingerprints without comparing all pairs: locality-sensitive hashing for angles (Charikar 2002).

Each band cuts the space by a few random planes through the origin; the sides on which a fingerprint
is are the bits of its code. Only films of equal code are compared, a few dozen each, however many
there are: a band has one more plane for each doubling of the films, and there are more bands then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from hilum.arrays import FloatArray

BANDS = 32
"""Number of bands, at least."""
SURE, MISSED = 0.9, 1e-3
"""There are enough bands that, of pairs with this cosine, at most this fraction never has an equal
code."""
CROWD = 16
"""Mean number of films a code."""
REACH = 512
"""A film is compared with at most so many of its code: only sets of thousands of near copies exceed
it."""
BLOCK = 1 << 16

Pairs = NDArray[np.int64]


def near_pairs(
    marks: NDArray[np.float16], cosine: float, progress: Callable[[int, int], None], most: int
) -> tuple[Pairs, bool, bool]:
    """Return nearly all pairs of near fingerprints, up to a number.

    Memory is some numbers for each of ``most`` pairs, however many are near.

    Args:
        marks: Fingerprints of unit length, [N, E].
        cosine: Smallest cosine of a pair.
        progress: Called with the bands done and their number, first before any is done.
        most: Largest number of pairs.

    Returns: int64 [M, 2], first below second, without repeats, the nearest first; whether a code
        was so crowded that some of its films were not compared; and whether there were more than
        ``most`` pairs.
    """
    rng = np.random.default_rng(0)
    planes = max(4, int(np.ceil(np.log2(max(len(marks), 1) / CROWD))))
    nearest, crowded, count = _Nearest(most), False, bands(planes)
    progress(0, count)
    for band in range(count):
        codes = _codes(marks, rng.standard_normal((marks.shape[1], planes)).astype(np.float32))
        order = np.argsort(codes, kind="stable")
        for positions, cosines in _near_in_code(marks[order], codes[order], cosine):
            ends = np.sort(order[positions], axis=1)
            nearest.add(ends[:, 0] * len(marks) + ends[:, 1], cosines)
        crowded |= bool(_crowds(codes[order]))
        progress(band + 1, count)
    pairs = nearest.names()
    return (
        np.stack([pairs // max(len(marks), 1), pairs % max(len(marks), 1)], axis=1),
        crowded,
        nearest.more,
    )


def bands(planes: int) -> int:
    """Return the number of bands of so many planes.

    >>> bands(10), bands(14), bands(16)
    (32, 57, 79)
    """
    # Two films are on one side of a random plane with a probability that their angle gives.
    equal_code = (1 - np.arccos(SURE) / np.pi) ** planes
    return max(BANDS, int(np.ceil(np.log(MISSED) / np.log1p(-equal_code))))


class _Nearest:
    """The nearest of the pairs added, each once; of equally near ones those of the lower names."""

    def __init__(self, most: int) -> None:
        self.more = False
        """Whether there were others."""
        self._most, self._least = most, -np.inf
        self._names, self._cosines = [np.empty(0, np.int64)], [np.empty(0, np.float32)]
        self._waiting = 0

    def add(self, names: NDArray[np.int64], cosines: FloatArray) -> None:
        """Add pairs, [n], each named by a number, with their cosines."""
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
        names, first = np.unique(np.concatenate(self._names), return_index=True)
        cosines = np.concatenate(self._cosines)[first]
        order = np.argsort(-cosines, kind="stable")[: self._most]
        if len(order) < len(names):
            self.more, self._least = True, float(cosines[order[-1]]) if len(order) else np.inf
        self._names, self._cosines, self._waiting = [names[order]], [cosines[order]], 0


def _codes(marks: NDArray[np.float16], planes: FloatArray) -> NDArray[np.uint32]:
    """Return the side of each plane on which the fingerprints are, as the bits of a number, [N]."""
    bits = (1 << np.arange(planes.shape[1])).astype(np.uint32)
    codes = np.empty(len(marks), np.uint32)
    for start in range(0, len(marks), BLOCK):
        block = marks[start : start + BLOCK].astype(np.float32)
        codes[start : start + BLOCK] = (block @ planes > 0) @ bits
    return codes


def _near_in_code(
    marks: NDArray[np.float16], codes: NDArray[np.uint32], cosine: float
) -> Iterator[tuple[Pairs, FloatArray]]:
    """Yield pairs of positions in the order of codes whose films have equal codes and are near, with their cosines."""
    for apart in range(1, min(REACH, len(codes) - 1) + 1):
        together = np.flatnonzero(codes[apart:] == codes[:-apart])
        if not len(together):
            return
        for start in range(0, len(together), BLOCK):
            left = together[start : start + BLOCK]
            first, second = marks[left].astype(np.float32), marks[left + apart].astype(np.float32)
            cosines = np.einsum("ij,ij->i", first, second)
            near = cosines >= cosine
            yield np.stack([left[near], left[near] + apart], axis=1), cosines[near]


def _crowds(codes: NDArray[np.uint32]) -> int:
    """Return how many films have more than REACH others of their code after them, in the order of codes."""
    return int((codes[REACH + 1 :] == codes[: -REACH - 1]).sum()) if len(codes) > REACH + 1 else 0
