"""Paths of films: which of a table's exist on disk, and whether any leaves the root."""

from __future__ import annotations

import os
import posixpath
import re
import stat
from collections import Counter
from collections.abc import Collection, Container, Iterable, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from hilum.arrays import BoolArray
from hilum.counts import counted
from hilum.errors import DataError, OptionError
from hilum.sources.tables import line_of, show

EXTENSIONS = (".png", ".jpg", ".jpeg", ".dcm", ".dicom")
PACKED = {
    ".parquet": "write each picture out as a PNG, and the labels as a CSV",
    ".tfrecord": "write each picture out as a PNG, and the labels as a CSV",
    ".h5": "write each picture out as a PNG, and the labels as a CSV",
    ".npz": "`hilum prepare medmnist` reads those of MedMNIST",
    ".dcm": "`hilum prepare dicom` reads them",
    ".zip": "unpack them",
    ".tar": "unpack them",
    ".gz": "unpack them",
    ".jfif": "rename each to .jpg",
    ".jpe": "rename each to .jpg",
} | dict.fromkeys(
    (".tif", ".tiff", ".webp", ".bmp", ".gif", ".jp2", ".j2k", ".heic", ".pgm", ".npy", ".nii", ".nii.gz", ".nrrd",
     ".mha"),
    "write each as a PNG",
)  # fmt: skip
"""Endings of files that hold films in another form, and what to do with them."""
PICTURES = tuple(
    end for end, remedy in PACKED.items() if remedy.startswith(("write each as", "rename"))
)
"""Those of which each file is one picture."""
NO_FOLDERS = (
    "@eadir",
    "#recycle",
    "$recycle.bin",
    "__macosx",
    "system volume information",
    "lost+found",
)
"""Folders, in small letters, that servers, disks and archives make: thumbnails and what was deleted."""
NOT_ON_DISK = "not on disk"
_TRIED = 1000
"""Paths of another place that are looked for below the root before the rest is given up."""
_PLACES = 8
"""Other places of one table."""
_WORTH_LISTING = 8
"""A folder is listed once if a table names that many of its entries; for fewer, one call each is
faster."""


def clean_paths(cells: pd.Series, name: str) -> pd.Series:
    """Return a table's paths, one row a film.

    Raises:
        DataError: As ``normal_paths``, or a path occurs twice.
    """
    paths = normal_paths(cells, name)
    refuse_twice(paths, name)
    return paths


def normal_paths(cells: pd.Series, name: str) -> pd.Series:
    """Return a table's paths as POSIX paths below the root, without ``./`` and doubled slashes.

    Raises:
        DataError: A path is absolute or leaves the root by ``..``.
    """
    paths = cells.str.strip().str.replace("\\", "/", regex=False)
    odd = _is_odd(paths)
    if odd.any():
        paths = paths.mask(odd, paths[odd].map(posixpath.normpath))
        leaves = odd & paths.str.match(r"\.\.(?:/|$)|\.$|/|[A-Za-z]:").to_numpy(bool)
        if leaves.any():
            row = int(leaves.argmax())
            raise DataError(_leaves_root(cells.iloc[row], f"{name}, line {line_of(cells, row)}"))
    return paths


def below_root(
    cells: pd.Series, root: Path, *, elsewhere: bool = False
) -> tuple[pd.Series, tuple[str, ...]]:
    """Return a table's paths with those of films below the root as paths below it, and notes on what was cut.

    Absolute paths below the root are cut. With ``elsewhere`` so is what stands before a path of another
    place, such as ``/content/drive/MyDrive/nih/`` or a drive of Windows, where a film of the root has
    the rest of it.
    """
    texts = cells.str.strip().str.replace("\\", "/", regex=False)
    outside = texts.str.match(r"/|\.\./|[A-Za-z]:/", na=False).to_numpy(bool)
    if not outside.any():
        return cells, ()
    own = {f"{root.absolute().as_posix()}/", f"{root.resolve().as_posix()}/"}
    values: npt.NDArray[np.object_] = cells.to_numpy(object, copy=True)
    cut: Counter[str] = Counter()
    tried = 0
    for row in np.flatnonzero(outside).tolist():
        path = posixpath.normpath(str(texts.iat[row]))
        front = next((front for front in (*own, *cut) if path.startswith(front)), None)
        if elsewhere and front is None and tried < _TRIED and len(cut) < _PLACES:
            front, tried = _front_elsewhere(path, root), tried + 1
        if front is not None:
            values[row] = path[len(front) :]
            cut[front] += 1
    shorter = pd.Series(values, cells.index, cells.dtype, cells.name)
    shorter.attrs = cells.attrs
    below = sum(count for front, count in cut.items() if front in own)
    notes = [f"{counted(below, 'path is', 'paths are')} absolute and below the root"] * bool(below)
    notes += [
        f"{counted(count, 'path begins', 'paths begin')} with {show(front)}, which is another place: the rest is "
        "looked for below the root"
        for front, count in cut.items()
        if front not in own
    ]
    return shorter, tuple(notes)


