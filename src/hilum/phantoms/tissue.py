"""What the rays meet on their way: soft tissue, lungs with their vessels, bones and hardware, as one sum.

Values are in arbitrary units of attenuation: 0 is air beside the body, about 0.6 soft tissue, 0.9
dense bone or metal.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from hilum.phantoms.body import Body, Lung, Scene
from hilum.phantoms.shapes import ellipse, normals, smooth


def attenuation(scene: Scene, body: Body, position: str, rng: np.random.Generator) -> np.ndarray:
    """Return the sum along each ray, float32 [S, S]."""
    canvas = scene.canvas
    heart, middle = _organs(scene)
    solid = np.maximum(heart, middle)
    free = canvas.soften(scene.free_air, 0.006) * (1 - solid)
    out = _flesh(scene, body, position)
    out += 0.08 * solid + 0.06 * heart - 0.46 * _air(scene, solid, rng)
    out -= 0.12 * free * scene.clear
    out += (
        _vessels(scene, rng)
        * (1 - free)
        * (1 - 0.8 * solid)
        * (0.15 * body.vessels * scene.vessel_gain)
    )
    out += _bones(scene, body) * (1 - 0.5 * solid)
    out += 0.18 * canvas.soften(scene.lines, 0.003) * (1 - 0.7 * solid)
    out += 0.42 * canvas.soften(scene.hardware, 0.003)
    return np.asarray(out, np.float32)


def _organs(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Return heart and upper mediastinum, float32 [S, S] each; from the side both lungs lie over them."""
    canvas = scene.canvas
    heart, middle = canvas.fill(scene.heart), canvas.fill(scene.mediastinum)
    if scene.lateral:
        return 0.75 * canvas.soften(heart, 0.03), 0.45 * canvas.soften(middle, 0.04)
    return canvas.soften(heart, 0.014), canvas.soften(middle, 0.014)


