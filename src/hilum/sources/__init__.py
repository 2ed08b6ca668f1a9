"""Data sets on disk, each read into the same Catalog: one file and one line in SOURCES for each."""

from __future__ import annotations

from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

from hilum.catalog import Catalog
from hilum.errors import DataError, OptionError, choose, did_you_mean
from hilum.listener import SILENT, Listener


class SourceEntry(NamedTuple):
    """A source's module, imported only when needed, and what it reads."""

    module: str
    help: str
    file: str = ""
    """Suffix of the one file that a set of this source consists of, which may be given instead of
    its folder."""
    listens: bool = False
    """Whether ``read`` takes a listener, for reading may take minutes."""


class SourceModule(Protocol):
    """A source's module: ``Options``, a frozen dataclass, and ``read``."""

    Options: type[Any]

    def read(self, root: Path, options: Any, **listener: Listener) -> Catalog:
        """Read the data set below ``root``; the ``listener`` is for sources that take one."""


SOURCES: dict[str, SourceEntry] = {
    "chexpert": SourceEntry(
        "hilum.sources.chexpert", "CheXpert: train.csv, valid.csv, uncertain labels, laterals"
    ),
    "nih14": SourceEntry(
        "hilum.sources.nih14", "NIH ChestX-ray14: Data_Entry_2017*.csv and the official lists"
    ),
    "mimic": SourceEntry(
        "hilum.sources.mimic", "MIMIC-CXR-JPG: its tables joined by study, the official split"
    ),
    "padchest": SourceEntry(
        "hilum.sources.padchest", "PadChest: its label table, folders of films by archive"
    ),
    "medmnist": SourceEntry(
        "hilum.sources.medmnist",
        "MedMNIST: one .npz of a flat set (ChestMNIST, PneumoniaMNIST, ...), or its folder",
        ".npz",
    ),
    "dicom": SourceEntry(
        "hilum.sources.dicom",
        "DICOM files of a hospital: a tree, labels in a table keyed by study",
        listens=True,
    ),
    "vindr": SourceEntry(
        "hilum.sources.vindr", "VinDr-CXR: its table of readers, DICOM films, boxes"
    ),
    "rsna": SourceEntry(
        "hilum.sources.rsna", "RSNA Pneumonia Detection Challenge: its tables, DICOM films, boxes"
    ),
    "folder": SourceEntry(
        "hilum.sources.folder", "any folder: a CSV mapped by options, class folders, or no labels"
    ),
}
"""The data sets that can be read, by name."""


def load_source(name: str) -> SourceModule:
    """Import a source's module.

    Raises:
        OptionError: There is no such source.
    """
    return cast(SourceModule, import_module(choose(name, SOURCES, "source").module))


def read_source(
    name: str, root: Path | str, /, listener: Listener = SILENT, **options: Any
) -> Catalog:
    """Read a data set into a catalogue: one row a film, no image opened.

    Args:
        name: One of SOURCES.
        root: The data set's folder, or its file where it is one.
        listener: Gets the progress of sources that take long.
        options: The fields of the source's ``Options``.

    Raises:
        OptionError: There is no such source, or it has no such option.
        DataError: The folder or its tables are not what the source needs; one line says why.
    """
    source = load_source(name)
    known = [entry.name for entry in fields(source.Options)]
    for option in options:
        if option not in known:
            allowed = ", ".join(known) or "none"
            raise OptionError(
                f"source {name!r} has no option {option!r}: allowed are {allowed}.{did_you_mean(option, known)}"
            )
    root = Path(root)
    if not root.is_dir() and not _is_the_set(root, SOURCES[name].file):
        what = "is a file" if root.exists() else "does not exist"
        raise DataError(f"{root} {what}: give the folder of the data set ({SOURCES[name].help}).")
    heard = {"listener": listener} if SOURCES[name].listens else {}
    return source.read(root, source.Options(**options), **heard)


def _is_the_set(root: Path, suffix: str) -> bool:
    return bool(suffix) and root.suffix.lower() == suffix and root.is_file()
