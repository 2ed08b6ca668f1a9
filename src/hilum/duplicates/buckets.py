"""Which fingerprints are near each other, without comparing all with all: films that share a short code meet.

Each band cuts the space by a few random planes through its middle; the sides on which a fingerprint lies are its code
there. Only films of one code are compared, so a film meets a few dozen others, however many there are: a band has one
more plane whenever the films double (locality-sensitive hashing for angles, Charikar 2002).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

BANDS = 32
"""How often films are thrown anew: of fingerprints with cosine 0.9 one in a thousand never meets among a million."""
CROWD = 16
"""Films a code in the mean."""
REACH = 512
"""A film meets at most so many of its code: beyond that only a set of thousands of near copies gets."""
BLOCK = 1 << 16

Pairs = NDArray[np.int64]


def near_pairs(marks: NDArray[np.float16], cosine: float, said: Callable[[int], None]) -> tuple[Pairs, bool]:
    """Return pairs of near fingerprints, nearly all that there are.

    Args:
        marks: Fingerprints of unit length, [N, E].
        cosine: At least so near.
        said: Hears how many of BANDS are done.

    Returns:
        int64 [M, 2], first below second, without repeats, the nearest first; and whether a code was so crowded that
        some of its films have not met.
    """
    rng = np.random.default_rng(0)
    planes = max(4, int(np.ceil(np.log2(max(len(marks), 1) / CROWD))))
    found, nearness, crowded = [np.empty(0, np.int64)], [np.empty(0, np.float32)], False
    for band in range(BANDS):
        codes = _codes(marks, rng.standard_normal((marks.shape[1], planes)).astype(np.float32))
        order = np.argsort(codes, kind="stable")
        for places, cosines in _meetings(marks[order], codes[order], cosine):
            ends = np.sort(order[places], axis=1)
            found.append(ends[:, 0] * len(marks) + ends[:, 1])
            nearness.append(cosines)
        crowded |= bool(_crowds(codes[order]))
        said(band + 1)
    pairs, places = np.unique(np.concatenate(found), return_index=True)
    pairs = pairs[np.argsort(-np.concatenate(nearness)[places], kind="stable")]
    return np.stack([pairs // max(len(marks), 1), pairs % max(len(marks), 1)], axis=1), crowded


def _codes(marks: NDArray[np.float16], planes: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Return on which side of each plane the fingerprints lie, as the bits of a number, [N]."""
    bits = (1 << np.arange(planes.shape[1])).astype(np.uint32)
    codes = np.empty(len(marks), np.uint32)
    for start in range(0, len(marks), BLOCK):
        block = marks[start : start + BLOCK].astype(np.float32)
        codes[start : start + BLOCK] = (block @ planes > 0) @ bits
    return codes


def _meetings(
    marks: NDArray[np.float16], codes: NDArray[np.uint32], cosine: float
) -> Iterator[tuple[Pairs, NDArray[np.float32]]]:
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
