"""Warnings of few patients before a training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from heard import Heard

from hilum.images.films import Films
from hilum.workflows.data.small_sets import warn_of_few_patients
from hilum.workflows.data.subsets import Subsets


def test_val_and_test_are_counted_in_patients(tiny_store: Path) -> None:
    films, heard = Films.open([tiny_store]), Heard()
    subsets = Subsets.of(films)
    warn_of_few_patients(subsets, [0], "absent", heard)
    name = films.findings[0]
    assert [note.split()[0] for note in heard.notes] == ["val", "test"]
    for split, note in zip(("val", "test"), heard.notes, strict=True):
        rows = subsets.rows(split)
        patients = len(np.unique(films.patient_codes[rows[films.labels[rows, 0] == 1]]))
        assert "with 1 of 1 finding, which enter no mean AUROC" in note
        assert f"{name} ({patients} patient" in note
