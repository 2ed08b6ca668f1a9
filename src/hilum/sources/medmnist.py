"""MedMNIST's flat sets: one ``.npz`` of films, labels and splits, at 28 to 224 pixels.

Yang 2023, doi 10.1038/s41597-022-01721-8. The archive is read film by film, never unpacked to disk.
It names no patients, so each film is one of its own, and the splits are the published ones.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from hilum.arrays import FloatArray
from hilum.catalog import ABSENT, PRESENT, Catalog, Task, film_table
from hilum.counts import counted
from hilum.errors import DataError, OptionError
from hilum.findings import NIH14, canonical
from hilum.images.npz import NPZ_READER, NpzArray, array_names, film_path, is_films
from hilum.images.read import UnreadableFilm
from hilum.options import take_fields
from hilum.sources import paths, tables
from hilum.sources.folder_labels import refuse_reserved

SUFFIX = ".npz"
PARTS = ("train", "val", "test")
MOST_FILMS, MOST_CLASSES, MOST_CELLS, MOST_BYTES = 2_000_000, 256, 20_000_000, 2**35
"""Limits of films, labels a film, their product, and bytes of pixels: far above any real set."""

FINDINGS = {"chestmnist": NIH14, "pneumoniamnist": ("Pneumonia",)}
"""Names of the label columns of the sets of chest films, in the published order (``INFO`` of
MedMNIST's own package).

Of PneumoniaMNIST's two classes 0 is normal and 1 pneumonia. ChestMNIST's 13th, "pleural", is NIH's
pleural thickening.
"""

TAKEN_FROM = {
    "chestmnist": "NIH ChestX-ray14",
    "pneumoniamnist": "Kermany's radiographs of children",
}
"""Sets that hold the same films under other names, which no comparison of patients can find."""


@dataclass(frozen=True)
class MedMNISTOptions:
    """A flat set of MedMNIST."""

    dataset: str = ""
    """Name of the data set; by default that of the file, as in chestmnist_64."""
    findings: tuple[str, ...] = ()
    """Names of the labels in order, where the set is not one of chest films; of two classes, the
    second's is enough."""

    def __post_init__(self) -> None:
        """Take a text for a path and a single value for a list.

        Raises:
            TypeError: A path or list is something else.
        """
        take_fields(self)


Options = MedMNISTOptions


def read(root: Path, options: MedMNISTOptions) -> Catalog:
    """Read the labels and check the archive's checksums; no film is kept.

    Raises:
        OptionError: The findings named do not fit the set.
        DataError: There is no such file or more than one, or it is damaged or no set of flat films;
            one line says why.
    """
    file = _the_file(root)
    try:
        images = _arrays(file)
        labels = {part: _labels(file, part, array.shape[0]) for part, array in images.items()}
        for array in images.values():
            array.check()
    except UnreadableFilm as error:
        raise DataError(f"{file}: {error}. Is the download complete?") from error
    if len({table.shape[1] for table in labels.values()}) > 1:
        raise DataError(
            f"{file}: its splits have different numbers of labels: is the download complete?"
        )
    set_name = _set_name(file)
    every = np.concatenate(list(labels.values()))
    columns, notes = _columns(every, set_name, options.findings)
    findings = tuple(columns)
    table = film_table(_films(file.name, labels).assign(**columns), findings)
    name, notes = (
        paths.dataset_name(options.dataset or _stem(file)),
        (*notes, *_notes(images, set_name)),
    )
    return Catalog(
        name, file.parent, findings, table, len(table),
        notes=notes, reader=NPZ_READER, task=_task(every, findings),
    )  # fmt: skip


def _the_file(root: Path) -> Path:
    if root.is_file():
        return root
    files = sorted(
        entry for entry in root.iterdir() if entry.suffix.lower() == SUFFIX and entry.is_file()
    )
    if len(files) > 1:
        names = ", ".join(entry.name for entry in files[:8])
        raise DataError(
            f"{root} holds several sets or sizes ({names}): give the file of one, as {str(files[0])!r}."
        )
    if not files:
        raise DataError(
            f"{root} is no folder of a MedMNIST set: looked for a file such as chestmnist{SUFFIX} there."
        )
    return files[0]


def _set_name(file: Path) -> str:
    """Return the set's own name, ``chestmnist`` for ``chestmnist_64.npz``."""
    return re.sub(r"_\d+$", "", _stem(file).lower())


def _stem(file: Path) -> str:
    """Return the file's name without what browsers and desktops add to a second copy, as in ``chestmnist_64 (1)``."""
    return re.sub(r"(?i)(?: ?\(\d+\)|[ _-]+copy(?: ?\d+)?)+$", "", file.stem)


def _arrays(file: Path) -> dict[str, NpzArray]:
    """Return the films of each split in the file."""
    names = array_names(file)
    parts = [part for part in PARTS if f"{part}_images" in names]
    if not parts:
        there = ", ".join(map(tables.show, names[:6])) or "no arrays"
        raise DataError(
            f"{file} is no MedMNIST set: looked for train_images, val_images, test_images; it has {there}."
        )
    images = {part: NpzArray(file, f"{part}_images") for part in parts}
    for films in images.values():
        if not is_films(films):
            raise DataError(
                f"{file}: {films.name} is {films.described()}, allowed are uint8 [n, h, w] and [n, h, w, 3]: flat."
            )
    count = sum(array.shape[0] for array in images.values())
    size = sum(array.shape[0] * array.row_bytes for array in images.values())
    if count > MOST_FILMS or size > MOST_BYTES:
        raise DataError(
            f"{file} claims {count} films of {size} bytes, at most {MOST_FILMS} and {MOST_BYTES} are read."
        )
    return images


def _labels(file: Path, part: str, films: int) -> npt.NDArray[np.int64]:
    """Return one split's labels, [n, k]: k is 1 where they are numbers of classes."""
    table = NpzArray(file, f"{part}_labels")
    if (
        table.shape[0] != films
        or len(table.shape) > 2
        or not 1 <= int(np.prod(table.shape[1:])) <= MOST_CLASSES
    ):
        raise DataError(
            f"{file}: {table.name} is {table.described()}, but there "
            f"{'is' if films == 1 else 'are'} {counted(films, 'film')}: allowed are [{films}, 1] to "
            f"[{films}, {MOST_CLASSES}]."
        )
    _refuse_many(file.name, films * table.row_bytes // table.dtype.itemsize)
    labels = table.rows().reshape(films, -1)
    if labels.dtype.kind == "f" and not np.array_equal(labels, np.rint(labels)):
        raise DataError(f"{file}: {table.name} holds numbers that are no labels: whole ones are.")
    if labels.dtype.kind == "f" and labels.size and np.abs(labels).max() > MOST_CLASSES:
        raise DataError(f"{file}: {table.name} has a label above {MOST_CLASSES}.")
    return labels.astype(np.int64)


def _refuse_many(name: str, cells: int) -> None:
    if cells > MOST_CELLS:
        raise DataError(f"{name} has {cells} labels of films, at most {MOST_CELLS} are read.")


def _films(file: str, labels: dict[str, npt.NDArray[np.int64]]) -> pd.DataFrame:
    """Return path, patient, study and split of each film, in the order of the labels."""
    counts = {part: len(table) for part, table in labels.items()}
    names = [
        film_path(file, part, index) for part, count in counts.items() for index in range(count)
    ]
    parts = np.repeat(list(counts), list(counts.values()))
    return pd.DataFrame({"path": names, "patient": names, "study": names, "part": parts})


def _columns(
    labels: npt.NDArray[np.int64], set_name: str, given: Sequence[str]
) -> tuple[dict[str, FloatArray], tuple[str, ...]]:
    """Return a column a finding, and a note where names are missing."""
    several = labels.shape[1] > 1
    most = 1 if several else MOST_CLASSES - 1
    if labels.size and not 0 <= labels.min() <= labels.max() <= most:
        wrong = labels.max() if labels.max() > most else labels.min()
        raise DataError(f"{set_name} has the label {wrong}: allowed are 0 to {most}.")
    classes = labels.shape[1] if several else max(2, int(labels.max(initial=0)) + 1, len(given))
    _refuse_many(set_name, len(labels) * classes)
    names, notes = _names(classes, several, set_name, given)
    states = labels if several else labels == np.arange(classes)[classes - len(names) :]
    return {
        name: np.where(states[:, column], PRESENT, ABSENT).astype(np.float32)
        for column, name in enumerate(names)
    }, notes


def _task(labels: npt.NDArray[np.int64], findings: Sequence[str]) -> Task:
    """Return how the labels are to be measured: several columns are labels, one numbers classes.

    MedMNIST measures the ordinal set (RetinaMNIST) as one of classes.
    """
    if labels.shape[1] > 1:
        return "multi-label"
    return "multi-class" if max(len(findings), int(labels.max(initial=0)) + 1) > 2 else "binary"


def _names(
    classes: int, several: bool, set_name: str, given: Sequence[str]
) -> tuple[list[str], tuple[str, ...]]:
    """Return the columns' names: one a class, but one alone, the second's, where there are two classes."""
    allowed = (classes, 1) if classes == 2 and not several else (classes,)
    names = [canonical(name) or name.strip() for name in given or FINDINGS.get(set_name, ())]
    if names and len(names) not in allowed:
        origin = "--findings names" if given else f"{set_name} should have"
        count = " or ".join(map(str, allowed))
        raise OptionError(
            f"{origin} {counted(len(names), 'finding')}, the file has {classes}: give --findings with {count} names."
        )
    if len(set(names)) < len(names) or not all(names):
        raise OptionError(
            f"--findings {', '.join(map(tables.show, names))}: give every finding a name of its own."
        )
    refuse_reserved(names)
    if names:
        return names, ()
    first = 1 if 1 in allowed else 0
    generic = [f"class {number}" for number in range(first, classes)]
    return generic, (
        f"names of the classes are not known here, {', '.join(generic[:3])} ...: give --findings",
    )


def _notes(images: dict[str, NpzArray], set_name: str) -> tuple[str, ...]:
    sizes = sorted({f"{array.shape[2]} x {array.shape[1]}" for array in images.values()})
    notes = [
        "MedMNIST gives no patients: every film counts as a patient of its own, splits are the published ones"
    ]
    notes.append(f"films are {', '.join(sizes)} pixels")
    if set_name in TAKEN_FROM:
        notes.append(
            f"films are taken from {TAKEN_FROM[set_name]}: do not train on one and test on the other"
        )
    if missing := [part for part in PARTS if part not in images]:
        notes.append(f"the file has no split {', '.join(missing)}")
    return tuple(notes)
