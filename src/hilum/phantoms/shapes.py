"""Curves and outlines in body coordinates, as arrays of points."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

Points = Sequence[tuple[float, float]] | np.ndarray


def smooth(keys: Points, closed: bool = False, steps: int = 6) -> np.ndarray:
    """Return a curve through the key points (Catmull-Rom), float64 [n, 2]; a key given twice makes a corner."""
    keys = np.asarray(keys, float)
    return np.asarray(_spline(len(keys), closed, steps) @ keys)


@lru_cache(maxsize=64)
def _spline(count: int, closed: bool, steps: int) -> np.ndarray:
    """Return the matrix from key points to points of the curve."""
    basis = 0.5 * np.array([[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]], float)
    t = np.arange(steps) / steps
    weights = np.stack([np.ones_like(t), t, t**2, t**3], 1) @ basis  # [steps, 4]
    spans = count if closed else count - 1
    matrix = np.zeros((spans * steps + (not closed), count))
    for span in range(spans):
        for offset in range(4):
            key = span + offset - 1
            key = key % count if closed else min(max(key, 0), count - 1)
            matrix[span * steps : (span + 1) * steps, key] += weights[:, offset]
    if not closed:
        matrix[-1, -1] = 1
    return matrix


def ellipse(
    centre: tuple[float, float], radii: tuple[float, float], turn: float = 0.0, points: int = 28
) -> np.ndarray:
    """Return the outline of an ellipse, [points, 2]."""
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    x, y = radii[0] * np.cos(angle), radii[1] * np.sin(angle)
    return np.stack(
        [
            centre[0] + x * np.cos(turn) - y * np.sin(turn),
            centre[1] + x * np.sin(turn) + y * np.cos(turn),
        ],
        1,
    )


def lump(
    rng: np.random.Generator, centre: tuple[float, float], radius: float, unevenness: float = 0.25
) -> np.ndarray:
    """Return an uneven round outline, [32, 2]."""
    angle = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    waves = np.arange(2, 6)[:, None]
    swing = rng.normal(0, unevenness, (4, 1)) / waves
    length = radius * (
        1 + (swing * np.cos(waves * angle + rng.uniform(0, 2 * np.pi, (4, 1)))).sum(0)
    )
    stretch = rng.uniform(0.8, 1.25)
    return np.stack(
        [
            centre[0] + length * np.cos(angle) * stretch,
            centre[1] + length * np.sin(angle) / stretch,
        ],
        1,
    )


def normals(curves: np.ndarray) -> np.ndarray:
    """Return unit vectors across the curves, same shape [..., n, 2]."""
    along = np.gradient(curves, axis=-2)
    along /= np.linalg.norm(along, axis=-1, keepdims=True) + 1e-9
    return np.stack([-along[..., 1], along[..., 0]], -1)
