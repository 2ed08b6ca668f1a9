"""A body's measures, and what of it every projection shares: lungs with their borders, and the scene to draw."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from hilum.findings import CHEXPERT
from hilum.phantoms.canvas import Canvas


@dataclass(frozen=True)
class Body:
    """One patient's measures in body units; drawn once a patient, so his films resemble each other."""

    woman: bool
    age: int
    chest: float
    """Half width of the rib cage."""
    apex: float
    """Height of the lungs' tops (y)."""
    floor: float
    """Height of the right dome of the diaphragm (y)."""
    heart: float
    """Size of the heart, 1 on average."""
    mediastinum: float
    """Width of the upper mediastinum, 1 on average."""
    girth: float
    """Soft tissue outside the ribs, 1 on average."""
    rib_slope: float
    rib_gap: float
    bone: float
    """Density of bone, 1 on average."""
    vessels: float
    """How strongly the lungs' vessels show, 1 on average."""
    breast: float


def draw_body(rng: np.random.Generator, sex: str, age: int) -> Body:
    """Return a body of that sex and age."""
    woman = sex == "Female"
    return Body(
        woman=woman,
        age=age,
        chest=float(rng.uniform(0.58, 0.78)) - 0.03 * woman,
        apex=float(rng.uniform(-0.86, -0.72)),
        floor=float(rng.uniform(0.28, 0.56)),
        heart=float(rng.uniform(0.82, 1.15)),
        mediastinum=float(rng.uniform(0.8, 1.25)),
        girth=float(rng.uniform(0.6, 1.7)),
        rib_slope=float(rng.uniform(0.75, 1.25)),
        rib_gap=float(rng.uniform(0.125, 0.15)),
        bone=float(rng.uniform(0.65, 1.35)) * (1.1 - 0.003 * max(0, age - 30)),
        vessels=float(rng.uniform(0.5, 1.6)),
        breast=float(rng.uniform(0.4, 1.2)) if woman else 0.0,
    )


@dataclass
class Lung:
    """One lung's borders, each [n, 2] from top to bottom; ``outer`` is the chest wall's side.

    ``side`` is -1 on the left of the film, 1 on the right; in a lateral there is one lung, its wall
    behind.
    """

    side: int
    inner: np.ndarray
    outer: np.ndarray
    base: np.ndarray
    """The diaphragm from the outer border to the inner."""
    hilum: tuple[float, float]

    def outline(self) -> np.ndarray:
        """Return the closed border, [n, 2]."""
        return np.concatenate([self.outer, self.base, self.inner[::-1]])

    def row(self, down: float | np.ndarray) -> np.ndarray:
        """Return y at a share of the way from apex to the inner end of the diaphragm."""
        top, bottom = self.outer[0, 1], self.inner[-1, 1]
        return np.asarray(top + np.asarray(down) * (bottom - top))

    def inner_x(self, y: float | np.ndarray) -> np.ndarray:
        """Return where the inner border lies at a height."""
        return np.asarray(np.interp(y, self.inner[:, 1], self.inner[:, 0]))

    def outer_x(self, y: float | np.ndarray) -> np.ndarray:
        """Return where the chest wall lies at a height."""
        return np.asarray(np.interp(y, self.outer[:, 1], self.outer[:, 0]))

    def at(self, across: float, down: float) -> tuple[float, float]:
        """Return the point at a share of the way from inner to outer border and from top to bottom."""
        y = float(self.row(down))
        inner = float(self.inner_x(y))
        return inner + across * (float(self.outer_x(y)) - inner), y


@dataclass
class Scene:
    """Shapes and layers of one film. Findings alter the shapes or paint layers; ``film.develop`` turns it into grey."""

    canvas: Canvas
    lateral: bool
    lungs: list[Lung]
    heart: np.ndarray
    mediastinum: np.ndarray
    ribs: np.ndarray
    """Hind ribs [curves, n, 2], spine first. In a lateral all ribs."""
    front_ribs: np.ndarray
    clavicles: np.ndarray
    rib_width: float
    vessel_gain: float = 1.0
    lung_area: np.ndarray = field(init=False)
    """uint8 [S, S]: where lung may be seen, before anything fills it."""
    clear: np.ndarray = field(init=False)
    """float32 [S, S]: share of the lung's air that no finding has filled."""
    free_air: np.ndarray = field(init=False)
    """uint8 [S, S]: air outside the lung (pneumothorax)."""
    lines: np.ndarray = field(init=False)
    """uint8 [S, S]: thin bright lines, within the chest."""
    hardware: np.ndarray = field(init=False)
    """uint8 [S, S]: metal and plastic, over everything."""
    gaps: np.ndarray = field(init=False)
    """uint8 [S, S]: bone missing (fracture)."""
    masks: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Lay out empty layers."""
        self.lung_area = self.canvas.fill(*(lung.outline() for lung in self.lungs))
        self.clear = np.ones(self.lung_area.shape, np.float32)
        for name in ("free_air", "lines", "hardware", "gaps"):
            setattr(self, name, self.canvas.blank())

    def pick(self, rng: np.random.Generator) -> Lung:
        """Return one lung. Always draws one number, so that all films of a study agree on the side."""
        right = rng.random() < 0.5
        return self.lungs[0] if len(self.lungs) == 1 or right else self.lungs[1]

    def cloud_lung(self, opacity: np.ndarray) -> None:
        """Fill the lung's air by an opacity, float32 [S, S] from 0 to 1."""
        self.clear *= 1 - opacity

    def mark(self, finding: str, area: np.ndarray, inside_lung: bool = True) -> None:
        """Add an area (uint8 [S, S]) to a finding's mask."""
        if finding not in CHEXPERT:
            raise ValueError(f"no finding {finding!r}")
        region = area > 100
        if inside_lung:
            region &= self.lung_area > 100
        self.masks[finding] = self.masks[finding] | region if finding in self.masks else region
