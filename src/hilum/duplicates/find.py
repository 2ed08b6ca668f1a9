"""Finds the copies among films of one or several stores."""

from __future__ import annotations

import numpy as np

from hilum.duplicates.copies import Copies, pair_table
from hilum.duplicates.exact import equal_pixels
from hilum.duplicates.options import CopyOptions
from hilum.images.films import Films
from hilum.listener import SILENT, Listener

USUAL = CopyOptions()


def find_copies(films: Films, options: CopyOptions = USUAL, listener: Listener = SILENT) -> Copies:
    """Return the copies among films, within and across their stores.

    Args:
        films: One store or several.
        options: What counts as a copy.
        listener: Hears progress in films.
    """
    exact = equal_pixels(films.catalog["pixels"], films.preparation.size)
    pairs = [(int(first), int(second), "exact", 1.0) for first, second in exact]
    return Copies(len(films), pair_table(pairs, np.asarray(films.patient_codes)))
