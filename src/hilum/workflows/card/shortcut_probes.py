"""The inputs of the shortcut probes: a film's border, its surroundings, a thumbnail, its row in the table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hilum.arrays import BoolArray, FloatArray, Rows
from hilum.images.film_cells import (
    border,
    cell_features,
    everything,
    frame,
    over_stored,
    thumbnail_features,
)
from hilum.images.films import Films

BORDER_SHARE = 0.1
"""Width of the border that is seen, as a share of the side."""
CORNER_SHARE = 0.2
"""Side of the upper corners that are seen with it: side letters and names stand there, over the
shoulders. The lower ones are left out, since fluid at the base of a lung reaches into them."""
HIDDEN_SHARE = 0.6
"""Side of the middle that is hidden where the centre is masked, as a share of the film's."""
THUMBNAIL = 8
"""Pixels of the thumbnail's side."""


@dataclass(frozen=True)
class Probe:
    """The input of one linear probe."""

    sees: str
    """In words."""
    blind: bool
    """Whether it sees no lung and no heart, so that it should predict hardly any finding."""
    features: Callable[[Films, Rows], FloatArray]
    """Films and rows [n] -> [n, D]."""


def border_only(films: Films, rows: Rows) -> FloatArray:
    """Return the cells of the border of these films."""
    return _cells(films, rows, lambda side: border(side, BORDER_SHARE, CORNER_SHARE))


def centre_masked(films: Films, rows: Rows) -> FloatArray:
    """Return the cells of these films around the hidden middle."""
    return _cells(films, rows, lambda side: frame(side, (1 - HIDDEN_SHARE) / 2))


def whole_film(films: Films, rows: Rows) -> FloatArray:
    """Return all cells of these films."""
    return _cells(films, rows, everything)


def thumbnail(films: Films, rows: Rows) -> FloatArray:
    """Return these films as thumbnails."""
    return np.concatenate(
        [*over_stored(films.read, rows, lambda images: thumbnail_features(images, THUMBNAIL))]
    )


def metadata(films: Films, rows: Rows) -> FloatArray:
    """Return age, sex, view position and, of several stores, which; a missing value is a category."""
    table = films.catalog.iloc[rows]
    age = table["age"].to_numpy(np.float32, na_value=np.nan)
    decades = np.where(np.isnan(age), 5.0, age / 10) - 5  # around 50 years
    columns = [decades, decades**2, np.isnan(age)]
    for name in ("sex", "view_position", "source"):
        known = sorted(films.catalog[name].dropna().unique())
        columns += [table[name].eq(value).fillna(False).to_numpy(bool) for value in known]
    return np.stack(columns, axis=1).astype(np.float32)


PROBES: dict[str, Probe] = {
    "border": Probe(
        f"the outer {BORDER_SHARE:.0%} of the film on each side, and the upper corners",
        True,
        border_only,
    ),
    "metadata": Probe(
        "no film: age, sex, view position, and of several stores which", True, metadata
    ),
    "surroundings": Probe(
        f"the film without its middle {HIDDEN_SHARE:.0%} in both directions", False, centre_masked
    ),
    "thumbnail": Probe(f"the film at {THUMBNAIL} x {THUMBNAIL} pixels", False, thumbnail),
    "whole": Probe("the whole film, by the same linear probe", False, whole_film),
}
"""By name; the last one is what the others are compared with."""


def _cells(films: Films, rows: Rows, shown: Callable[[int], BoolArray]) -> FloatArray:
    return np.concatenate(
        [
            *over_stored(
                films.read, rows, lambda images: cell_features(images, shown(images.shape[1]))
            )
        ]
    )
