"""Findings of shape, air, bone and hardware: what alters the scene rather than filling the lung."""

from __future__ import annotations

import numpy as np

from hilum.phantoms.body import Lung, Scene
from hilum.phantoms.shapes import ellipse, smooth


def cardiomegaly(scene: Scene, rng: np.random.Generator) -> None:
    """A heart wider than half the chest."""
    scale = rng.uniform(1.2, 1.4)
    if scene.lateral:
        anchor = np.array([scene.heart[:, 0].min(), scene.heart[:, 1].max()])
        scene.heart = anchor + (scene.heart - anchor) * [scale, 1 + (scale - 1) * 0.5]
    else:
        anchor = np.array([0.0, scene.heart[:, 1].max()])
        scene.heart = anchor + (scene.heart - anchor) * [scale, 1 + (scale - 1) * 0.35]
    scene.mark("Cardiomegaly", scene.canvas.fill(scene.heart), inside_lung=False)


def enlarged_cardiomediastinum(scene: Scene, rng: np.random.Generator) -> None:
    """An upper mediastinum that bulges to both sides."""
    scale, height = rng.uniform(1.38, 1.8), rng.uniform(-0.46, -0.36)
    outline = scene.mediastinum
    centre = 0.04 if scene.lateral else 0.0
    bulge = 1 + (scale - 1) * np.exp(-(((outline[:, 1] - height) / 0.2) ** 2))
    scene.mediastinum = np.stack([centre + (outline[:, 0] - centre) * bulge, outline[:, 1]], 1)
    area = scene.canvas.fill(scene.mediastinum)
    scene.canvas.fill(
        np.array([(-2.0, -2.0), (2.0, -2.0), (2.0, height - 0.32), (-2.0, height - 0.32)]),
        onto=area,
        value=0,
    )
    scene.mark("Enlarged Cardiomediastinum", area, inside_lung=False)


def pneumothorax(scene: Scene, rng: np.random.Generator) -> None:
    """Black air without vessels between chest wall and collapsed lung, whose border is a thin white line."""
    lung = scene.pick(rng)
    gap, reach = rng.uniform(0.08, 0.22), rng.uniform(0.55, 0.95)
    rows = lung.row(np.linspace(0, reach, 24))
    wall, inner = lung.outer_x(rows), lung.inner_x(rows)
    share = np.linspace(0, 1, 24)
    width = gap * np.sqrt(np.sin(np.pi * (0.12 + 0.88 * share)).clip(0, 1))
    pleura_x = wall - lung.side * np.minimum(width, 0.8 * np.abs(wall - inner) + 0.02)
    pleura = np.stack([pleura_x, rows + 1.1 * gap * (1 - share) ** 3], -1)
    rim = np.stack([wall + 0.03 * lung.side, rows - 0.02], -1)
    crown = np.array(
        [
            [float(inner[0]) - 0.12 * lung.side, pleura[0, 1]],
            [float(inner[0]) - 0.1 * lung.side, rows[0] - 0.05],
        ]
    )
    line = np.concatenate([crown[:1], pleura])
    area = scene.canvas.fill(np.concatenate([line, rim[::-1], crown[1:]]))
    scene.free_air = np.minimum(np.maximum(scene.free_air, area), scene.lung_area)
    scene.canvas.stroke([line], 0.016, scene.lines, 255)
    scene.mark("Pneumothorax", area)


def fracture(scene: Scene, rng: np.random.Generator) -> None:
    """Two to four neighbouring ribs (sometimes the collar bone too) broken with a gap and a step."""
    side, first = rng.random() < 0.5, int(rng.integers(1, 5))
    number, place, step = (
        int(rng.integers(2, 5)),
        rng.uniform(0.45, 0.8),
        rng.choice([-1, 1]) * rng.uniform(0.06, 0.085),
    )
    collar = rng.random() < 0.3
    half = len(scene.ribs) // 2
    start = first if scene.lateral or side else half + first
    area = scene.canvas.blank()
    for rib in range(start, min(start + number, len(scene.ribs))):
        _break(scene, scene.ribs, rib, place + rng.uniform(-0.05, 0.05), step, area)
    if collar and len(scene.clavicles):
        _break(scene, scene.clavicles, int(not side), rng.uniform(0.4, 0.6), 1.2 * step, area)
    scene.mark("Fracture", area, inside_lung=False)


