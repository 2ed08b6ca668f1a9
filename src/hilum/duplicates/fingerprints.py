"""A film as 64 numbers that an altered copy nearly shares and another patient's film does not.

Chest films look alike, so what a usual perceptual hash keeps (the coarse picture) is what they have
in common. Here the films themselves say what sets them apart: of their cosine transforms those
directions are kept in which films differ most, compared with how much a film differs from itself
after a small shift, stretch or zoom; each is brought to unit spread. Fingerprints of different
films are then as good as random, and few pairs have to be looked at.

Source: the cosine transform as in Zauner 2010 (perceptual hashes); the directions are Fisher's
discriminants, as in Strecha 2012 (LDAHash), with drawn alterations in place of labelled pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.arrays import FloatArray
from hilum.images.enhance import resize

Read = Callable[[NDArray[np.int64]], np.ndarray]
"""From row numbers to films, uint8 [n, size, size]."""
Floats = FloatArray

LENGTH = 64
"""Numbers a fingerprint."""
EDGE, WAVES = 32, 12
"""Films are shrunk to that edge, and so many half waves an axis are kept."""
SAMPLE, ALTERATIONS = 2048, 1024
"""Films learned from at most, and altered films at least."""
STRETCH, SHIFT = 0.04, 0.02
"""How far alterations that are drawn go: stretched by up to 4 %, shifted by up to 2 % of the
edge."""
SHRINKAGE = 0.05
"""Share of the spread that is taken as independent, so that few films suffice."""
BLOCK = 1024


@dataclass(frozen=True)
class Directions:
    """What sets the films of a set apart: the mean of their transforms, and LENGTH directions from it."""

    mean: Floats
    axes: Floats
    """[WAVES * WAVES - 1, LENGTH]"""

    def fingerprints(self, transforms: Floats) -> Floats:
        """Return fingerprints of unit length, float32 [n, LENGTH]; zeros for a film of one grey."""
        found = (transforms - self.mean) @ self.axes
        found[~transforms.any(axis=1)] = 0
        return np.asarray(found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-6))


def transforms(films: np.ndarray) -> Floats:
    """Return the cosine transforms of films, whatever their brightness and contrast.

    Args:
        films: uint8 [n, H, W].

    Returns:
        float32 [n, WAVES * WAVES - 1], without the constant.
    """
    small: Floats = np.stack([resize(film, EDGE, EDGE) for film in films]).astype(np.float32)
    small -= small.mean(axis=(1, 2), keepdims=True)
    small /= small.std(axis=(1, 2), keepdims=True) + 1
    found = _COSINES @ small @ _COSINES.T
    return np.asarray(found.reshape(len(films), -1)[:, 1:], np.float32)


def learn_directions(read: Read, rows: NDArray[np.int64]) -> Directions:
    """Return what sets these films apart, from a sample of them; the same films give the same directions.

    Args:
        read: Reads films.
        rows: Which films, ascending; at least a few dozen.
    """
    rng = np.random.default_rng(0)
    sample = rows[np.linspace(0, len(rows) - 1, min(SAMPLE, len(rows))).astype(np.int64)]
    plain, changes = [], []
    for start in range(0, len(sample), BLOCK):
        films = read(sample[start : start + BLOCK])
        plain.append(transforms(films))
        for _ in range(-(-ALTERATIONS // len(sample))):
            changes.append(
                transforms(np.stack([_altered(film, rng) for film in films])) - plain[-1]
            )
    found, change = (
        np.concatenate(plain).astype(np.float64),
        np.concatenate(changes).astype(np.float64),
    )
    mean = found.mean(axis=0)
    axes = _discriminants(
        _shrunk((found - mean).T @ (found - mean) / len(found)), change.T @ change / len(change)
    )
    return Directions(mean.astype(np.float32), axes.astype(np.float32))


def fingerprints(
    read: Read, rows: NDArray[np.int64], on_progress: Callable[[int], None]
) -> NDArray[np.float16]:
    """Return the fingerprints of films, float16 [n, LENGTH]: 128 bytes a film.

    Args:
        read: Reads films.
        rows: Which films.
        on_progress: Hears how many are done.
    """
    directions = learn_directions(read, rows)
    found = np.empty((len(rows), LENGTH), np.float16)
    for start in range(0, len(rows), BLOCK):
        films = read(rows[start : start + BLOCK])
        found[start : start + len(films)] = directions.fingerprints(transforms(films))
        on_progress(start + len(films))
    return found


def plain_fingerprints(films: np.ndarray) -> Floats:
    """Return fingerprints, of unit length, of films too few to learn from: fine waves count as much as broad ones.

    Args:
        films: uint8 [n, H, W].

    Returns:
        float32 [n, WAVES * WAVES - 1]; zeros for a film of one grey.
    """
    found = transforms(films) * np.hypot(*np.mgrid[:WAVES, :WAVES]).ravel()[1:]
    return np.asarray(
        found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-6), np.float32
    )


def _discriminants(between: np.ndarray, within: np.ndarray) -> np.ndarray:
    """Return the directions of the greatest ratio of the two spreads, each of unit spread between films."""
    floor = 1e-6 * max(float(np.trace(within)), 1e-12) / len(within)
    factor = np.linalg.inv(np.linalg.cholesky(within + floor * np.eye(len(within))))
    axes = factor.T @ np.linalg.eigh(factor @ between @ factor.T)[1][:, ::-1][:, :LENGTH]
    spread = np.sqrt(np.einsum("ij,ik,kj->j", axes, between, axes))
    return np.asarray(axes / np.maximum(spread, 1e-12))


def _shrunk(spread: np.ndarray) -> np.ndarray:
    return np.asarray((1 - SHRINKAGE) * spread + SHRINKAGE * np.diag(np.diag(spread)))


def _altered(film: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the film stretched and shifted a little: half the time by one factor, half by one for each axis."""
    size = film.shape[0]
    middle = (size - 1) / 2
    factors = 1 + rng.uniform(-STRETCH, STRETCH, 2)
    if rng.random() < 0.5:
        factors[1] = factors[0]
    shifts = middle - factors * middle + rng.uniform(-SHIFT, SHIFT, 2) * size
    matrix = np.array([[factors[0], 0, shifts[0]], [0, factors[1], shifts[1]]], np.float32)
    return cv2.warpAffine(film, matrix, (size, size), borderMode=cv2.BORDER_REPLICATE)


def _cosines() -> Floats:
    """Return the first WAVES rows of the orthonormal cosine transform (DCT-II) of length EDGE."""
    waves, places = np.arange(WAVES)[:, None], np.arange(EDGE) + 0.5
    rows = np.cos(np.pi * waves * places / EDGE) * np.sqrt(2 / EDGE)
    rows[0] /= np.sqrt(2)
    return np.asarray(rows, np.float32)


_COSINES = _cosines()