def _front_elsewhere(path: str, root: Path) -> str | None:
    """Return what stands before the longest end of a path that is a file below the root, None if no end is."""
    parts = path.split("/")
    for number in range(1, len(parts)):
        rest = "/".join(parts[number:])
        if ".." not in parts[number:] and (root / rest).is_file():
            return path[: -len(rest)]
    return None


def dataset_name(text: str) -> str:
    """Return a data set's name with the characters of file names alone; films are identified by it and their path.

    Raises:
        OptionError: It has no letter or digit.
    """
    name = re.sub(r"[^\w.-]+", "-", text).strip("-.")
    if not name:
        raise OptionError(
            f"--dataset {text!r} has no letter: name the data set, such as 'hospital-a'."
        )
    return name


def _is_odd(paths: pd.Series) -> BoolArray:
    """Return which paths need normalising; by substrings, ten times as fast as a regular expression."""
    odd = paths.str.startswith(("/", "."), na=False) | paths.str.endswith("/", na=False)
    for sign in ("//", "/.", ":"):
        odd |= paths.str.contains(sign, regex=False, na=False)
    return odd.to_numpy(bool)


def refuse_twice(paths: pd.Series, name: str, remedy: str = "keep one row a film") -> None:
    """Refuse a film that has two rows.

    Raises:
        DataError: Names the first and how many there are.
    """
    twice = paths.duplicated().to_numpy(bool)
    if twice.any():
        row = int(twice.argmax())
        raise DataError(
            f"{name}, line {line_of(paths, row)}: {show(paths.iloc[row])} has two rows "
            f"({counted(int(twice.sum()), 'such row')}): "
            f"{remedy}."
        )


def on_disk(root: Path, paths: Sequence[str]) -> BoolArray:
    """Return which paths below the root are files, [N].

    Folders of which many entries are named are listed once; the other entries are checked one by
    one. (CheXpert has a folder for each study, and listing them all would take longer; NIH has one
    folder for all.)

    Raises:
        DataError: A path leads out of the root through a symbolic link.
    """
    exists = np.zeros(len(paths), bool)
    if not len(paths):
        return exists
    codes, folders = pd.factorize(np.array([path.rpartition("/")[0] for path in paths], object))
    full = _full_folders(folders.tolist(), np.bincount(codes))
    inside = _Inside(root, full)
    there = np.array([inside.is_folder(folder) for folder in folders])[codes]
    listed = np.array([folder in full for folder in folders])[codes]
    for row in np.flatnonzero(there & listed).tolist():
        exists[row] = inside.kind(paths[row]) == stat.S_IFREG
    exists[there & ~listed] = [
        inside.check(paths[row]) == stat.S_IFREG for row in np.flatnonzero(there & ~listed).tolist()
    ]
    return exists