def _break(
    scene: Scene, bones: np.ndarray, index: int, place: float, step: float, area: np.ndarray
) -> None:
    """Shift the far piece of one bone and cut a gap where it broke."""
    bone = bones[index]
    at = int(np.clip(round(place * (len(bone) - 1)), 2, len(bone) - 3))
    spot = bone[at].copy()
    bone[at:] += np.array([0.0, step]) * np.linspace(1, 0.55, len(bone) - at)[:, None]
    gap = ellipse((float(spot[0]), float(spot[1]) + step / 2), (0.026, 0.06))
    scene.canvas.fill(gap, onto=scene.gaps)
    scene.canvas.fill(ellipse((float(spot[0]), float(spot[1]) + step / 2), (0.07, 0.08)), onto=area)


def support_devices(scene: Scene, rng: np.random.Generator) -> None:
    """One to three of: central line, breathing and feeding tubes, pacemaker, chest drain, electrodes."""
    area = scene.canvas.blank()
    kinds = rng.permutation(len(_DEVICES))[: int(rng.integers(1, 4))]
    right = rng.random() < 0.5
    for kind in kinds:
        _DEVICES[kind](scene, rng, scene.lungs[0] if right else scene.lungs[-1], area)
    scene.hardware = np.maximum(scene.hardware, area)
    shown = (area > 30).astype(np.uint8) * 255  # wires thinner than a pixel are faint
    scene.mark("Support Devices", shown, inside_lung=False)


def _tube(
    scene: Scene, keys: list[tuple[float, float]], width: float, area: np.ndarray, value: int = 200
) -> None:
    scene.canvas.stroke([smooth(keys)], width, area, value)


def _central_line(scene: Scene, rng: np.random.Generator, lung: Lung, area: np.ndarray) -> None:
    side = lung.side
    tip = (-0.12 if not scene.lateral else -0.08, rng.uniform(-0.2, 0.05))
    keys = [(side * 0.62, -0.95), (side * 0.45, -0.72), (side * 0.2, -0.66), (-0.06, -0.52), tip]
    _tube(scene, keys, 0.017, area)


def _breathing_tube(scene: Scene, rng: np.random.Generator, _: Lung, area: np.ndarray) -> None:
    top = rng.uniform(-0.02, 0.02)
    _tube(scene, [(top, -1.2), (0.0, -0.8), (0.005, rng.uniform(-0.5, -0.38))], 0.034, area, 180)


def _feeding_tube(scene: Scene, rng: np.random.Generator, _: Lung, area: np.ndarray) -> None:
    back = 0.2 if scene.lateral else 0.0
    keys = [
        (0.02, -1.2),
        (0.02 + back, -0.5),
        (0.03 + back, 0.1),
        (0.06 + back, 0.5),
        (0.25, 0.72),
        (0.42, rng.uniform(0.7, 0.95)),
    ]
    _tube(scene, keys, 0.019, area)


def _pacemaker(scene: Scene, rng: np.random.Generator, lung: Lung, area: np.ndarray) -> None:
    x, y = (-0.45, -0.35) if scene.lateral else (lung.side * rng.uniform(0.46, 0.58), -0.5)
    scene.canvas.fill(ellipse((x, y), (0.075, 0.1), rng.uniform(-0.5, 0.5)), onto=area, value=235)
    _tube(
        scene,
        [(x, y - 0.08), (x * 0.6, -0.7), (-0.06, -0.5), (-0.13, 0.0), (-0.02, 0.3), (0.2, 0.38)],
        0.014,
        area,
    )


def _drain(scene: Scene, rng: np.random.Generator, lung: Lung, area: np.ndarray) -> None:
    low, high = lung.at(1.0, 0.85), lung.at(rng.uniform(0.5, 0.8), rng.uniform(0.08, 0.25))
    middle = lung.at(0.82, 0.55)
    _tube(scene, [(low[0] + 0.3 * lung.side, low[1] + 0.1), low, middle, high], 0.034, area, 180)


def _electrodes(scene: Scene, rng: np.random.Generator, lung: Lung, area: np.ndarray) -> None:
    for spot in rng.uniform([-0.7, -0.6], [0.7, 0.6], (3, 2)):
        x, y = float(spot[0]), float(spot[1])
        scene.canvas.fill(ellipse((x, y), (0.035, 0.035)), onto=area, value=230)
        _tube(
            scene,
            [(x, y), (x * 0.7 + 0.1, y + 0.25), (0.3 * lung.side, 0.8), (0.4 * lung.side, 1.2)],
            0.011,
            area,
        )


_DEVICES = (_central_line, _breathing_tube, _feeding_tube, _pacemaker, _drain, _electrodes)
