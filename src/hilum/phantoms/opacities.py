"""Findings that fill the lung's air: how each looks on a film, and where it lies.

Every function takes a scene and the random numbers of one finding in one study, and draws the same
number of them for every projection up to small differences, so a study's films show the same thing.
"""

from __future__ import annotations

import numpy as np

from hilum.phantoms.body import Lung, Scene
from hilum.phantoms.shapes import ellipse, lump, normals, smooth


def consolidation(scene: Scene, rng: np.random.Generator) -> None:
    """A dense area with uneven borders, in which the bronchi stay dark."""
    lung = scene.pick(rng)
    centre = lung.at(rng.uniform(0.35, 0.7), rng.uniform(0.25, 0.8))
    radius = rng.uniform(0.15, 0.24)
    area = scene.canvas.fill(lump(rng, centre, radius, 0.5))
    dense = scene.canvas.soften(area, 0.022) * (
        rng.uniform(0.55, 0.85) + 0.10 * scene.canvas.cloud(rng, 0.1)
    ).clip(0, 1)
    bronchi = scene.canvas.stroke(_branches(rng, lung.hilum, centre, radius, 4), 0.022)
    scene.cloud_lung(dense * (1 - 0.6 * scene.canvas.soften(bronchi, 0.006)))
    scene.mark("Consolidation", area)


def _branches(
    rng: np.random.Generator,
    start: tuple[float, float],
    end: tuple[float, float],
    spread: float,
    n: int,
) -> list[np.ndarray]:
    """Return curves that fan out from a point towards an area."""
    ends = np.asarray(end) + rng.uniform(-0.7, 0.7, (n, 2)) * spread
    bend = (np.asarray(start) + ends) / 2 + rng.normal(0, 0.03, (n, 2))
    return [
        smooth([start, tuple(middle), tuple(last)]) for middle, last in zip(bend, ends, strict=True)
    ]


def pneumonia(scene: Scene, rng: np.random.Generator) -> None:
    """Many fluffy patches that run together in one part of a lung."""
    lung = scene.pick(rng)
    middle = np.array(lung.at(rng.uniform(0.4, 0.65), rng.uniform(0.3, 0.8)))
    patches = [
        lump(rng, (float(x), float(y)), rng.uniform(0.03, 0.065), 0.6)
        for x, y in middle + rng.normal(0, 1, (11, 2)) * [0.11, 0.15]
    ]
    area = scene.canvas.fill(*patches)
    scene.cloud_lung(scene.canvas.soften(area, 0.016) * rng.uniform(0.42, 0.7))
    scene.mark("Pneumonia", area)


def lung_opacity(scene: Scene, rng: np.random.Generator) -> None:
    """A large hazy veil without borders: the opacity that a report names without naming its cause."""
    lung = scene.pick(rng)
    centre = lung.at(rng.uniform(0.35, 0.65), rng.uniform(0.2, 0.75))
    area = scene.canvas.fill(
        ellipse(centre, (rng.uniform(0.22, 0.32), rng.uniform(0.26, 0.4)), rng.uniform(-0.5, 0.5))
    )
    scene.cloud_lung(scene.canvas.soften(area, 0.07) * rng.uniform(0.3, 0.52))
    scene.mark("Lung Opacity", area)


def edema(scene: Scene, rng: np.random.Generator) -> None:
    """Haze around both hila, swollen vessels, and Kerley's short lines at the outer border."""
    strength, reach = rng.uniform(0.24, 0.48), rng.uniform(0.16, 0.24)
    wings = [
        ellipse(
            (lung.hilum[0] + 0.1 * lung.side * (not scene.lateral), lung.hilum[1] + 0.05),
            (reach, reach * 1.5),
        )
        for lung in scene.lungs
    ]
    haze = scene.canvas.fill(*wings)
    uneven = (1 + 0.25 * scene.canvas.cloud(rng, 0.12)).clip(0.3, 1.4)
    scene.cloud_lung((scene.canvas.soften(haze, 0.06) * strength * uneven).clip(0, 1))
    scene.vessel_gain = rng.uniform(1.2, 1.6)
    lines = [line for lung in scene.lungs for line in _kerley(rng, lung)]
    scene.canvas.stroke(lines, 0.011, scene.lines, 150)
    scene.mark("Edema", scene.canvas.stroke(lines, 0.02, haze))


def _kerley(rng: np.random.Generator, lung: Lung) -> list[np.ndarray]:
    heights = lung.row(np.linspace(0.62, 0.97, 9) + rng.normal(0, 0.01, 9))
    wall = lung.outer_x(heights) - lung.side * 0.015
    inward = lung.side * rng.uniform(0.07, 0.12, 9)
    start, end = np.stack([wall, heights], -1), np.stack([wall - inward, heights + 0.012], -1)
    return list(np.stack([start, end], 1))


