"""The last step of `prepare`: search for copies if asked for, and write the split."""

from __future__ import annotations

import numpy as np

from hilum.counts import counted
from hilum.duplicates import CopyOptions, find_copies
from hilum.duplicates.stored import known_copies, write_duplicates
from hilum.images.equal_pixels import differing_labels
from hilum.images.films import Films
from hilum.images.store import Store
from hilum.listener import Listener
from hilum.splits import official_or_patient_split


def divide_store(store: Store, dedup: bool, listener: Listener) -> dict[str, int]:
    """Write a store's split, and before it ``duplicates.parquet`` if copies are searched for.

    Args:
        store: The store; its manifest may not be on disk yet.
        dedup: Whether to search for copies beyond films of equal pixels.
        listener: Gets progress, and notes on films that are left out.

    Returns:
        Number of copies by kind, and of films left out of all splits; empty without ``dedup``.
    """
    counts: dict[str, int] = {}
    if dedup:
        options = CopyOptions()
        copies = find_copies(Films([store]), options, listener)
        write_duplicates(store, copies, options)
        pairs = copies.pairs
        counts = {
            "exact": int((pairs["kind"] == "exact").sum()),
            "near": int((pairs["kind"] == "near").sum()),
            "between_patients": int((~pairs["same_patient"]).sum()),
        }
    _note_equal_pixels(store, listener)
    split = official_or_patient_split(store.catalog, store.findings, copies=known_copies(store))
    split.save(store.folder)
    for note in split.notes:
        listener.note(note)
    return {**counts, "left_out": len(split.left_out)} if dedup else {}


def _note_equal_pixels(store: Store, listener: Listener) -> None:
    """Note how many films are exact copies of others, and how many of these have contradicting labels."""
    films = Films([store])
    pairs = films.equal_pairs
    if not len(pairs):
        return
    named, people = (len(np.unique(c)) for c in (films.named_patients, films.patient_codes))
    merged = f": {counted(named, 'patient')} count as {people:,}" if people < named else ""
    listener.note(
        f"{counted(len(pairs), 'film is an exact copy', 'films are exact copies')} of others (equal pixels){merged}"
    )
    contradicting = int(differing_labels(store.labels, pairs).any(axis=1).sum())
    if contradicting:
        listener.note(
            f"{counted(contradicting, 'of these copies has', 'of these copies have')} other "
            f"labels than the film that they "
            "equal: `hilum card` lists them"
        )
