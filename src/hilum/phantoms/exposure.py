"""From attenuation to a grey film: detector shading, collimation, contrast, noise and a side marker.

Mean and contrast of the finished film are drawn at random, whatever it shows. A white lung must not
give itself away by the brightness of the whole film.
"""

from __future__ import annotations

import cv2
import numpy as np


def develop(attenuation: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Return the film, uint8 [size, size], from the attenuation, float32 [S, S] with S a multiple of size."""
    image = (
        cv2.resize(attenuation, (size, size), interpolation=cv2.INTER_AREA)
        if len(attenuation) != size
        else attenuation
    )
    image = _shade(image, rng)
    image = 1 / (1 + np.exp(-rng.uniform(3.2, 7.5) * (image - rng.uniform(0.34, 0.54))))
    image = _collimate(image, rng) + rng.uniform(0.006, 0.03) * _grain(size, rng)
    image = _expose(image.astype(np.float32), rng.uniform(105, 152), rng.uniform(48, 70))
    return np.asarray(_mark_side(image, rng))


def _shade(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Tilt the exposure across the film, as the tube's heel does, and add scattered rays."""
    size = len(image)
    ramp = np.linspace(-1, 1, size, dtype=np.float32)
    tilt = rng.normal(0, 0.04, 2).astype(np.float32)
    scatter = cv2.resize(
        rng.standard_normal((4, 4), dtype=np.float32), (size, size), interpolation=cv2.INTER_CUBIC
    )
    shaded = image * np.float32(rng.uniform(0.88, 1.12)) + scatter * np.float32(
        rng.uniform(0.0, 0.07)
    )
    return np.asarray(shaded + tilt[0] * ramp + tilt[1] * ramp[:, None])


def _collimate(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blacken a margin at one side or at several of a third of the films, where lead kept the rays off."""
    margins = (rng.uniform(-0.06, 0.08, 4).clip(0) * len(image)).astype(int)
    if rng.random() < 0.35:
        top, bottom, left, right = (int(margin) for margin in margins)
        image[:top], image[len(image) - bottom :] = 0, 0
        image[:, :left], image[:, len(image) - right :] = 0, 0
    return image


def _grain(size: int, rng: np.random.Generator) -> np.ndarray:
    noise = rng.standard_normal((size, size), dtype=np.float32)
    return np.asarray(cv2.GaussianBlur(noise, (0, 0), 0.5) * 1.6)


def _expose(image: np.ndarray, mean: float, spread: float) -> np.ndarray:
    """Return uint8 with this mean and standard deviation; a second pass makes up for what clipping changed."""
    for _ in range(2):
        image = (image - image.mean()) * np.float32(
            spread / max(float(image.std()), 1e-6)
        ) + np.float32(mean)
        image = image.clip(0, 255)
    return np.asarray(np.rint(image).astype(np.uint8))


def _mark_side(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Put a lead letter into an upper corner of some films."""
    size = len(image)
    if rng.random() < 0.6:
        spot = (
            int(size * rng.uniform(0.02, 0.06)) if rng.random() < 0.5 else int(size * 0.9),
            int(size * rng.uniform(0.1, 0.2)),
        )
        cv2.putText(
            image,
            "RL"[int(spot[0] > size / 2)],
            spot,
            cv2.FONT_HERSHEY_SIMPLEX,
            size / 420,
            240,
            max(1, size // 160),
            cv2.LINE_AA,
        )
    return image
