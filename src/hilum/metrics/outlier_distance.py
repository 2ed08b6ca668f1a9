"""Distance of a point from the bulk of many: along the directions of their spread, and off them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hilum.arrays import FloatArray

TRIMMED = 0.02
"""Share of the points, the furthest, that are left out when the bulk is fitted again."""
ROUNDS = 3


@dataclass(frozen=True)
class Bulk:
    """The middle of the bulk, the directions that it spreads in most, and how far it usually reaches."""

    middle: FloatArray
    """[D]"""
    directions: FloatArray
    """[K, D], of length 1."""
    variances: FloatArray
    """[K] of the bulk in each direction."""
    rest: float
    """Variance of the bulk off these directions, in all."""
    usual: float
    """Median of the logarithm of the distance."""
    spread: float
    """Its spread: the median deviation above the median, scaled as a standard deviation."""

    @classmethod
    def of(cls, points: FloatArray, directions: int) -> Bulk:
        """Fit by principal components, leaving out the furthest points once and again.

        Args:
            points: [n, D], more than ``directions``.
            directions: K.

        Raises:
            ValueError: There are too few points.
        """
        if len(points) <= directions:
            raise ValueError(f"{len(points)} points: more than {directions} are needed")
        kept = points
        for _ in range(ROUNDS):
            bulk = cls._fitted(kept, directions)
            distances = bulk._distances(points)
            kept = points[distances <= np.quantile(distances, 1 - TRIMMED)]
        logs = np.log(np.maximum(distances, 1e-12))
        usual = float(np.median(logs))
        spread = 1.4826 * float(np.median(logs[logs >= usual] - usual))
        return cls(
            bulk.middle, bulk.directions, bulk.variances, bulk.rest, usual, max(spread, 1e-6)
        )

    def __call__(self, points: FloatArray) -> FloatArray:
        """Return the distance of points [n, D] from the bulk, in spreads above the usual, [n]."""
        logs = np.log(np.maximum(self._distances(points), 1e-12))
        return np.asarray((logs - self.usual) / self.spread, np.float32)

    def ratio(self, points: FloatArray, others: FloatArray) -> FloatArray:
        """Return the logarithm of how many times further than others [n, D] points [n, D] lie, [n]."""
        ratio = np.log(
            np.maximum(self._distances(points), 1e-12) / np.maximum(self._distances(others), 1e-12)
        )
        return np.asarray(ratio, np.float32)

    @classmethod
    def _fitted(cls, points: FloatArray, directions: int) -> Bulk:
        middle = points.mean(axis=0)
        covariance = np.cov(points, rowvar=False).astype(np.float64)
        values, vectors = np.linalg.eigh(np.atleast_2d(covariance))
        largest = np.argsort(-values)[:directions]
        variances = np.maximum(values[largest], 1e-9).astype(np.float32)
        rest = max(float(values.sum() - values[largest].sum()), 1e-9)
        return cls(middle, vectors[:, largest].T.astype(np.float32), variances, rest, 0.0, 1.0)

    def _distances(self, points: FloatArray) -> FloatArray:
        """Mean square along the directions, in the bulk's variances, plus the square off them in its rest."""
        apart = points - self.middle
        along = apart @ self.directions.T  # [n, K]
        off = np.maximum(np.square(apart).sum(axis=1) - np.square(along).sum(axis=1), 0) / self.rest
        return np.asarray(np.square(along / np.sqrt(self.variances)).mean(axis=1) + off, np.float32)
