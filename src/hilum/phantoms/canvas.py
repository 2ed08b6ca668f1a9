"""A sheet of pixels addressed in body coordinates: shapes are drawn by OpenCV, so a film costs milliseconds.

Body coordinates: x from -1 (left edge of the film, the patient's right) to 1, y from -1 (top) to 1
(bottom). Points are float arrays [n, 2], or [curves, n, 2] for several of equal length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

_SHIFT = 4
"""Binary digits after the point in the coordinates handed to OpenCV."""


@dataclass(frozen=True)
class Pose:
    """How the body lies on the film: radians, magnification, width over height, and shift in halves of the film."""

    rotation: float = 0.0
    scale: float = 1.0
    stretch: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)


class Canvas:
    """Draws layers (uint8 [S, S], 255 inside) of a square film with S pixels an edge."""

    def __init__(self, side: int, pose: Pose) -> None:
        self.side = side
        self.unit = side / 2 * pose.scale  # pixels per body unit
        turn = np.array(
            [
                [np.cos(pose.rotation), -np.sin(pose.rotation)],
                [np.sin(pose.rotation), np.cos(pose.rotation)],
            ]
        )
        self._turn = (turn * [pose.stretch**0.5, pose.stretch**-0.5] * self.unit).astype(np.float32)
        self._origin = np.float32(side / 2) * (1 + np.array(pose.shift, np.float32)) - np.float32(
            0.5
        )

    def blank(self) -> np.ndarray:
        """Return an empty layer."""
        return np.zeros((self.side, self.side), np.uint8)

    def fill(
        self, *outlines: np.ndarray, onto: np.ndarray | None = None, value: int = 255
    ) -> np.ndarray:
        """Fill closed outlines."""
        layer = self.blank() if onto is None else onto
        for outline in self._fixed(
            outlines
        ):  # one by one: filled together, where two overlap would stay empty
            cv2.fillPoly(layer, [outline], value, cv2.LINE_AA, _SHIFT)
        return layer

    def stroke(
        self,
        curves: np.ndarray | Sequence[np.ndarray],
        width: float,
        onto: np.ndarray | None = None,
        value: int = 255,
    ) -> np.ndarray:
        """Draw open curves of a width in body units; one thinner than a pixel is drawn fainter instead."""
        layer = self.blank() if onto is None else onto
        thickness = width * self.unit
        shade = value if thickness >= 1 else round(value * max(thickness, 0.35))
        points = self._fixed(curves)
        cv2.polylines(layer, points, False, shade, max(1, round(thickness)), cv2.LINE_AA, _SHIFT)
        return layer

    def soften(self, layer: np.ndarray, sigma: float) -> np.ndarray:
        """Blur by a Gaussian of a width in body units; returns float32 [S, S] from 0 to 1.

        Wide blurs run on a smaller copy: nothing fine is left to see after them.
        """
        pixels = sigma * self.unit
        step = max(1, int(pixels / 2.5))
        if step > 1:
            small = max(8, self.side // step)
            layer = cv2.resize(layer, (small, small), interpolation=cv2.INTER_AREA)
            pixels *= small / self.side
        if pixels > 0.35:
            layer = cv2.GaussianBlur(layer, (0, 0), pixels)
        if step > 1:
            layer = cv2.resize(layer, (self.side, self.side), interpolation=cv2.INTER_LINEAR)
        return np.asarray(layer * np.float32(1 / 255), np.float32)

    def cloud(self, rng: np.random.Generator, grain: float) -> np.ndarray:
        """Return smooth noise of unit variance, float32 [S, S], with lumps of about ``grain`` body units."""
        cells = int(np.clip(round(2.5 / grain), 4, self.side))
        noise = rng.standard_normal((cells, cells), dtype=np.float32)
        cloud = cv2.resize(noise, (self.side, self.side), interpolation=cv2.INTER_CUBIC)
        return np.asarray(cloud / max(float(np.std(cloud)), 1e-6), np.float32)

    def _fixed(self, curves: np.ndarray | Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return curves in OpenCV's fixed-point pixels; all of them at once, for each call has its cost."""
        points = np.concatenate(curves).astype(np.float32) @ self._turn.T + self._origin
        fixed = np.rint(points * (1 << _SHIFT)).astype(np.int32)
        ends = np.cumsum([len(curve) for curve in curves]).tolist()
        return [fixed[start:end] for start, end in zip([0, *ends], ends, strict=False)]
