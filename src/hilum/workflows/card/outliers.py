"""Outlier images of a store: wrong body part, inverted, rotated, blank or noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hilum.arrays import FloatArray, Rows
from hilum.images.appearance import TONES_SIDE, TURNS, contrast, outlines, tones
from hilum.images.film_cells import over_stored
from hilum.images.film_check import film_flags, thumbnail
from hilum.images.films import Films
from hilum.metrics.outlier_distance import Bulk

COLUMNS = ("row", "source", "path", "score", "reason")
FEWEST = 200
"""Films needed to estimate the bulk; of fewer only blank ones are found, and larger ones that
look inverted or turned."""
SAMPLE = 20_000
"""Films that the bulk is fitted on, at most."""
TONE_DIRECTIONS, OUTLINE_DIRECTIONS = 32, 16
"""Principal components of the bulk's tones and outlines."""
FAR = 4.0
"""Spreads above the usual distance from the bulk at which a film is an outlier."""
BETTER = 0.5
"""It is one too where rotating or inverting it reduces the distance by this much in its logarithm."""
FLAGGED = 2.0
"""Score of a film that looks inverted or turned by itself, whatever the others look like."""
FLAT = 4.0
"""Grey levels of standard deviation below which a film is blank."""
REASONS = ("hardly any contrast", "tones unlike the others'", "outlines unlike the others'", *TURNS)
"""Why a film is an outlier, in words."""


def outliers(
    films: Films, rows: Rows | None = None, limit: float = 1.0, seed: int = 0
) -> pd.DataFrame:
    """Return the films far from the bulk of these films in grey values or outlines, or blank.

    Args:
        films: All films.
        rows: [n] of the films, which are the bulk too; None takes all.
        limit: Score above which a film is listed; at 1 the limits are those above.
        seed: Draws the films that the bulk is fitted on, where there are more than SAMPLE.

    Returns: COLUMNS, the highest score first: ``row`` among the films, ``score``, ``reason`` as in
        REASONS.
    """
    rows = np.arange(len(films), dtype=np.int64) if rows is None else np.asarray(rows, np.int64)
    bulk = None
    if len(rows) >= FEWEST:
        fitted = rows
        if len(rows) > SAMPLE:
            fitted = np.sort(np.random.default_rng(seed).choice(rows, SAMPLE, replace=False))
        values = np.concatenate([*over_stored(films.read, fitted, _tones_and_outlines)])  # [n, D]
        bulk = _Bulk(
            Bulk.of(values[:, : TONES_SIDE**2], TONE_DIRECTIONS),
            Bulk.of(values[:, TONES_SIDE**2 :], OUTLINE_DIRECTIONS),
        )
    scores = np.concatenate(
        [
            np.empty((0, len(REASONS)), np.float32),
            *over_stored(films.read, rows, lambda images: _scores(images, bulk)),
        ]
    )  # [n, R]
    highest, reason = scores.max(axis=1), scores.argmax(axis=1)
    order = np.argsort(-highest, kind="stable")
    order = order[highest[order] > limit]
    known = films.catalog.iloc[rows[order]]
    return pd.DataFrame(
        {
            "row": rows[order],
            "source": known["source"].to_numpy(),
            "path": known["path"].to_numpy(),
            "score": highest[order],
            "reason": np.array(REASONS, dtype=object)[reason[order]],
        },
        columns=list(COLUMNS),
    )


@dataclass(frozen=True)
class _Bulk:
    """The bulk of the films."""

    tones: Bulk
    outlines: Bulk


def _tones_and_outlines(images: NDArray[np.uint8]) -> FloatArray:
    """Return tones and outlines of films [n, S, S] side by side, [n, D]."""
    return np.concatenate([_flat(tones(images)), outlines(images)], axis=1)


def _scores(images: NDArray[np.uint8], bulk: _Bulk | None) -> FloatArray:
    """Return the outlier score of films [n, S, S] by reason, [n, R]; 1 is the limit."""
    blank = np.where(contrast(images) < FLAT, 100.0, 0.0)
    scores = np.zeros((len(images), len(REASONS)), np.float32)
    scores[:, 0] = blank
    if bulk is not None:
        seen = tones(images)
        turned = [
            bulk.tones.ratio(_flat(seen), _flat(turn(seen))) / BETTER for turn in TURNS.values()
        ]
        scores[:, 1:] = np.stack(
            [bulk.tones(_flat(seen)) / FAR, bulk.outlines(outlines(images)) / FAR, *turned], 1
        )
    for film, flag in enumerate(film_flags([thumbnail(image) for image in images])):
        for place, reason in enumerate(REASONS):
            if reason in flag:
                scores[film, place] = max(scores[film, place], FLAGGED)
    return scores


def _flat(seen: FloatArray) -> FloatArray:
    return np.ascontiguousarray(seen).reshape(len(seen), -1)
