"""A phantom data set as an archive exports it: DICOM files without endings, labels keyed by accession number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from hilum.csv_files import write_csv
from hilum.findings import CHEXPERT
from hilum.phantoms.cohort import Film
from hilum.phantoms.habits import HABITS, Habit
from hilum.phantoms.options import PhantomOptions

FILMS = "dicom"
"""Folder of the DICOM files."""
LABELS, TRUTH = "labels.csv", "truth.csv"
ACCESSION = "AccessionNumber"


def habit_of(film: Film, options: PhantomOptions) -> str:
    """Return the name of the habit under which a film's study was written: each in its turn."""
    names = options.dicom_habits or tuple(HABITS)
    return names[(film.patient + film.study - 2) % len(names)]


def film_path(film: Film) -> str:
    """Return a film's path below the folder of films."""
    return f"PA{film.patient:05d}/ST{film.study:03d}/IM{film.view:04d}"


def companion_path(film: Film) -> str:
    """Return the path of an exposure's second file."""
    return f"{film_path(film)}X"


def write_dicom(root: Path, film: Film, grey: np.ndarray, options: PhantomOptions) -> None:
    """Write a film, uint8 [S, S], and its companion where its habit has one."""
    from hilum.phantoms.dicom_file import write_companion, write_film  # pydicom costs a moment

    habit = HABITS[habit_of(film, options)]
    files = {film_path(film): write_film(film, grey, habit, options.seed)}
    if habit.companion:
        files[companion_path(film)] = write_companion(film, grey, habit, options.seed)
    for name, data in files.items():
        path = root / FILMS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def write_dicom_tables(root: Path, films: Sequence[Film], options: PhantomOptions) -> None:
    """Write the labels of each study by accession number, and what is truly in each file."""
    from hilum.phantoms.dicom_file import accession

    studies = {accession(film, options.seed): film.stated for film in films}
    rows = ((key, *map(cell, stated)) for key, stated in studies.items())
    write_csv(root / LABELS, (ACCESSION, *CHEXPERT), rows)

    def described(film: Film, path: str, kind: str) -> tuple[str, ...]:
        known = habit_of(film, options), kind, film.position
        return path, accession(film, options.seed), *known, *map(cell, film.truth)

    def files() -> Iterator[tuple[str, ...]]:
        for film in films:
            yield described(film, film_path(film), "film")
            habit: Habit = HABITS[habit_of(film, options)]
            if habit.companion:
                yield described(film, companion_path(film), habit.companion)

    write_csv(root / TRUTH, ("Path", ACCESSION, "Habit", "Kind", "View", *CHEXPERT), files())


def cell(value: float) -> str:
    """Return a label as CheXpert's tables write it."""
    return "" if np.isnan(value) else f"{value:.1f}"
