"""The chest from the front (PA) or the back (AP): where everything lies, as shapes."""

from __future__ import annotations

import numpy as np

from hilum.phantoms.body import Body, Lung, Scene
from hilum.phantoms.canvas import Canvas
from hilum.phantoms.shapes import smooth

_RIBS = 10
_T = np.linspace(0, 1, 14)


def frontal_scene(body: Body, canvas: Canvas, bedside: bool, breath: float) -> Scene:
    """Return the shapes of a healthy chest; ``breath`` lowers (positive) or raises the diaphragm, in body units."""
    floor = body.floor + breath - 0.06 * bedside
    lungs = [_lung(body, side, floor + 0.04 * (side > 0)) for side in (-1, 1)]
    hind = np.concatenate([_hind_ribs(body, lung) for lung in lungs])
    front = np.concatenate([_front_ribs(body, lung) for lung in lungs])
    return Scene(
        canvas=canvas,
        lateral=False,
        lungs=lungs,
        heart=_heart(body.heart * (1.1 if bedside else 1.0), floor),
        mediastinum=_mediastinum(body.mediastinum * (1.1 if bedside else 1.0)),
        ribs=hind,
        front_ribs=front,
        clavicles=np.stack([_clavicle(body, side, bedside) for side in (-1, 1)]),
        rib_width=0.052,
    )


def _lung(body: Body, side: int, floor: float) -> Lung:
    """Return one lung. Keys are in shares of the chest's half width from the midline."""
    top, width = body.apex, body.chest
    angle = floor + 0.22  # costophrenic angle
    outer = smooth(
        [
            (0.36 * width, top),
            (0.62 * width, top + 0.10),
            (0.84 * width, top + 0.34),
            (0.95 * width, -0.12),
            (1.0 * width, 0.16),
            (1.01 * width, angle - 0.08),
            (1.0 * width, angle),
        ]
    )
    base = smooth(
        [
            (1.0 * width, angle),
            (0.93 * width, angle - 0.11),
            (0.74 * width, floor + 0.02),
            (0.5 * width, floor - 0.02),
            (0.28 * width, floor + 0.03),
            (0.1, floor + 0.12),
        ]
    )
    inner = smooth(
        [
            (0.36 * width, top),
            (0.17, top + 0.07),
            (0.115, top + 0.3),
            (0.10, -0.2),
            (0.09, 0.1),
            (0.1, floor + 0.12),
        ]
    )
    flip = np.array([side, 1.0])
    hilum = (side * 0.17, -0.13 - 0.03 * (side > 0))
    return Lung(side, inner * flip, outer * flip, base * flip, hilum)


def _heart(size: float, floor: float) -> np.ndarray:
    bottom = floor + 0.14
    keys = [(-0.10, -0.18), (-0.17, -0.02), (-0.20, 0.14), (-0.17, bottom - 0.06), (-0.05, bottom)]
    keys += [
        (0.2, bottom + 0.02),
        (0.38, bottom - 0.04),
        (0.41, bottom - 0.16),
        (0.33, 0.08),
        (0.21, -0.10),
        (0.13, -0.22),
    ]
    outline = smooth(keys, closed=True)
    outline[:, 0] *= size
    return outline


def _mediastinum(width: float) -> np.ndarray:
    """Return the upper mediastinum with the aortic knob on the film's right."""
    keys = [
        (-0.08, -1.05),
        (-0.11, -0.7),
        (-0.125, -0.45),
        (-0.12, -0.2),
        (-0.12, 0.1),
        (0.12, 0.1),
        (0.13, -0.18),
    ]
    keys += [
        (0.15, -0.27),
        (0.135, -0.34),
        (0.17, -0.43),
        (0.145, -0.53),
        (0.10, -0.66),
        (0.08, -1.05),
    ]
    outline = smooth(keys, closed=True)
    outline[:, 0] *= width
    return outline


def _hind_ribs(body: Body, lung: Lung) -> np.ndarray:
    """Return ribs from the spine out and down to the chest wall, [ribs, n, 2]."""
    number = np.arange(_RIBS)[:, None]
    start = body.apex + 0.03 + number * body.rib_gap  # [ribs, 1]
    drop = (0.10 + 0.024 * number) * body.rib_slope
    wall = lung.outer_x(start + drop) * lung.side + 0.015
    x = 0.09 + (wall - 0.09) * np.sin(np.pi * _T / 2)
    y = start - 0.035 * np.sin(np.pi * _T) + drop * (1 - np.cos(np.pi * _T / 2))
    return np.stack([x * lung.side, y], -1)


def _front_ribs(body: Body, lung: Lung) -> np.ndarray:
    """Return ribs from the chest wall in and down to where their cartilage begins, [ribs - 3, n, 2]."""
    hind = _hind_ribs(body, lung)[: _RIBS - 3]
    number = np.arange(_RIBS - 3)[:, None]
    wall, height = hind[:, -1:, 0] * lung.side, hind[:, -1:, 1]
    end = np.minimum(0.26 + 0.02 * number, wall - 0.1)
    x = wall - (wall - end) * (1 - np.cos(np.pi * _T / 2))
    y = height + (0.16 + 0.012 * number) * body.rib_slope * np.sin(np.pi * _T / 2)
    return np.stack([x * lung.side, y], -1)


def _clavicle(body: Body, side: int, bedside: bool) -> np.ndarray:
    base = body.apex + 0.17 - 0.05 * bedside
    keys = [
        (0.07, base + 0.03),
        (0.25, base - 0.015),
        (0.45, base - 0.06),
        (0.62, base - 0.12),
        (0.80, base - 0.12),
    ]
    return np.asarray(smooth(keys) * np.array([side, 1.0]))
