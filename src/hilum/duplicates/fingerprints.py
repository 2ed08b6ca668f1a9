"""Fingerprints: 64 numbers of a film, nearly equal for an altered copy and unlike those of other films.

Chest films look alike: a usual perceptual hash keeps the coarse picture, which they have in common.
Here the features are learned from the films: of their cosine transforms those directions are kept
in which films differ most, relative to how much a film differs from itself after a small shift,
stretch or zoom; each is scaled to unit spread. Fingerprints of different films are then close to
random, and few pairs have to be compared.

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
from hilum.images.resize import resize

Read = Callable[[NDArray[np.int64]], np.ndarray]
"""From row numbers to films, uint8 [n, size, size]."""
Floats = FloatArray

LENGTH = 64
"""Numbers of a fingerprint."""
EDGE, WAVES = 32, 12
"""Side to which films are reduced, and half waves kept along each axis."""
SAMPLE, ALTERATIONS = 2048, 1024
"""Largest number of films to learn from, and least number of altered films."""
STRETCH, SHIFT = 0.04, 0.02
"""Random alterations: stretched by up to 4 %, shifted by up to 2 % of the side."""
SHRINKAGE = 0.05
"""Shrinkage of the covariance towards its diagonal, so that few films suffice."""
BLOCK = 1024


@dataclass(frozen=True)
class Directions:
    """The directions in which the films of a set differ: the mean of their transforms, and LENGTH axes."""

    mean: Floats
    axes: Floats
    """[WAVES * WAVES - 1, LENGTH]"""

    def fingerprints(self, transforms: Floats) -> Floats:
        """Return fingerprints of unit length, float32 [n, LENGTH]; zeros for a film of one grey."""
        marks = (transforms - self.mean) @ self.axes
        marks[~transforms.any(axis=1)] = 0
        return np.asarray(marks / np.maximum(np.linalg.norm(marks, axis=1, keepdims=True), 1e-6))


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
    waves = _COSINES @ small @ _COSINES.T
    return np.asarray(waves.reshape(len(films), -1)[:, 1:], np.float32)


def learn_directions(read: Read, rows: NDArray[np.int64]) -> Directions:
    """Learn the directions in which these films differ, from a sample; equal films give equal directions.

    Args:
        read: Reads films.
        rows: Rows of the films, ascending; at least a few dozen.
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
    values = np.concatenate(plain).astype(np.float64)
    change = np.concatenate(changes).astype(np.float64)
    mean = values.mean(axis=0)
    between = _shrunk((values - mean).T @ (values - mean) / len(values))
    axes = _discriminants(between, change.T @ change / len(change))
    return Directions(mean.astype(np.float32), axes.astype(np.float32))


def fingerprints(
    read: Read, rows: NDArray[np.int64], progress: Callable[[int], None]
) -> NDArray[np.float16]:
    """Return the fingerprints of films, float16 [n, LENGTH]: 128 bytes a film.

    Args:
        read: Reads films.
        rows: Rows of the films.
        progress: Called with the number of films done, first before any is done.
    """
    progress(0)
    directions = learn_directions(read, rows)
    marks = np.empty((len(rows), LENGTH), np.float16)
    for start in range(0, len(rows), BLOCK):
        films = read(rows[start : start + BLOCK])
        marks[start : start + len(films)] = directions.fingerprints(transforms(films))
        progress(start + len(films))
    return marks


def plain_fingerprints(films: np.ndarray) -> Floats:
    """Return fingerprints, of unit length, of films too few to learn from: fine waves weigh as much as coarse ones.

    Args:
        films: uint8 [n, H, W].

    Returns:
        float32 [n, WAVES * WAVES - 1]; zeros for a film of one grey.
    """
    marks = transforms(films) * np.hypot(*np.mgrid[:WAVES, :WAVES]).ravel()[1:]
    lengths = np.maximum(np.linalg.norm(marks, axis=1, keepdims=True), 1e-6)
    return np.asarray(marks / lengths, np.float32)


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
    waves, positions = np.arange(WAVES)[:, None], np.arange(EDGE) + 0.5
    rows = np.cos(np.pi * waves * positions / EDGE) * np.sqrt(2 / EDGE)
    rows[0] /= np.sqrt(2)
    return np.asarray(rows, np.float32)


_COSINES = _cosines()
