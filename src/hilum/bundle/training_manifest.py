"""The films a model was trained on, by hashed name and by pixels, so that evaluation can leave them out."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from hilum.arrays import BoolArray
from hilum.images.equal_pixels import blank_hashes

COLUMNS = ("name", "pixels")
FILMS = ("source", "path", "pixels")
"""Columns of a catalogue by which films are known."""


def seen_films(catalog: pd.DataFrame) -> pd.DataFrame:
    """Return the films of a catalogue (``source``, ``path``, ``pixels``) as hashes; no name or patient is in it."""
    names = _name_hashes(_texts(catalog["source"]), _texts(catalog["path"]))
    return pd.DataFrame({"name": pd.array(names, "string"), "pixels": catalog["pixels"].array})


def name_hash(source: str, path: str) -> str:
    """Return what a film is known by: half of the SHA-256 of its source and of its path, in hex."""
    return hashlib.sha256(f"{source}/{path}".encode()).hexdigest()[:32]


def joined(*tables: pd.DataFrame) -> pd.DataFrame:
    """Return the films of several tables, each once, in a fixed order."""
    everything = pd.concat(tables, ignore_index=True)
    arrow = pa.Table.from_pandas(everything, preserve_index=False)
    arrow = arrow.sort_by([(column, "ascending") for column in COLUMNS])
    films: pd.DataFrame = arrow.to_pandas()
    return films.drop_duplicates(ignore_index=True)


def were_seen(catalog: pd.DataFrame, seen: pd.DataFrame, size: int) -> BoolArray:
    """Return for each film of a catalogue whether it is among the seen ones, by name or by pixels.

    Args:
        catalog: ``source``, ``path`` and ``pixels`` of the films.
        seen: As ``seen_films`` returns them.
        size: Side of the films in pixels: films of one grey throughout are nobody's copy, and known
            by name alone.
    """
    pixels = _texts(catalog["pixels"])
    known = _are_among(pixels, _texts(seen["pixels"]))
    if known.any():
        known[known] = ~pc.is_in(
            pixels.filter(known), value_set=pa.array(sorted(blank_hashes(size)), pixels.type)
        ).to_numpy(zero_copy_only=False)
    # A name costs a SHA-256, so only films that their pixels do not tell are looked up by name.
    others = catalog.loc[~known] if known.any() else catalog
    names = _name_hashes(_texts(others["source"]), _texts(others["path"]))
    known[~known] = _are_among(names, _texts(seen["name"]))
    return known


def _name_hashes(sources: pa.Array, paths: pa.Array) -> pa.Array:
    """Return `name_hash` of each film, [N]."""
    sha256 = hashlib.sha256
    names = pc.binary_join_element_wise(sources, paths, pa.scalar("/", paths.type))
    hashes = [sha256(name).hexdigest()[:32] for name in names.cast(pa.large_binary()).to_pylist()]
    return pa.array(hashes, pa.large_string())


def _are_among(texts: pa.Array, others: pa.Array) -> BoolArray:
    """Return whether each text is among the others, [N]; only the smaller of the two is hashed into a table."""
    if len(texts) < len(others):
        others = others.filter(pc.is_in(others, value_set=texts))
    return np.array(pc.is_in(texts, value_set=others))


def _texts(column: pd.Series) -> pa.Array:
    texts = pa.array(column, pa.large_string(), from_pandas=True)
    return texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
