"""Finds the copies among films of one or several stores: hashes propose, alignment decides."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from hilum.duplicates.alignment import aligned_correlation
from hilum.duplicates.buckets import near_pairs
from hilum.duplicates.copies import Copies, pair_table
from hilum.duplicates.fingerprints import fingerprints, plain_fingerprints
from hilum.duplicates.options import CopyOptions
from hilum.images.equal_pixels import equal_pixels
from hilum.images.films import Films
from hilum.listener import SILENT, Listener

USUAL = CopyOptions()

NEAREST = 0.75
"""Smallest cosine of two fingerprints of a pair that is compared: altered copies have 0.95 in the
median, and of other films one pair in two hundred thousand comes so near."""
FEW, NEAREST_OF_FEW = 128, 0.8
"""Up to so many films are too few to learn directions from: fixed fingerprints of all are
compared."""
SURE_SIZE = 64
"""Side in pixels of the films on which the limits were measured; smaller ones have little of the
structure that is compared."""
PAIRS_A_FILM = 20
"""Largest mean number of pairs compared for each film; the nearest first."""
BLOCK = 1024

Pairs = NDArray[np.int64]


def find_copies(films: Films, options: CopyOptions = USUAL, listener: Listener = SILENT) -> Copies:
    """Return the copies among films, within and across their stores.

    Near copies are films whose fine structure fits after a small shift, stretch or turn: saved
    again as JPEG, resized, cropped by a few per cent, lighter or darker. Mirrored, inverted or
    strongly turned films are not found. Two films of one patient are held to a stricter limit,
    since follow-up films fit nearly as well as copies. Memory beside the catalogue is some 400
    bytes a film, and some 4 kB where thousands of films are nearly alike.

    Args:
        films: One store or several.
        options: What counts as a copy.
        listener: Gets progress, and where a search was cut short.
    """
    exact = equal_pixels(films.catalog["pixels"], films.preparation.size)
    pairs = [(int(first), int(second), "exact", 1.0) for first, second in exact]
    notes: tuple[str, ...] = ()
    proposed: Pairs = np.empty((0, 2), np.int64)
    if options.near:
        alone = np.setdiff1d(np.arange(len(films), dtype=np.int64), exact[:, 1])
        proposed, notes = _proposed(films, alone, listener)
        pairs += _copies_among(films, proposed, options, listener)
    if films.preparation.size < SURE_SIZE and any(kind == "near" for _, _, kind, _ in pairs):
        size = films.preparation.size
        notes = (
            *notes,
            f"films of {size} pixels show too little to tell near copies for sure: look at each pair",
        )
    for note in notes:
        listener.note(note)
    return Copies(
        len(films), pair_table(pairs, np.asarray(films.named_patients)), len(proposed), notes
    )


def _proposed(
    films: Films, rows: NDArray[np.int64], listener: Listener
) -> tuple[Pairs, tuple[str, ...]]:
    """Return the pairs of films to compare, and notes where some were left out."""
    if len(rows) <= FEW:
        plain = plain_fingerprints(films.read(rows))
        return rows[np.argwhere(np.triu(plain @ plain.T >= NEAREST_OF_FEW, 1))], ()
    marks = fingerprints(
        films.read, rows, lambda done: listener.progress("fingerprints", done, len(rows))
    )
    of_one_grey = ~marks.any(axis=1)
    marks, rows = marks[~of_one_grey], rows[~of_one_grey]
    most, notes = PAIRS_A_FILM * len(rows), []
    pairs, crowded, more = near_pairs(
        marks, NEAREST, lambda *done: listener.progress("near films", *done), most
    )
    if crowded:
        notes.append(
            "hundreds of films are nearly alike: not all of them were compared with each other"
        )
    if more:
        notes.append(
            f"more than {most} pairs of films are nearly alike: only the nearest {most} were looked at"
        )
    return rows[pairs], tuple(notes)


def _copies_among(
    films: Films, proposed: Pairs, options: CopyOptions, listener: Listener
) -> Iterator[tuple[int, int, str, float]]:
    """Yield the near copies among proposed pairs."""
    patients = films.named_patients
    for first, second, correlation in _compared(films, proposed, listener):
        same = patients[first] == patients[second]
        if correlation >= (options.same_patient if same else options.correlation):
            yield first, second, "near", correlation


def _compared(films: Films, pairs: Pairs, listener: Listener) -> Iterator[tuple[int, int, float]]:
    """Yield each pair with the correlation of its films."""
    for start in range(0, len(pairs), BLOCK):
        block = pairs[start : start + BLOCK]
        rows = np.unique(block)
        images = films.read(rows)
        for (first, second), (one, other) in zip(
            block.tolist(), np.searchsorted(rows, block).tolist(), strict=True
        ):
            yield first, second, aligned_correlation(images[one], images[other])
        listener.progress("compared", start + len(block), len(pairs))