def lung_lesion(scene: Scene, rng: np.random.Generator) -> None:
    """One to three round masses with sharp borders."""
    number = int(rng.integers(1, 4))
    masses = []
    for _ in range(number):
        lung = scene.pick(rng)
        centre = lung.at(rng.uniform(0.35, 0.8), rng.uniform(0.15, 0.85))
        masses.append(lump(rng, centre, rng.uniform(0.05, 0.08) + 0.025 * (number == 1), 0.08))
    area = scene.canvas.fill(*masses)
    scene.cloud_lung(scene.canvas.soften(area, 0.006) * rng.uniform(0.6, 0.9))
    scene.mark("Lung Lesion", area)


def atelectasis(scene: Scene, rng: np.random.Generator) -> None:
    """One to three dense bands across the lower lung, where it has collapsed to a plate."""
    lung = scene.pick(rng)
    bands = []
    for _ in range(int(rng.integers(1, 4))):
        down, tilt = rng.uniform(0.5, 0.92), rng.uniform(-0.16, 0.16)
        start, end = (
            np.array(lung.at(rng.uniform(0.05, 0.25), down)),
            np.array(lung.at(rng.uniform(0.75, 0.98), down)),
        )
        middle = (start + end) / 2 + [0, rng.uniform(-0.03, 0.03)]
        lean = np.array([0, tilt / 2])
        bands.append(smooth(np.stack([start + lean, middle, end - lean])))
    width = rng.uniform(0.028, 0.05)
    area = scene.canvas.stroke(bands, width)
    scene.cloud_lung(scene.canvas.soften(area, 0.008) * rng.uniform(0.5, 0.82))
    scene.mark("Atelectasis", area)


def pleural_effusion(scene: Scene, rng: np.random.Generator) -> None:
    """Fluid that fills a lung's base and climbs the chest wall in a meniscus; in a third of studies on both sides."""
    chosen, both = scene.pick(rng), rng.random() < 0.33
    depth = rng.uniform(0.06, 0.36)
    area = scene.canvas.blank()
    for lung in scene.lungs:
        if lung is chosen or both:
            scene.canvas.fill(_fluid(lung, depth if lung is chosen else 0.6 * depth), onto=area)
    scene.cloud_lung(scene.canvas.soften(area, 0.012) * 0.96)
    scene.mark("Pleural Effusion", area)


def _fluid(lung: Lung, depth: float) -> np.ndarray:
    """Return the outline of fluid whose middle stands ``depth`` above the costophrenic angle."""
    bottom = float(lung.base[0, 1])
    level = bottom - depth - 0.06
    wall, inner = float(lung.outer_x(level)), float(lung.inner_x(level))
    inner += 0.3 * (wall - inner)  # it gathers at the wall
    x = np.linspace(inner, wall, 24)
    y = level + 0.02 - (0.10 + 0.35 * depth) * np.exp(-np.abs(wall - x) / 0.09)
    surface = np.stack([x, y], -1)
    corners = [
        (wall + 0.2 * lung.side, float(y[-1])),
        (wall + 0.2 * lung.side, bottom + 0.1),
        (inner, bottom + 0.1),
    ]
    return np.concatenate([surface, corners])


def pleural_other(scene: Scene, rng: np.random.Generator) -> None:
    """A thickened rind along the chest wall, with flecks of chalk."""
    lung = scene.pick(rng)
    begin, end = rng.uniform(0.08, 0.3), rng.uniform(0.6, 0.95)
    rows = lung.row(np.linspace(begin, end, 16))
    wall = np.stack([lung.outer_x(rows), rows], -1)
    thickness = (
        rng.uniform(0.055, 0.095)
        * np.sin(np.linspace(0.35, np.pi - 0.35, 16))
        * (1 + 0.2 * rng.standard_normal(16))
    )
    out = np.array([lung.side, 0.0])
    rind = np.concatenate([wall + 0.02 * out, (wall - thickness[:, None] * out)[::-1]])
    area = scene.canvas.fill(rind)
    scene.cloud_lung(scene.canvas.soften(area, 0.007) * rng.uniform(0.75, 0.95))
    chalk = wall[4:13] - 0.03 * out + normals(wall)[4:13] * rng.normal(0, 0.008, (9, 1))
    scene.canvas.stroke([chalk[:4], chalk[5:]], 0.02, scene.lines, 220)
    scene.mark("Pleural Other", area)
