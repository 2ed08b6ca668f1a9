"""The films a model was trained on, by hashed name and by pixels, so that evaluation can leave them out."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from hilum.arrays import BoolArray
from hilum.counts import counted
from hilum.group_key import GroupKey
from hilum.images.equal_pixels import blank_hashes

COLUMNS = ("name", "pixels", "key")
"""Two pseudonyms of a film, and the id of the key that they were made with.

The key is null in models of before 0.2, whose hashes had none: a name can be guessed from them.
"""
FILMS = ("source", "path", "pixels")
"""Columns of a catalogue by which films are known."""


def seen_films(catalog: pd.DataFrame, key: GroupKey) -> pd.DataFrame:
    """Return the films of a catalogue (``source``, ``path``, ``pixels``) as pseudonyms; no name or patient is in it."""
    columns = {
        "name": pd.array(_name_pseudonyms(catalog, key), "string"),
        "pixels": pd.array(_pixel_pseudonyms(_texts(catalog["pixels"]), key), "string"),
        "key": pd.array([key.id] * len(catalog), "string"),
    }
    return pd.DataFrame(columns)


def joined(*tables: pd.DataFrame) -> pd.DataFrame:
    """Return the films of several tables, each once, in a fixed order."""
    everything = pd.concat([with_key(table) for table in tables], ignore_index=True)
    arrow = pa.Table.from_pandas(everything, preserve_index=False)
    arrow = arrow.sort_by([(column, "ascending") for column in COLUMNS])
    films: pd.DataFrame = arrow.to_pandas()
    return films.drop_duplicates(ignore_index=True)


def with_key(seen: pd.DataFrame) -> pd.DataFrame:
    """Return a table of seen films with all COLUMNS; those of before 0.2 have no key."""
    if "key" in seen:
        return seen
    return seen.assign(key=pd.array([None] * len(seen), "string"))


def key_notes(seen: pd.DataFrame, key: GroupKey | None, model: object) -> list[str]:
    """Return lines on seen films that are unknown under this key, and on names that can be guessed."""
    ids = with_key(seen)["key"]
    other = int((ids.notna() & (ids != ("" if key is None else key.id))).sum())
    notes = []
    if other:
        why = "there is no key here" if key is None else f"{key.path} is another key"
        notes.append(
            f"{model} cannot tell its {counted(other, 'training film')}, so it refuses none of "
            f"them: they are named under a "
            f"group's key, and {why}: give that group's --key-file"
        )
    if ids.isna().any():
        notes.append(
            f"the names of {counted(int(ids.isna().sum()), 'training film')} of {model} are "
            f"hashed without a key, as before 0.2: "
            "they can be guessed, so train it again before you pass it on"
        )
    return notes


def were_seen(
    catalog: pd.DataFrame, seen: pd.DataFrame, size: int, key: GroupKey | None
) -> BoolArray:
    """Return for each film of a catalogue whether it is among the seen ones, by name or by pixels.

    Films that were seen under another key are not recognised: see `key_notes`.

    Args:
        catalog: ``source``, ``path`` and ``pixels`` of the films.
        seen: As ``seen_films`` returns them.
        size: Side of the films in pixels: films of one grey throughout are nobody's copy, and known
            by name alone.
        key: The group's, None where there is none.
    """
    seen = with_key(seen)
    plain = seen["key"].isna()
    known = _known(catalog, seen[plain], size, None) if plain.any() else None
    if key is not None:
        own = (seen["key"] == key.id).fillna(False)
        keyed = _known(catalog, seen[own], size, key)
        known = keyed if known is None else known | keyed
    return np.zeros(len(catalog), np.bool_) if known is None else known


def _known(catalog: pd.DataFrame, seen: pd.DataFrame, size: int, key: GroupKey | None) -> BoolArray:
    """Return `were_seen` of films that were seen under one key, or without one."""
    pixels = _texts(catalog["pixels"])
    known = _are_among(_pixel_pseudonyms(pixels, key), _texts(seen["pixels"]))
    if known.any():
        known[known] = ~pc.is_in(
            pixels.filter(known), value_set=pa.array(sorted(blank_hashes(size)), pixels.type)
        ).to_numpy(zero_copy_only=False)
    # A name costs a hash, so only films that their pixels do not tell are looked up by name.
    others = catalog.loc[~known] if known.any() else catalog
    known[~known] = _are_among(_name_pseudonyms(others, key), _texts(seen["name"]))
    return known


def _name_pseudonyms(catalog: pd.DataFrame, key: GroupKey | None) -> pa.Array:
    """Return each film's source and path under the key, [N]; without one as before 0.2."""
    sources, paths = _texts(catalog["source"]), _texts(catalog["path"])
    joined_names = pc.binary_join_element_wise(sources, paths, pa.scalar("/", paths.type))
    names = joined_names.cast(pa.large_binary()).to_pylist()
    if key is None:
        return pa.array(
            [hashlib.sha256(name).hexdigest()[:32] for name in names], pa.large_string()
        )
    return pa.array(key.pseudonyms("film", names), pa.large_string())


def _pixel_pseudonyms(pixels: pa.Array, key: GroupKey | None) -> pa.Array:
    """Return the stores' pixel hashes under the key, [N]; without one as they are."""
    if key is None:
        return pixels
    hashes = pixels.cast(pa.large_binary()).to_pylist()
    return pa.array(key.pseudonyms("pixels", hashes), pa.large_string())


def _are_among(texts: pa.Array, others: pa.Array) -> BoolArray:
    """Return whether each text is among the others, [N]; only the smaller of the two is hashed into a table."""
    if len(texts) < len(others):
        others = others.filter(pc.is_in(others, value_set=texts))
    return np.array(pc.is_in(texts, value_set=others))


def _texts(column: pd.Series) -> pa.Array:
    texts = pa.array(column, pa.large_string(), from_pandas=True)
    return texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