class _Inside:
    """Entries below a root; follows links that stay inside, refuses those that leave."""

    def __init__(self, root: Path, full: Container[str] = ()) -> None:
        self.root = os.path.realpath(root)
        self._start = self.root.rstrip("/") + "/"
        self._is_folder = {"": True}
        self._listings: dict[str, dict[str, int]] = {}
        self._full = full

    def kind(self, path: str) -> int:
        """Return S_IFREG for a file, S_IFDIR for a folder, else 0; its folder must exist."""
        folder, _, name = path.rpartition("/")
        return self.listing(folder).get(name, 0) if folder in self._full else self.check(path)

    def is_folder(self, path: str) -> bool:
        """Whether a path is a folder; checked once."""
        known = self._is_folder.get(path)
        if known is None:
            known = self.is_folder(path.rpartition("/")[0]) and self.kind(path) == stat.S_IFDIR
            self._is_folder[path] = known
        return known

    def listing(self, folder: str) -> dict[str, int]:
        """Return name -> kind for a folder's entries; lists once."""
        if folder not in self._listings:
            with os.scandir(self._start + folder) as entries:
                prefix = f"{folder}/" if folder else ""
                self._listings[folder] = {
                    entry.name: self._kind_of(entry, prefix) for entry in entries
                }
        return self._listings[folder]

    def _kind_of(self, entry: os.DirEntry[str], prefix: str) -> int:
        if entry.is_symlink():
            return self.check(prefix + entry.name)
        return stat.S_IFREG if entry.is_file() else stat.S_IFDIR if entry.is_dir() else 0

    def check(self, path: str) -> int:
        """Return the same as ``kind``, by a system call of its own."""
        try:
            kind = stat.S_IFMT(os.lstat(self._start + path).st_mode)
            if kind == stat.S_IFLNK:
                kind = stat.S_IFMT(os.stat(self._start + path).st_mode)  # noqa: PTH116
                self._refuse_outside(path)
        except (OSError, ValueError):
            return 0
        return kind

    def _refuse_outside(self, path: str) -> None:
        target = os.path.realpath(self._start + path)
        if target != self.root and not target.startswith(self._start):
            raise DataError(_leaves_root(path, "symbolic link"))


def _full_folders(folders: Sequence[str], counts: npt.NDArray[np.int64]) -> set[str]:
    """Return the folders, at any level, of which enough entries are named that listing them is faster."""
    full = {
        folder for folder, count in zip(folders, counts, strict=True) if count >= _WORTH_LISTING
    }
    level: Collection[str] = folders
    while level := [folder for folder in level if folder]:
        entries = Counter([folder.rpartition("/")[0] for folder in level])
        full.update(folder for folder, count in entries.items() if count >= _WORTH_LISTING)
        level = entries
    return full


def find_films(root: Path) -> list[str]:
    """Return every PNG and JPEG below the root, sorted, as POSIX paths; hidden files and links are skipped."""
    return find_films_and_others(root)[0]


def find_films_and_others(root: Path) -> tuple[list[str], Counter[str]]:
    """Return what `find_films` does, and how many other files that are not hidden have each ending."""
    films: list[str] = []
    others: Counter[str] = Counter()
    for folder, folders, names in os.walk(root):
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and name.casefold() not in NO_FOLDERS
        ]
        below = Path(folder).relative_to(root).as_posix()
        prefix = "" if below == "." else f"{below}/"
        shown = [name for name in names if not name.startswith(".")]
        found = [f"{prefix}{name}" for name in shown if _is_film(folder, name)]
        films.extend(found)
        if len(found) < len(shown):
            others.update(_ending(name) for name in shown if not _is_film(folder, name))
    return sorted(films), others


def pictures_among(others: Counter[str]) -> tuple[int, str]:
    """Return how many files are pictures that are not read, and a line about them; 0 and nothing where none is.

    Args:
        others: Files that are no films, by ending.
    """
    held = [(end, count) for end, count in others.most_common() if end in PICTURES]
    if not held:
        return 0, ""
    count = sum(number for _, number in held)
    endings = "; ".join(f"{number:,} {end}, {PACKED[end]}" for end, number in held[:4])
    return count, f"{counted(count, 'picture is', 'pictures are')} not read ({endings})"


def _ending(name: str) -> str:
    low = name.lower()
    return ".nii.gz" if low.endswith(".nii.gz") else Path(low).suffix


def other_files(root: Path) -> str:
    """Return a hint at what the folder holds instead of films."""
    endings = Counter(
        _ending(path.name)
        for path in islice(root.rglob("*"), 20_000)
        if path.suffix and path.is_file()
    )
    held = next((ending for ending, _ in endings.most_common() if ending in PACKED), "")
    return f" It holds {held} files: {PACKED[held]}." if held else ""


def _is_film(folder: str, name: str) -> bool:
    return name.lower().endswith(EXTENSIONS) and not Path(folder, name).is_symlink()


def list_films(root: Path, folders: Iterable[str]) -> dict[str, str]:
    """Return file name -> path below the root for the files of the given folders; the first folder wins."""
    inside = _Inside(root)
    films: dict[str, str] = {}
    for folder in folders:
        if inside.is_folder(folder):
            for name, kind in inside.listing(folder).items():
                if kind == stat.S_IFREG:
                    films.setdefault(name, f"{folder}/{name}" if folder else name)
    return films


def _leaves_root(path: object, where: str) -> str:
    return f"{where}: path {show(path)} leaves the root: give paths below it, or the folder that holds them as ROOT."
