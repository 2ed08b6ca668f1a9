"""Films of equal pixels, from the hashes in a store's table: no film is read."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hilum.images.enhance import pixel_hash


def equal_pixels(pixels: pd.Series, size: int) -> NDArray[np.int64]:
    """Return rows of films with equal pixels, int64 [M, 2]: the first of each kind with every later one.

    Films of one grey throughout (a failed exposure, an empty page) are equal without being copies,
    and left out.

    Args:
        pixels: The pixel hash of each film, [N], in row order.
        size: Side of the films in pixels.
    """
    codes = pd.factorize(pixels)[0]
    first = pd.Series(codes).drop_duplicates().index.to_numpy()[codes]
    later = np.flatnonzero(first != np.arange(len(codes)))
    if len(later):
        later = later[~pixels.iloc[later].isin(blank_hashes(size)).to_numpy(bool)]
    return np.stack([first[later], later], axis=1).astype(np.int64)


@lru_cache(maxsize=4)
def blank_hashes(size: int) -> frozenset[str]:
    """Return the pixel hashes of films of one grey throughout, ``size`` pixels wide: alike without being copies."""
    return frozenset(pixel_hash(np.full((size, size), grey, np.uint8)) for grey in range(256))
