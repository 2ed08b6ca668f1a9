"""The chest from the side, front on the film's left: where everything lies, as shapes."""

from __future__ import annotations

import numpy as np

from hilum.phantoms.body import Body, Lung, Scene
from hilum.phantoms.canvas import Canvas
from hilum.phantoms.shapes import smooth

_T = np.linspace(0, 1, 14)


def lateral_scene(body: Body, canvas: Canvas, breath: float) -> Scene:
    """Return the shapes of a healthy chest from the side."""
    lung = _lung(body, body.floor + breath)
    ribs = _ribs(body, lung)
    return Scene(
        canvas=canvas,
        lateral=True,
        lungs=[lung],
        heart=_heart(body.heart, body.floor + breath),
        mediastinum=_mediastinum(body.mediastinum),
        ribs=ribs,
        front_ribs=ribs[:0],
        clavicles=ribs[:0],
        rib_width=0.046,
    )


def _lung(body: Body, floor: float) -> Lung:
    top, depth = body.apex - 0.02, body.chest / 0.7
    outer = smooth(
        [
            (0.05, top),
            (0.30, top + 0.10),
            (0.50 * depth, top + 0.34),
            (0.60 * depth, -0.1),
            (0.63 * depth, 0.2),
            (0.60 * depth, floor + 0.12),
            (0.57 * depth, floor + 0.27),
        ]
    )
    base = smooth(
        [
            (0.57 * depth, floor + 0.27),
            (0.47 * depth, floor + 0.12),
            (0.25, floor),
            (-0.05, floor - 0.06),
            (-0.32 * depth, floor - 0.03),
            (-0.52 * depth, floor + 0.06),
        ]
    )
    inner = smooth(
        [
            (0.05, top),
            (-0.14, top + 0.10),
            (-0.32 * depth, top + 0.30),
            (-0.46 * depth, -0.2),
            (-0.53 * depth, 0.08),
            (-0.52 * depth, floor + 0.06),
        ]
    )
    return Lung(1, inner, outer, base, (0.06, -0.12))


def _heart(size: float, floor: float) -> np.ndarray:
    """Return the heart behind the breastbone; a larger one extends backwards and up, as on films."""
    keys = [
        (-0.10, -0.16),
        (-0.33, -0.04),
        (-0.47, 0.14),
        (-0.50, floor),
        (-0.30, floor + 0.03),
        (-0.02, floor),
    ]
    outline = smooth([*keys, (0.13, floor - 0.12), (0.13, 0.06), (0.04, -0.10)], closed=True)
    anchor = np.array([-0.48, floor])
    return np.asarray(anchor + (outline - anchor) * size)


def _mediastinum(width: float) -> np.ndarray:
    """Return the arch of the aorta and the great vessels."""
    keys = [
        (-0.12, -0.75),
        (-0.14, -0.5),
        (-0.16, -0.2),
        (0.0, -0.12),
        (0.20, -0.2),
        (0.23, -0.42),
        (0.14, -0.55),
        (0.06, -0.75),
    ]
    outline = smooth(keys, closed=True)
    centre = np.array([0.03, -0.4])
    return np.asarray(centre + (outline - centre) * np.array([width, 1.0]))


def _ribs(body: Body, lung: Lung) -> np.ndarray:
    """Return ribs from the spine forward and down, [ribs, n, 2]; both sides lie nearly over each other."""
    number = np.arange(10)[:, None]
    start = body.apex + 0.08 + number * body.rib_gap
    drop = (0.26 + 0.02 * number) * body.rib_slope
    back = lung.outer_x(start) - 0.02
    front = lung.inner_x(start + drop) + 0.10
    x = back + (front - back) * _T
    y = start + drop * np.sin(np.pi * _T / 2) ** 1.5
    return np.stack([x, y], -1)