def _air(scene: Scene, solid: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return how much air each ray passes, float32 [S, S]; lungs are thinner at their borders."""
    sharp = scene.canvas.soften(scene.lung_area, 0.008)
    thick = scene.canvas.soften(scene.lung_area, 0.08)
    fine, coarse = rng.uniform(0.02, 0.09), rng.uniform(0.03, 0.13)
    texture = 1 + fine * scene.canvas.cloud(rng, 0.06) + coarse * scene.canvas.cloud(rng, 0.3)
    return np.asarray(sharp * (0.5 + 0.5 * thick) * (1 - 0.86 * solid) * scene.clear * texture)


def _flesh(scene: Scene, body: Body, position: str) -> np.ndarray:
    canvas = scene.canvas
    outline, extra = (
        _lateral_flesh(body) if scene.lateral else _frontal_flesh(body, scene.lungs, position)
    )
    trunk = canvas.fill(outline)
    out = 0.28 * canvas.soften(trunk, 0.008) + 0.34 * canvas.soften(trunk, 0.09)
    for shapes, sigma, weight in extra:
        out += weight * canvas.soften(canvas.fill(*shapes), sigma)
    return np.asarray(out, np.float32)


Extra = list[tuple[list[np.ndarray], float, float]]


def _frontal_flesh(body: Body, lungs: list[Lung], position: str) -> tuple[np.ndarray, Extra]:
    """Return the trunk's outline and further shapes with their softness and weight."""
    side = body.chest + 0.10 + 0.07 * body.girth
    half = smooth(
        [(0.2, -1.5), (0.21, -1.0), (0.42, -0.9), (0.9, -0.82), (1.15, -0.6), (1.2, -0.2)]
    )
    flank = smooth(
        [(1.02, 0.05), (side + 0.08, -0.22), (side, 0.1), (side + 0.02, 0.6), (side + 0.08, 1.6)]
    )
    right = np.concatenate([half, flank])
    trunk = np.concatenate([right, right[::-1] * [-1, 1]])
    domes = np.concatenate([lungs[1].base, lungs[0].base[::-1]])
    belly = np.concatenate([domes, [(-1.3, 0.9), (-1.3, 1.8), (1.3, 1.8), (1.3, 0.9)]])
    extra: Extra = [
        ([belly], 0.02, 0.10),
        ([_trachea()], 0.012, -0.09),
        ([_spine()], 0.012, 0.05),
        (_discs(), 0.008, 0.06),
    ]
    if body.breast:
        breasts = [ellipse((s * 0.40, 0.28), (0.28, 0.26 + 0.06 * body.breast)) for s in (-1, 1)]
        extra.append((breasts, 0.03, 0.10 * body.breast))
    if body.girth > 1.0:
        extra.append(
            (
                [
                    ellipse(
                        (0.2 + 0.15 * body.rib_slope, body.floor + 0.2),
                        (0.08 + 0.04 * body.girth, 0.06),
                    )
                ],
                0.012,
                -0.16,
            )
        )  # gas in the stomach
    spread = 0.50 if position == "AP" else 0.66
    blades = [
        smooth(
            [(s * spread, -0.62), (s * (spread + 0.25), -0.68), (s * (spread + 0.14), -0.05)],
            closed=True,
        )
        for s in (-1, 1)
    ]
    extra.append((blades, 0.01, 0.06))
    extra.append(
        ([ellipse((s * 0.92, -0.72), (0.1, 0.11)) for s in (-1, 1)], 0.01, 0.12)
    )  # heads of the arm bones
    return trunk, extra


def _trachea() -> np.ndarray:
    return np.array(
        [
            (-0.035, -1.3),
            (0.035, -1.3),
            (0.04, -0.42),
            (0.1, -0.3),
            (0.0, -0.36),
            (-0.09, -0.3),
            (-0.04, -0.42),
        ]
    )


def _spine() -> np.ndarray:
    return np.array([(-0.075, -1.4), (0.075, -1.4), (0.085, 1.5), (-0.085, 1.5)])


@lru_cache
def _discs() -> list[np.ndarray]:
    """Return the vertebral bodies; what lies between them is less dense."""
    return [
        np.array([(-0.08, y), (0.08, y), (0.075, y + 0.085), (-0.075, y + 0.085)])
        for y in np.arange(-1.1, 1.2, 0.12)
    ]


def _lateral_flesh(body: Body) -> tuple[np.ndarray, Extra]:
    depth, thick = body.chest / 0.7, 0.05 * body.girth
    front = smooth(
        [
            (-0.12, -1.5),
            (-0.2, -0.95),
            (-0.5 * depth - thick, -0.5),
            (-0.66 * depth - thick, 0.1),
            (-0.68 * depth - thick, 1.6),
        ]
    )
    back = smooth(
        [
            (0.66 * depth + thick, 1.6),
            (0.76 * depth + thick, 0.3),
            (0.74 * depth + thick, -0.3),
            (0.5, -0.95),
            (0.35, -1.5),
        ]
    )
    bones = [
        ellipse((0.52 * depth + 0.05 * np.sin(2.2 * y), y), (0.075, 0.05))
        for y in np.arange(-0.95, 1.1, 0.125)
    ]
    belly = np.array(
        [
            (-1.2, body.floor + 0.02),
            (0.6, body.floor + 0.10),
            (1.2, body.floor + 0.3),
            (1.2, 1.8),
            (-1.2, 1.8),
        ]
    )
    arm = smooth(
        [(-0.3, -1.4), (-0.45, -0.85), (0.1, -0.72), (0.6, -0.8), (0.5, -1.4)], closed=True
    )
    plate = smooth(
        [
            (-0.44 * depth - 0.04, -0.5),
            (-0.55 * depth - 0.03, -0.2),
            (-0.62 * depth, 0.15),
            (-0.56 * depth, -0.2),
        ],
        closed=True,
    )
    extra: Extra = [
        (bones, 0.008, 0.16),
        ([belly], 0.05, 0.12),
        ([arm], 0.05, 0.10),
        ([plate], 0.006, 0.14),
    ]
    if body.breast:
        extra.append(([ellipse((-0.66 * depth, 0.3), (0.2, 0.26))], 0.035, 0.14 * body.breast))
    trachea = np.array([(-0.06, -1.3), (0.03, -1.3), (0.09, -0.2), (0.02, -0.2)])
    extra.append(([trachea], 0.012, -0.10))
    return np.concatenate([front, back]), extra


def _vessels(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """Return the lungs' vessels, float32 [S, S]: trees from the hilum, thinner and fainter outwards."""
    canvas, layer = scene.canvas, scene.canvas.blank()
    blobs = [
        ellipse((lung.hilum[0], lung.hilum[1] + 0.03), (0.06, 0.13), 0.25 * lung.side)
        for lung in scene.lungs
    ]
    hila = canvas.soften(canvas.fill(*blobs, value=170), 0.03)
    for width, value, curves in _trees(scene.lungs, rng):
        canvas.stroke(curves, width, layer, value)
    branches = np.minimum(canvas.soften(layer, 0.005), canvas.soften(scene.lung_area, 0.03))
    return np.asarray(hila + branches * (0.3 + 0.7 * scene.clear), np.float32)


_BRANCHES = 9


def _trees(lungs: list[Lung], rng: np.random.Generator) -> list[tuple[float, int, np.ndarray]]:
    """Return branches as (width, brightness, curves), thin ones first."""
    shape = (len(lungs), _BRANCHES)
    across = rng.uniform(0.4, 0.95, shape)
    down = np.linspace(0.08, 0.98, _BRANCHES) + rng.normal(0, 0.04, shape)
    trunks, twigs = [], []
    for lung, reach, heights in zip(lungs, across, down, strict=True):
        y = lung.row(heights)
        inner = lung.inner_x(y)
        ends = np.stack([inner + reach * (lung.outer_x(y) - inner), y], -1)
        roots = np.array(lung.hilum) + rng.normal(0, 1, ends.shape) * [0.015, 0.05]
        curves = _bent(roots, ends, 0.04, rng)  # [branches, 7, 2]
        trunks.append(curves)
        for joint in (2, 3, 4):
            twigs.append(_bent(curves[:, joint], ends + rng.normal(0, 0.13, ends.shape), 0.03, rng))
    trunk, twig = np.concatenate(trunks), np.concatenate(twigs)
    return [
        (0.008, 70, twig),
        (0.010, 100, twig[:, :5]),
        (0.012, 120, trunk),
        (0.018, 160, trunk[:, :5]),
        (0.028, 200, trunk[:, :3]),
    ]


def _bent(start: np.ndarray, ends: np.ndarray, bend: float, rng: np.random.Generator) -> np.ndarray:
    """Return bent curves from n points to n others, [n, 7, 2]."""
    t = np.linspace(0, 1, 7)[:, None]
    sag = rng.normal(0, bend, (len(ends), 1, 2)) * np.sin(np.pi * t)
    return np.asarray(start[:, None] + (ends - start)[:, None] * t + sag)


def _bones(scene: Scene, body: Body) -> np.ndarray:
    """Return ribs and collar bones, float32 [S, S]; ribs hardly show where no lung lies behind them."""
    out = (0.10 if scene.lateral else 0.14) * _tubes(scene, scene.ribs, scene.rib_width)
    if len(scene.front_ribs):
        out += 0.075 * _tubes(scene, scene.front_ribs, scene.rib_width * 1.15)
    out *= 0.35 + 0.65 * scene.canvas.soften(scene.lung_area, 0.04)
    if len(scene.clavicles):
        out += 0.14 * _tubes(scene, scene.clavicles, 0.058)
    return np.asarray(out * body.bone, np.float32)


def _tubes(scene: Scene, curves: np.ndarray, width: float) -> np.ndarray:
    canvas = scene.canvas
    across = normals(curves) * (width / 2)
    layer = canvas.stroke(curves, width, value=130)
    canvas.stroke(np.concatenate([curves - across, curves + across]), 0.009, layer, 255)
    layer[scene.gaps > 127] = 0
    return canvas.soften(layer, 0.004)
