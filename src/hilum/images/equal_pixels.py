"""Films of equal pixels, from the hashes in a store's table: no film is read."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from hilum.arrays import BoolArray, FloatArray
from hilum.images.enhance import pixel_hash


def equal_pixels(pixels: pd.Series | pa.ChunkedArray, size: int) -> NDArray[np.int64]:
    """Return rows of films with equal pixels, int64 [M, 2]: the first of each kind with every later one.

    Films of one grey throughout (a failed exposure, an empty page) are equal without being copies,
    and left out.

    Args:
        pixels: The pixel hash of each film, [N], in row order.
        size: Side of the films in pixels.
    """
    if isinstance(pixels, pd.Series):
        pixels = pa.chunked_array([pa.array(pixels, pa.large_string(), from_pandas=True)])
    texts = pixels.cast(pa.large_string()).combine_chunks()
    among = _rows_alike(texts)
    alike = texts.take(pa.array(among)).to_pandas()
    codes = pd.factorize(alike)[0]
    first = pd.Series(codes).drop_duplicates().index.to_numpy()[codes]
    later = np.flatnonzero(first != np.arange(len(codes)))
    if len(later):
        later = later[~alike.iloc[later].isin(blank_hashes(size)).to_numpy(bool)]
    return np.stack([among[first[later]], among[later]], axis=1).astype(np.int64)


def differing_labels(labels: FloatArray, pairs: NDArray[np.int64]) -> BoolArray:
    """Return which findings are stated of both films of a pair, and differently.

    Args:
        labels: float32 [N, F], NaN where not stated.
        pairs: Rows, [M, 2].

    Returns: bool [M, F].
    """
    first, second = labels[pairs[:, 0]], labels[pairs[:, 1]]
    return np.asarray(~np.isnan(first) & ~np.isnan(second) & (first != second))


def _rows_alike(texts: pa.LargeStringArray) -> NDArray[np.int64]:
    """Return the rows, ascending, whose hash begins as another row's: with those of equal pixels few others."""
    everything = np.arange(len(texts))
    if texts.null_count or not len(texts):
        return everything
    _, offsets, data = texts.buffers()
    ends = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    length = int(ends[1] - ends[0])
    if length % 8 or not length or (np.diff(ends) != length).any():
        return everything  # no hashes of `pixel_hash`, which have 32 characters
    characters = np.frombuffer(data, np.uint8)[ends[0] : ends[-1]]
    begins = characters.view(np.uint64)[:: length // 8]
    order = np.argsort(begins)
    again = np.diff(begins[order], prepend=0) == 0  # of equal ones all but the first
    again[0] = False
    again[:-1] |= again[1:]
    return np.sort(order[again])


@lru_cache(maxsize=4)
def blank_hashes(size: int) -> frozenset[str]:
    """Return the pixel hashes of films of one grey throughout, ``size`` pixels wide: alike without being copies."""
    return frozenset(pixel_hash(np.full((size, size), grey, np.uint8)) for grey in range(256))
