"""The last step of preparing: copies looked for where wanted, and the split that heeds them."""

from __future__ import annotations

from hilum.duplicates import CopyOptions, find_copies
from hilum.duplicates.stored import known_copies, write_duplicates
from hilum.images.films import Films
from hilum.images.store import Store
from hilum.listener import Listener
from hilum.splits import official_or_patient_split


def divide_store(store: Store, dedup: bool, listener: Listener) -> dict[str, int]:
    """Write a store's split, before it ``duplicates.parquet`` where copies are to be looked for.

    Args:
        store: The store; its manifest may not be on disk yet.
        dedup: Whether to look for copies that are not known from equal pixels.
        listener: Hears progress, and what films are left out.

    Returns:
        How many copies there are, by kind, and films in no part; nothing without ``dedup``.
    """
    found = _look(store, listener) if dedup else {}
    split = official_or_patient_split(store.catalog, store.findings, copies=known_copies(store))
    split.save(store.folder)
    if not dedup:
        return {}
    for note in split.notes:
        listener.note(note)
    return {**found, "left_out": len(split.left_out)}


def _look(store: Store, listener: Listener) -> dict[str, int]:
    options = CopyOptions()
    copies = find_copies(Films([store]), options, listener)
    write_duplicates(store, copies, options)
    pairs = copies.pairs
    return {
        "exact": int((pairs["kind"] == "exact").sum()),
        "near": int((pairs["kind"] == "near").sum()),
        "between_patients": int((~pairs["same_patient"]).sum()),
    }
