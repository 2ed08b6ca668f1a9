"""The pixels of a store's films against their hashes in its table, each film once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hilum.arrays import Rows

DIGITS, BYTES = 32, 16
"""Length of a film's hash in the table and in memory."""


class PixelCheck:
    """Which films were compared, a byte a film, and their hashes: 16 MB for a million films."""

    def __init__(self, films: int, texts: Callable[[], pa.ChunkedArray]) -> None:
        """Check so many films by their hashes, [N] texts, which are read when the first film is."""
        self._films, self._texts = films, texts

    @cached_property
    def _unchecked(self) -> NDArray[np.bool_]:
        return np.ones(self._films, np.bool_)

    @cached_property
    def _hashes(self) -> NDArray[np.uint8]:
        """The hash of each film, uint8 [N, BYTES].

        Raises:
            ValueError: One is no hash.
        """
        texts = self._texts().cast(pa.large_string()).combine_chunks()
        if texts.null_count or not pc.all(pc.equal(pc.binary_length(texts), DIGITS)).as_py():
            raise ValueError("the table has a film without the hash of its pixels")
        digits = pc.binary_join(
            pa.LargeListArray.from_arrays([0, len(texts)], texts), pa.scalar("", texts.type)
        )[0]
        known = np.frombuffer(bytes.fromhex(digits.as_py()), np.uint8)
        return known.reshape(self._films, BYTES)

    def changed(self, rows: Rows, images: NDArray[np.uint8]) -> int | None:
        """Return the position of the first film that is not what its hash says, None if all are.

        Films that were compared before are not hashed again. Two threads may call this at once: at
        worst both compare a film.

        Args:
            rows: [n] of the table.
            images: uint8 [n, S, S], what was read.

        Raises:
            ValueError: The table has something else than hashes.
        """
        new = np.flatnonzero(self._unchecked[rows])
        for position in new.tolist():
            digest = hashlib.sha256(images[position].data).digest()
            if digest[:BYTES] != self._hashes[rows[position]].tobytes():
                return position
        self._unchecked[rows[new]] = False
        return None
