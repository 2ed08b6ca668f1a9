"""Which films a model was trained on, by hashed name and by pixels, so that none is mistaken for a fresh one."""

from __future__ import annotations

import hashlib

import pandas as pd

from hilum.arrays import BoolArray
from hilum.duplicates.exact import blank_hashes

COLUMNS = ("name", "pixels")


def seen_films(catalog: pd.DataFrame) -> pd.DataFrame:
    """Return the films of a catalogue (``source``, ``path``, ``pixels``) as hashes; no name or patient is in it."""
    names = [
        name_hash(source, path)
        for source, path in zip(catalog["source"], catalog["path"], strict=True)
    ]
    return pd.DataFrame({"name": pd.array(names, "string"), "pixels": catalog["pixels"].array})


def name_hash(source: str, path: str) -> str:
    """Return what a film is known by: half of the SHA-256 of its source and of its path, in hex."""
    return hashlib.sha256(f"{source}/{path}".encode()).hexdigest()[:32]


def joined(*tables: pd.DataFrame) -> pd.DataFrame:
    """Return the films of several tables, each once, in a fixed order."""
    everything = pd.concat(tables, ignore_index=True).drop_duplicates()
    return everything.sort_values(list(COLUMNS), ignore_index=True)


def were_seen(catalog: pd.DataFrame, seen: pd.DataFrame, size: int) -> BoolArray:
    """Return for each film of a catalogue whether it is among the seen ones, by name or by pixels.

    Args:
        catalog: ``source``, ``path`` and ``pixels`` of the films.
        seen: As ``seen_films`` returns them.
        size: Side of the films in pixels: films of one grey throughout are nobody's copy, and known
            by name alone.
    """
    own = seen_films(catalog)
    pixels = own["pixels"].isin(seen["pixels"]) & ~own["pixels"].isin(blank_hashes(size))
    return (own["name"].isin(seen["name"]) | pixels).to_numpy(bool)
