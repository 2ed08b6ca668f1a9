"""Writes a phantom data set: CheXpert's folders and tables, or an archive's DICOM files, masks beside."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from hilum.csv_files import write_csv
from hilum.errors import OptionError
from hilum.files import clear_leftovers, read_json, write_bytes
from hilum.findings import CHEXPERT
from hilum.options import as_path
from hilum.phantoms.cohort import Film, cohort
from hilum.phantoms.dicom_folder import (
    cell,
    film_path,
    write_dicom,
    write_dicom_tables,
)
from hilum.phantoms.film import draw
from hilum.phantoms.options import PhantomOptions

PREFIX = "CheXpert-v1.0-small"
"""What every path in CheXpert's tables begins with: the name of its folder, whatever a user calls
his."""

HEADER = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *CHEXPERT)
RECORD = "phantoms.json"
_QUALITY = (cv2.IMWRITE_JPEG_QUALITY, 95)
_CHUNK = 64

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class PhantomResult:
    """What was written."""

    root: Path
    films: int
    patients: int
    valid_films: int
    valid_patients: int
    already_done: bool


def write_phantoms(
    root: str | Path, options: PhantomOptions, progress: Progress | None = None, workers: int = 1
) -> PhantomResult:
    """Draw films below ``root`` as CheXpert or an archive lays them out, and return what was written.

    ``root`` then holds ``train.csv``, ``valid.csv`` (a fifth of the patients, every cell 0 or 1),
    the films as JPEG below ``train/`` and ``valid/``, ``masks/`` (read by ``read_masks``),
    ``truth.csv`` (what is truly on each film) and ``phantoms.json`` (the options). Every byte
    depends on the options alone, not on ``workers``; a folder already finished with the same
    options is left as it is, one left unfinished is drawn again. The fifth is every patient whose
    number is 3 above a multiple of 5; with fewer than three patients there is no ``valid.csv``.

    With ``format="dicom"`` there are ``dicom/`` (the films, without endings), ``labels.csv`` (a row a
    study, by accession number), ``masks/`` and ``truth.csv`` (a row a file, with its habit) instead.

    Args:
        root: New or empty folder, or one of an earlier call with the same options.
        options: What to draw.
        progress: Called with films done and films in all.
        workers: Processes that draw.

    Raises:
        OptionError: The folder holds something else, or ``workers`` is below 1.
    """
    root = as_path("root", root)
    if workers < 1:
        raise OptionError(f"--workers is {workers}: give 1 or more.")
    done = _claim(root, options)
    films = cohort(options)
    if not done:
        clear_leftovers(root)
        _draw_all(root, films, options, progress, workers)
        if options.format == "dicom":
            write_dicom_tables(root, films, options)
        else:
            _write_tables(root, films)
        _write_record(root, options, finished=True)
    valid = [film for film in films if film.part == "valid"]
    patients, held_out = (
        len({film.patient for film in films}),
        len({film.patient for film in valid}),
    )
    return PhantomResult(root, len(films), patients, len(valid), held_out, done)


def _claim(root: Path, options: PhantomOptions) -> bool:
    """Make the folder ours; return whether these phantoms are already there."""
    record = root / RECORD
    if record.is_file():
        found = _read_record(record)
        if found.get("options") != options.to_json():
            raise OptionError(
                f"{root} holds phantoms of other options ({json.dumps(found.get('options'))}): "
                "choose another folder or delete it."
            )
        return bool(found.get("finished"))
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise OptionError(f"{root} is not empty and holds no phantoms: choose a new folder.")
    root.mkdir(parents=True, exist_ok=True)
    _write_record(root, options, finished=False)
    return False


def _read_record(path: Path) -> dict[str, object]:
    try:
        found = read_json(path)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {}


def _write_record(root: Path, options: PhantomOptions, finished: bool) -> None:
    text = json.dumps({"finished": finished, "options": options.to_json()}, indent=1)
    write_bytes(root / RECORD, f"{text}\n".encode())


def _draw_all(
    root: Path,
    films: Sequence[Film],
    options: PhantomOptions,
    progress: Progress | None,
    workers: int,
) -> None:
    chunks = [films[start : start + _CHUNK] for start in range(0, len(films), _CHUNK)]
    done = 0
    for count in _run(partial(_draw_some, root, options), chunks, min(workers, len(chunks))):
        done += count
        if progress is not None:
            progress(done, len(films))


def _run(
    job: Callable[[Sequence[Film]], int], chunks: Iterable[Sequence[Film]], workers: int
) -> Iterator[int]:
    if workers == 1:
        yield from map(job, chunks)
        return
    # Spawned, not forked: a fork of a process that has started threads (torch, OpenCV) may hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        workers, mp_context=context, initializer=cv2.setNumThreads, initargs=(1,)
    ) as pool:
        yield from pool.map(job, chunks)


def _draw_some(root: Path, options: PhantomOptions, films: Sequence[Film]) -> int:
    for film in films:
        grey, masks = draw(film, options.size, options.seed)
        if options.format == "dicom":
            write_dicom(root, film, grey, options)
            name = film_path(film)
        else:
            _write_image(root / f"{film.name}.jpg", grey, _QUALITY)
            name = film.name
        _write_image(root / "masks" / f"{name}.png", masks, (cv2.IMWRITE_PNG_COMPRESSION, 3))
    return len(films)


def _write_image(path: Path, image: np.ndarray, settings: tuple[int, int]) -> None:
    coded, data = cv2.imencode(path.suffix, image, settings)
    if not coded:
        raise ValueError(f"OpenCV cannot encode {path.name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.tobytes())


def _write_tables(root: Path, films: Sequence[Film]) -> None:
    train = [film for film in films if film.part == "train"]
    valid = [film for film in films if film.part == "valid"]
    _write_table(
        root / "train.csv", HEADER, ((*_who(film), *map(cell, film.stated)) for film in train)
    )
    if valid:  # a table without rows is taken for a broken download
        _write_table(
            root / "valid.csv", HEADER, ((*_who(film), *map(cell, film.truth)) for film in valid)
        )
    truth = ((_path(film), *map(cell, film.truth)) for film in films)
    _write_table(root / "truth.csv", ("Path", *CHEXPERT), truth)


def _path(film: Film) -> str:
    return f"{PREFIX}/{film.name}.jpg"


def _who(film: Film) -> tuple[str, ...]:
    lateral = film.position == "LATERAL"
    return (
        _path(film),
        film.sex,
        str(film.age),
        "Lateral" if lateral else "Frontal",
        "" if lateral else film.position,
    )


def _write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    write_csv(path, header, rows)
