"""Pictures of a store: grey values, the mean film, samples, and films before and after enhancement."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.annotations.known import original_film
from hilum.arrays import Rows
from hilum.files import write_bytes
from hilum.images.enhance import ENHANCEMENTS, Preparation
from hilum.images.films import Films
from hilum.images.store import Store
from hilum.listener import Listener
from hilum.splits import Split

MOST_FILMS = 20_000
"""Films whose grey values are counted, at most."""
BLOCK = 32
"""Films whose grey values are counted at a time: counting takes 8 bytes a pixel."""
GREYS = 32
"""Bars of the grey values."""
BEFORE_AND_AFTER = 2
PICTURES = "pictures"

Film = NDArray[np.uint8]


def grey_facts(
    films: Films, rows: Rows, seed: int, listener: Listener
) -> tuple[dict[str, Any], Film]:
    """Return the grey values of these films, or of MOST_FILMS drawn from them, and their mean film [size, size]."""
    drawn = rows
    if len(rows) > MOST_FILMS:
        drawn = np.sort(np.random.default_rng(seed).choice(rows, MOST_FILMS, replace=False))
    size = films.preparation.size
    counts, total = np.zeros(256, np.int64), np.zeros((size, size), np.float64)
    means, spreads = [], []
    for start in range(0, len(drawn), BLOCK):
        block = films.read(drawn[start : start + BLOCK])
        counts += np.bincount(block.reshape(-1), minlength=256)
        total += block.sum(axis=0, dtype=np.float64)
        flat = block.reshape(len(block), -1).astype(np.float32)
        means.append(flat.mean(axis=1))
        spreads.append(flat.std(axis=1))
        listener.progress("grey values", start + len(block), len(drawn))
    shares = counts / counts.sum()
    return {
        "films": len(drawn),
        "shares": shares.reshape(GREYS, -1).sum(axis=1).tolist(),
        "black": float(shares[0]),
        "white": float(shares[255]),
        "mean": _spread(np.concatenate(means)),
        "contrast": _spread(np.concatenate(spreads)),
    }, np.asarray(np.rint(total / len(drawn)), np.uint8)


def _spread(values: NDArray[np.floating]) -> dict[str, float]:
    low, middle, high = np.percentile(values, (5, 50, 95)).tolist()
    return {"p5": low, "median": middle, "p95": high}


def sample_rows(store: Store, split: Split, count: int, seed: int) -> Rows:
    """Return films drawn from a store's training set, or from all where it has none."""
    rows = split.rows(store.catalog, "train")
    rows = rows if len(rows) else np.arange(len(store))
    return np.random.default_rng(seed).permutation(rows)[:count]


def before_and_after(
    store: Store, rows: Rows, roots: Sequence[Path]
) -> list[list[tuple[Film, str]]]:
    """Return films step by step, each picture with what it is: before enhancement and after.

    Before is the film as it came, brought to the store's size like every stored one: at the size it
    came in, what is written into it might be read. Films of a store that is not enhanced are shown
    as each way to enhance has them.

    Args:
        store: Its films.
        rows: [n] rows of the store.
        roots: Folders in which the films may still lie as they came.
    """
    if store.preparation.enhance == "none":
        others = [name for name in ENHANCEMENTS if name != "none"]
        return [
            [
                (film, "none"),
                *((np.asarray(ENHANCEMENTS[name](film), np.uint8), name) for name in others),
            ]
            for film in _stored(store, rows[:BEFORE_AND_AFTER])
        ]
    plain = Preparation(store.preparation.size, "none", store.preparation.fit)
    pairs: list[list[tuple[Film, str]]] = []
    for row, film in zip(rows.tolist(), _stored(store, rows), strict=True):
        originals = (original_film(root, store, row) for root in roots)
        came = next((original for original in originals if original is not None), None)
        if came is not None:
            pairs.append([(plain.apply(came), "none"), (film, store.preparation.enhance)])
        if len(pairs) == BEFORE_AND_AFTER:
            break
    return pairs


def _stored(store: Store, rows: Rows) -> list[Film]:
    return [np.asarray(film, np.uint8) for film in store.read(rows)]


def keep_picture(out: Path, name: str, film: Film) -> str:
    """Write a picture [H, W] below the card's folder and return its name."""
    _, coded = cv2.imencode(".png", film)
    (out / PICTURES).mkdir(parents=True, exist_ok=True)
    write_bytes(out / PICTURES / f"{name}.png", coded.tobytes())
    return f"{name}.png"
